"""Evaluate a fusion pair by pair and write the report of the data set."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines import IterationEvents
from monai.utils import CommonKeys

from ..metrics import fusion_metric_names, fusion_metrics
from ..reports.cases import case_label, choose_cases, write_case_pictures
from ..reports.fusion import FUSED, PLAIN_FUSIONS, FusedPair, summarize_fusion, write_fusion_report, write_per_pair
from ..reports.html_fusion import write_fusion_html
from ..reports.sanity import LEAST_VARIATION, beside_floors, few_cases, fusion_floors, fusion_warnings
from ..reports.summary import write_summary
from .evaluation_report import EvaluationReport, gather_lists
from .provenance import Provenance
from .workflow_state import workflow_state

__all__ = ["FusionReport"]

logger = logging.getLogger(__name__)

Planes = list[list[torch.Tensor]]


class FusionReport(EvaluationReport):
    """Ignite handler for a MONAI evaluator: scores every fused pair and the simplest fusions of the same pair, and
    writes the report when the evaluation is complete.

    Reads ``pred`` and ``label`` of each decollated item in ``engine.state.output`` after post-processing: ``pred`` is
    the fused image ``(1, *spatial)``, ``label`` the two sources ``(2, *spatial)``, all in [0, 1]. The plain fusions
    are of ``image``, what the network was given, where it is of the same shape: where an evaluation corrupts the
    sources they suffer as the network does. Writes to
    ``output_dir``, each file in one step so that an interruption never leaves half of one:

    * ``per_pair.csv``: one row per pair and fusion (fused, average, maximum, copy of A, copy of B);
    * ``summary.json``, ``report.md``: mean, SD, median and bootstrap interval per row and metric, the same of the
      paired differences fused minus row, warnings (few pairs, fused images that show nothing, the case metric not above
      that of a plain fusion), seconds per pair, settings and versions;
    * ``cases/``, ``cases.png``: source A, source B, fused and difference of the worst, median and best pairs (three
      planes of volumes), in color where the item carries the chroma of a source;
    * ``report.html`` of an evaluation: all of it, and how the scores are distributed, in one file.

    The means of the fused images are also put into ``engine.state.metrics`` as ``<name>_<metric>``, where a tracker
    attached after this handler finds them. Run distributed, all ranks' pairs are gathered, a pair that a sampler
    repeated counts once, and rank 0 writes.

    Args:
        output_dir: folder of the report; created when missing. Files of an earlier evaluation there are replaced.
        name: name of the evaluation, for example ``"test"``.
        data_name: name of the data set; ``"demo"`` appears as "demo (synthetic)" wherever the report is read.
        metrics: names of ``medssm_monai.metrics.FUSION_METRICS``; ``None`` for all.
        baselines: score the plain fusions too.
        case_metric: metric that ranks the cases; computed also when ``metrics`` lacks it.
        case_count: worst, median and best pairs shown, that many of each; 0 writes no pictures.
        sources: names of the two sources, for the report and its pictures, for example ``("MRI", "CT")``.
        only_best: for the validation during training: write only when the evaluator's key metric is the best so far.
        group: which pairs belong together (patient), so that intervals resample groups: a function from the file name
            of source A to the group, or a regular expression whose first bracket (or whole match) is the group.
            ``None`` takes the items' own entry ``group`` where every item has one.
        details: further facts for the report.
        n_resamples: resamples of the bootstrap (95 %, seed 0).
        subgroups: CSV of names, and columns such as sex or scanner; ``case_metric`` is given for each of their values.
        provenance: what ran with what, for ``report.html``.

    Raises:
        ValueError: unknown metrics or other than two sources (at once); items that are no decollated dicts with
            ``pred`` and ``label``, shapes that do not fit, values outside [0, 1] (naming the file); ``group`` that fits
            no file name.
        PermissionError: the output folder is not writable (when the evaluation starts).
    """

    counted = "pairs"

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        name: str = "test",
        data_name: str | None = None,
        metrics: Sequence[str] | None = None,
        baselines: bool = True,
        case_metric: str = "ssim_mean",
        case_count: int = 1,
        sources: Sequence[str] = ("A", "B"),
        only_best: bool = False,
        group: str | Callable[[str], str] | None = None,
        details: Mapping[str, Any] | None = None,
        n_resamples: int = 1000,
        subgroups: str | os.PathLike[str] | None = None,
        provenance: Provenance | None = None,
    ) -> None:
        super().__init__(output_dir, name, data_name, only_best, group, details, n_resamples, subgroups, provenance)
        self.metrics = fusion_metric_names([*fusion_metric_names(metrics), case_metric])
        self.baselines, self.case_metric, self.case_count = baselines, case_metric, case_count
        self.sources = tuple(str(source) for source in sources)
        if len(self.sources) != 2:
            raise ValueError(f"sources must be the names of source A and source B, got {list(sources)}.")
        self._reset()

    def attach(self, engine: Engine) -> None:
        super().attach(engine)
        engine.add_event_handler(Events.ITERATION_STARTED, self._start_clock)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._stop_clock)

    def _start_clock(self, engine: Engine) -> None:
        self._clock = time.perf_counter()

    def _stop_clock(self, engine: Engine) -> None:
        state = workflow_state(engine)
        if torch.device(state.device).type == "cuda":
            torch.cuda.synchronize(state.device)
        pred = state.output[CommonKeys.PRED]
        self._seconds = (time.perf_counter() - self._clock) / len(pred)

    def _reset(self) -> None:
        self._clock = self._seconds = 0.0
        self._pairs: list[FusedPair] = []
        self._pictures: dict[str, Planes] = {}

    def _score(self, item: Mapping[str, Any], source: Mapping[str, Any]) -> None:
        name = self._file_of(item, source, len(self._pairs))
        fused, sources = (
            torch.as_tensor(item[key]).detach().as_subclass(torch.Tensor).float()
            for key in (CommonKeys.PRED, CommonKeys.LABEL)
        )
        if sources.shape[0] != 2 or fused.shape != (1, *sources.shape[1:]):
            raise ValueError(
                f"cannot evaluate {name}: expected a fused image (1, *spatial) and its sources (2, *spatial), got "
                f"{tuple(fused.shape)} and {tuple(sources.shape)}."
            )
        a, b = sources[:1], sources[1:]
        given = torch.as_tensor(item.get(CommonKeys.IMAGE, sources)).detach().as_subclass(torch.Tensor).float()
        given = given if given.shape == sources.shape else sources  # corrupted here and clean there, or the same
        plain = {row: fuse(given[:1], given[1:]) for row, fuse in PLAIN_FUSIONS.items()} if self.baselines else {}
        rows = {FUSED: fused, **plain}
        try:
            size = (len(rows), *a.shape)
            found = fusion_metrics(torch.stack(list(rows.values())), a.expand(size), b.expand(size), self.metrics)
        except ValueError as error:
            raise ValueError(f"cannot evaluate {name}: {error}") from error
        scores = {row: {metric: float(values[i]) for metric, values in found.items()} for i, row in enumerate(rows)}
        flat = _variation(fused) < LEAST_VARIATION <= max(_variation(a), _variation(b))
        self._pairs.append(
            FusedPair(name, tuple(a.shape[1:]), scores, self._seconds, self._group_of(name, source), flat)
        )
        if self.case_count > 0:
            self._pictures[name] = _planes(a, b, fused, {**source, **item})

    def _finish(self, engine: Engine) -> None:
        (pairs,) = gather_lists(self._pairs)
        pairs = list({pair.name: pair for pair in pairs}.values())
        scores = {pair.name: pair.scores[FUSED][self.case_metric] for pair in pairs}
        cases = choose_cases(scores, self.case_count)
        chosen = {case["image"] for case in cases}
        (gathered,) = gather_lists([(name, planes) for name, planes in self._pictures.items() if name in chosen])
        pictures = dict(gathered)
        found = summarize_fusion(pairs, n_resamples=self.n_resamples)
        floors = fusion_floors(found["rows"], FUSED, self.case_metric)
        of_output = [*fusion_warnings(pairs), *beside_floors(found["rows"][FUSED], floors, found["lead"])]
        groups = [pair.group for pair in pairs]
        beside, of_table = self._beside(
            self.case_metric, list(scores), list(scores.values()), groups, found["bootstrap"]
        )
        self.summary = {
            **self._heading(),
            **found,
            "floors": floors,
            "warnings": self._warnings([*few_cases(len(pairs), "pairs"), *of_table], of_output),
            **self._provenance(engine),
            "sources": list(self.sources),
            "cases_by": self.case_metric,
            "cases": cases,
            **beside,
        }
        self._advise()
        figures = {metric: entry["mean"] for metric, entry in self.summary["rows"][FUSED].items()}
        self._publish(engine, figures, lambda: self._write(pairs, pictures))

    def _write(self, pairs: list[FusedPair], pictures: Mapping[str, Planes]) -> None:
        write_per_pair(pairs, self.output_dir / "per_pair.csv")
        write_summary(self.summary, self.output_dir / "summary.json")
        write_fusion_report(self.summary, self.output_dir / "report.md")
        if self.summary["cases"]:
            self._write_cases(pictures)
        if self.page is not None:
            self._write_page(self.page, pairs, pictures)
        headline = self.summary["rows"][FUSED][self.case_metric]
        logger.info(
            "%s on %s: %s %.4f (95 %% interval %.4f to %.4f) over %d pairs; report in %s",
            self.name,
            self.data_name,
            self.case_metric,
            headline["mean"],
            headline["low"],
            headline["high"],
            len(pairs),
            self.output_dir,
        )

    def _write_page(self, page: Path, pairs: list[FusedPair], pictures: Mapping[str, Planes]) -> None:
        from ..visualize import fusion_panel

        scores = {row: [pair.scores[row][self.case_metric] for pair in pairs] for row in pairs[0].scores}
        panels = [fusion_panel(pictures[case["image"]], "", self.sources) for case in self.summary["cases"]]
        facts = self.provenance.facts() if self.provenance else None
        write_fusion_html(self.summary, page, scores, panels, facts)

    def _write_cases(self, pictures: Mapping[str, Planes]) -> None:
        from ..visualize import fusion_panel

        panels = [
            fusion_panel(pictures[case["image"]], case_label(case, self.case_metric), self.sources)
            for case in self.summary["cases"]
        ]
        write_case_pictures(self.summary["cases"], panels, self.output_dir / "cases", columns=1)


def _variation(image: torch.Tensor) -> float:
    """Largest minus smallest value."""
    return float(image.max() - image.min())


def _planes(a: torch.Tensor, b: torch.Tensor, fused: torch.Tensor, item: Mapping[str, Any]) -> Planes:
    """Planes of source A, source B, fused image (in color where the item has chroma) and difference, float16."""
    from ..transforms import YCbCrToRGB
    from ..visualize import fusion_planes

    chroma = {key: item.get(f"{key}_chroma") for key in ("image_a", "image_b")}

    def colored(gray: torch.Tensor, hue: Any) -> torch.Tensor:
        return gray if hue is None else YCbCrToRGB()(torch.cat([gray, torch.as_tensor(hue).to(gray)]))

    lent = chroma["image_b"] if chroma["image_b"] is not None else chroma["image_a"]
    shown = [colored(a, chroma["image_a"]), colored(b, chroma["image_b"]), colored(fused, lent)]
    images = [torch.as_tensor(image).as_subclass(torch.Tensor).clamp(0, 1) for image in shown]
    planes = fusion_planes([*images, fused - torch.maximum(a, b)])
    return [[image.half().cpu() for image in plane] for plane in planes]
