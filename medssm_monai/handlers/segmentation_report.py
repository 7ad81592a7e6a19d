"""Evaluate a segmentation image by image and write the report of the data set."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ignite.engine import Engine
from monai.utils import CommonKeys

from ..metrics import confusion_counts, metric_names, segmentation_metrics
from ..metrics.overlap import as_maps, normalize_map
from ..metrics.polyp import e_measure_from_counts, threshold_counts
from ..reports.cases import KeptPicture, case_label, choose_cases, write_case_pictures
from ..reports.sanity import beside_floors, few_cases, segmentation_warnings
from ..reports.segmentation import ImageRecord, summarize, write_per_image, write_report
from ..reports.summary import write_summary
from .evaluation_report import EvaluationReport, gather_lists

__all__ = ["SegmentationReport"]

logger = logging.getLogger(__name__)

_HIGHER_IS_WORSE = ("mae", "hd95")


class SegmentationReport(EvaluationReport):
    """Ignite handler for a MONAI evaluator: scores every image and writes the report when the evaluation is complete.

    Reads ``image``, ``label`` and ``pred`` of each decollated item in ``engine.state.output`` after post-processing:
    ``pred`` is the foreground probability ``(1, H, W)`` in [0, 1], ``label`` ``(1, H, W)`` with 0 and 1. Writes to
    ``output_dir``, each file in one step so that an interruption never leaves half of one:

    * ``per_image.csv``: one row per image with its file, size, scores and pixel counts;
    * ``summary.json``, ``report.md``: mean, SD, median and bootstrap interval per metric, scores pooled over all
      pixels, the same per test set when items carry a ``dataset`` name, floors, warnings (few images, labels or masks
      that are all empty, a share of foreground unlike the labels', figures not above a floor), threshold, sizes,
      settings and versions;
    * ``overlays/``: the worst, median and best cases with the outlines of label and prediction, and ``overlays.png``,
      all on one sheet.

    The means are also put into ``engine.state.metrics`` as ``<name>_<metric>`` (and ``<name>_pooled_dice``, ...), where
    a tracker attached after this handler finds them. Run distributed, all ranks' images are gathered, an image that a
    sampler repeated counts once, and rank 0 writes.

    Args:
        output_dir: folder of the report; created when missing. Files of an earlier evaluation there are replaced.
        name: name of the evaluation, for example ``"test"``.
        data_name: name of the data set; ``"demo"`` appears as "demo (synthetic)" wherever the report is read.
        metrics: ``"basic"``, ``"polyp"`` or a list of names (``medssm_monai.metrics.segmentation_metrics``).
        threshold: a pixel is foreground when ``pred >= threshold``. Choose it on validation data only.
        case_count: worst, median and best cases shown, that many of each; the first metric of the list decides. 0
            writes no pictures.
        only_best: for the validation during training: write only when the evaluator's key metric is the best so far,
            so that the report belongs to the best checkpoint. The means still go into ``engine.state.metrics`` each
            time.
        spacing: pixel size in millimeters, for distances in mm; ``None`` gives pixels.
        group: which images belong together (video sequence, patient): a function from the file name to the group, or
            a regular expression whose first bracket (or whole match) is the group. Intervals then resample groups.
        normalize: stretch maps to [0, 1] for the metrics that judge the map, as published polyp results do.
        details: further facts for the report, for example learning rate or checkpoint.
        n_resamples: resamples of the bootstrap (95 %, seed 0).

    Raises:
        ValueError: unknown metric (at once); items that are no decollated dicts with ``pred`` and ``label``, a
            prediction outside [0, 1] or of another size than its label (naming the file); ``group`` that fits no file
            name.
        PermissionError: the output folder is not writable (when the evaluation starts).
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        name: str = "test",
        data_name: str | None = None,
        metrics: str | Sequence[str] = "basic",
        threshold: float = 0.5,
        case_count: int = 3,
        only_best: bool = False,
        spacing: float | Sequence[float] | None = None,
        group: str | Callable[[str], str] | None = None,
        normalize: bool = True,
        details: Mapping[str, Any] | None = None,
        n_resamples: int = 2000,
    ) -> None:
        super().__init__(output_dir, name, data_name, only_best, group, details, n_resamples)
        self.metrics = metric_names(metrics)
        self.threshold, self.spacing, self.normalize = threshold, spacing, normalize
        self.case_count = case_count
        self._reset()

    def _reset(self) -> None:
        self._records: list[ImageRecord] = []
        self._pictures: dict[str, KeptPicture] = {}

    def _score(self, item: Mapping[str, Any], source: Mapping[str, Any]) -> None:
        name = self._file_of(item, source, len(self._records))
        try:
            prob, label = as_maps(item[CommonKeys.PRED], item[CommonKeys.LABEL])
        except ValueError as error:
            raise ValueError(f"cannot evaluate {name}: {error}") from error
        scores = segmentation_metrics(prob, label, self.metrics, self.threshold, self.spacing, self.normalize)
        counts = confusion_counts(prob, label, self.threshold)
        record = ImageRecord(name, label.shape, scores, counts, (float(prob.min()), float(prob.max())))
        if "e_measure" in self.metrics:
            shown = normalize_map(prob, label) if self.normalize else prob
            record.e_curve = e_measure_from_counts(threshold_counts(shown, label))
        record.group = self._group_of(name)
        record.subset = source.get("dataset") if isinstance(source.get("dataset"), str) else None
        self._records.append(record)
        if self.case_count > 0 and CommonKeys.IMAGE in item:
            from ..visualize import to_rgb

            picture = to_rgb(item[CommonKeys.IMAGE], record.size)
            self._pictures[name] = KeptPicture.pack(picture, label > 0.5, prob >= self.threshold)

    def _finish(self, engine: Engine) -> None:
        (records,) = gather_lists(self._records)
        records = list({record.name: record for record in records}.values())
        scores = {record.name: record.scores[self.metrics[0]] for record in records}
        cases = choose_cases(scores, self.case_count, self.metrics[0] not in _HIGHER_IS_WORSE)
        chosen = {case["image"] for case in cases}
        (gathered,) = gather_lists([(name, kept) for name, kept in self._pictures.items() if name in chosen])
        pictures = dict(gathered)
        found = summarize(records, n_resamples=self.n_resamples)
        of_data = [*few_cases(len(records), "images"), *_without_foreground(records)]
        of_output = [*segmentation_warnings(records), *beside_floors(found["per_image"], found["floors"])]
        self.summary = {
            **self._heading(),
            **found,
            "warnings": self._warnings(of_data, of_output),
            "threshold": self.threshold,
            "distance_unit": "pixels" if self.spacing is None else "mm",
            "normalize": self.normalize,
            **self._provenance(engine),
            "cases_by": self.metrics[0],
            "cases": cases,
            "overlays": "overlays.png" if chosen and chosen <= pictures.keys() else None,
        }
        figures = {name: entry["mean"] for name, entry in self.summary["per_image"].items()}
        figures |= {f"pooled_{name}": entry["value"] for name, entry in self.summary["pooled"].items()}
        self._publish(engine, figures, lambda: self._write(records, pictures))

    def _write(self, records: list[ImageRecord], pictures: Mapping[str, KeptPicture]) -> None:
        write_per_image(records, self.output_dir / "per_image.csv")
        write_summary(self.summary, self.output_dir / "summary.json")
        write_report(self.summary, self.output_dir / "report.md")
        if self.summary["overlays"]:
            self._write_overlays(pictures)
        headline = self.summary["per_image"][self.metrics[0]]
        logger.info(
            "%s on %s: %s %.4f (95 %% interval %.4f to %.4f) over %d images; report in %s",
            self.name,
            self.data_name,
            self.metrics[0],
            headline["mean"],
            headline["low"],
            headline["high"],
            len(records),
            self.output_dir,
        )

    def _write_overlays(self, pictures: Mapping[str, KeptPicture]) -> None:
        from ..visualize import overlay_contours, titled_panel

        panels, cases = [], self.summary["cases"]
        for case in cases:
            image, label, pred = pictures[case["image"]].unpack()
            planes = image.transpose(2, 0, 1) / 255.0
            shown = [overlay_contours(planes), overlay_contours(planes, label, pred)]
            panels.append(titled_panel(shown, case_label(case, self.metrics[0])))
        columns = sum(case["kind"] == "worst" for case in cases)  # one row per kind
        write_case_pictures(cases, panels, self.output_dir / "overlays", columns)


def _without_foreground(records: Sequence[ImageRecord]) -> list[str]:
    if any(tp + fn > 0 for tp, _, fn, _ in (record.counts for record in records)):
        return []
    return ["no label has any foreground: sensitivity is undefined, and overlaps say only where nothing was predicted"]
