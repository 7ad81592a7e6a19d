"""Evaluate a segmentation image by image and write the report of the data set."""

from __future__ import annotations

import heapq
import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine
from monai.utils import CommonKeys

from medssm_monai.handlers.evaluation_report import EvaluationReport, gather_lists
from medssm_monai.handlers.report_files import write_per_image, write_report, write_summary
from medssm_monai.handlers.report_summary import ImageRecord, summarise
from medssm_monai.metrics import confusion_counts, metric_names, segmentation_metrics
from medssm_monai.metrics.maps import as_maps, normalise_map
from medssm_monai.metrics.thresholds import e_measure_from_counts, threshold_counts
from medssm_monai.utils import writable_folder
from medssm_monai.utils.whole_file import replace_file

__all__ = ["SegmentationReport"]

logger = logging.getLogger(__name__)

_HIGHER_IS_WORSE = ("mae", "hd95")

WorstCase = tuple[float, int, str, dict[str, np.ndarray]]  # badness, position, file, pictures


class SegmentationReport(EvaluationReport):
    """
    Ignite handler for a MONAI evaluator: scores every image and writes the report when the evaluation is complete.

    Reads `image`, `label` and `pred` of each decollated item in `engine.state.output` after post-processing: `pred` is
    the foreground probability `(1, H, W)` in [0, 1], `label` `(1, H, W)` with 0 and 1. Writes to `output_dir`, each
    file in one step so that an interruption never leaves half of one:

    * `per_image.csv`: one row per image with its file, size, scores and pixel counts;
    * `summary.json`, `report.md`: mean, SD, median and bootstrap interval per metric, scores pooled over all pixels,
      the same per test set when items carry a `dataset` name, threshold, sizes, settings and versions;
    * `overlays/`: the worst cases with the outlines of label and prediction, and `overlays.png`, all on one sheet.

    The means are also put into `engine.state.metrics` as `<name>_<metric>` (and `<name>_pooled_dice`, ...), where a
    tracker attached after this handler finds them. Run distributed, all ranks' images are gathered, an image that a
    sampler repeated counts once, and rank 0 writes.

    Args:
        output_dir: folder of the report; created when missing. Files of an earlier evaluation there are replaced.
        name: name of the evaluation, for example `"test"`.
        data_name: name of the data set; `"demo"` appears as "demo (synthetic)" wherever the report is read.
        metrics: `"basic"`, `"polyp"` or a list of names (`medssm_monai.metrics.segmentation_metrics`).
        threshold: a pixel is foreground when `pred >= threshold`. Choose it on validation data only.
        worst: number of worst cases shown; the first metric of the list decides. 0 writes no pictures.
        only_best: for the validation during training: write only when the evaluator's key metric is the best so far,
            so that the report belongs to the best checkpoint. The means still go into `engine.state.metrics` each time.
        spacing: pixel size in millimetres, for distances in mm; `None` gives pixels.
        group: which images belong together (video sequence, patient): a function from the file name to the group, or
            a regular expression whose first bracket (or whole match) is the group. Intervals then resample groups.
        normalise: stretch maps to [0, 1] for the metrics that judge the map, as published polyp results do.
        details: further facts for the report, for example learning rate or checkpoint.
        n_resamples: resamples of the bootstrap (95 %, seed 0).

    Raises:
        ValueError: unknown metric (at once); items that are no decollated dicts with `pred` and `label`, a prediction
            outside [0, 1] or of another size than its label (naming the file); `group` that fits no file name.
        PermissionError: the output folder is not writable (when the evaluation starts).
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        name: str = "test",
        data_name: str | None = None,
        metrics: str | Sequence[str] = "basic",
        threshold: float = 0.5,
        worst: int = 8,
        only_best: bool = False,
        spacing: float | Sequence[float] | None = None,
        group: str | Callable[[str], str] | None = None,
        normalise: bool = True,
        details: Mapping[str, Any] | None = None,
        n_resamples: int = 2000,
    ) -> None:
        super().__init__(output_dir, name, data_name, only_best, group, details, n_resamples)
        self.metrics = metric_names(metrics)
        self.threshold, self.spacing, self.normalise = threshold, spacing, normalise
        self.worst = worst
        self._records: list[ImageRecord] = []
        self._worst: list[WorstCase] = []

    def _reset(self) -> None:
        self._records, self._worst = [], []

    def _score(self, item: Mapping[str, Any], source: Mapping[str, Any]) -> None:
        name = self._file_of(item, source, len(self._records))
        try:
            prob, label = as_maps(item[CommonKeys.PRED], item[CommonKeys.LABEL])
        except ValueError as error:
            raise ValueError(f"cannot evaluate {name}: {error}") from error
        scores = segmentation_metrics(prob, label, self.metrics, self.threshold, self.spacing, self.normalise)
        record = ImageRecord(name, label.shape, scores, confusion_counts(prob, label, self.threshold))
        if "e_measure" in self.metrics:
            shown = normalise_map(prob, label) if self.normalise else prob
            record.e_curve = e_measure_from_counts(threshold_counts(shown, label))
        record.group = self._group_of(name)
        record.subset = source.get("dataset") if isinstance(source.get("dataset"), str) else None
        self._records.append(record)
        if self.worst > 0:
            self._remember_if_bad(record, item, prob, label)

    def _badness(self, record: ImageRecord) -> float:
        value = record.scores[self.metrics[0]]
        return -np.inf if np.isnan(value) else value if self.metrics[0] in _HIGHER_IS_WORSE else -value

    def _remember_if_bad(
        self, record: ImageRecord, item: Mapping[str, Any], prob: np.ndarray, label: np.ndarray
    ) -> None:
        """Keep the pictures of the worst cases so far, and of no others."""
        badness = self._badness(record)
        if len(self._worst) >= self.worst and badness <= self._worst[0][0]:
            return
        picture = {"label": label, "pred": prob >= self.threshold}
        if CommonKeys.IMAGE in item:
            from medssm_monai.visualize import to_rgb

            picture["image"] = to_rgb(item[CommonKeys.IMAGE], record.size).transpose(2, 0, 1)
        keep = heapq.heappush if len(self._worst) < self.worst else heapq.heapreplace
        keep(self._worst, (badness, len(self._records), record.name, picture))

    def _gather(self) -> tuple[list[ImageRecord], list[WorstCase]]:
        """Records and worst cases of all ranks; an image that a sampler repeated to even out the ranks counts once."""
        records, worst = gather_lists(self._records, self._worst)
        return list({record.name: record for record in records}.values()), list(
            {case[2]: case for case in worst}.values()
        )

    def _finish(self, engine: Engine) -> None:
        records, worst = self._gather()
        worst = sorted(worst, key=lambda case: (-case[0], case[2]))[: self.worst]
        scores = {record.name: record.scores[self.metrics[0]] for record in records}
        self.summary = {
            **self._heading(),
            **summarise(records, n_resamples=self.n_resamples),
            "threshold": self.threshold,
            "distance_unit": "pixels" if self.spacing is None else "mm",
            "normalise": self.normalise,
            **self._provenance(engine),
            "worst_by": self.metrics[0],
            "worst": [{"image": name, "score": scores[name]} for _, _, name, _ in worst],
            "overlays": "overlays.png" if any("image" in case[3] for case in worst) else None,
        }
        figures = {name: entry["mean"] for name, entry in self.summary["per_image"].items()}
        figures |= {f"pooled_{name}": entry["value"] for name, entry in self.summary["pooled"].items()}
        self._publish(engine, figures, lambda: self._write(records, worst))

    def _write(self, records: list[ImageRecord], worst: list[WorstCase]) -> None:
        write_per_image(records, self.output_dir / "per_image.csv")
        write_summary(self.summary, self.output_dir / "summary.json")
        write_report(self.summary, self.output_dir / "report.md")
        if self.summary["overlays"]:
            self._write_overlays(worst)
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

    def _write_overlays(self, worst: list[WorstCase]) -> None:
        from medssm_monai.visualize import contact_sheet, overlay_contours, save_png, titled_panel

        folder = self.output_dir / "overlays"
        writable_folder(folder)
        panels, written = [], set()
        for rank, (badness, _, name, picture) in enumerate(worst, start=1):
            score = badness if self.metrics[0] in _HIGHER_IS_WORSE else -badness
            plain = overlay_contours(picture["image"])
            outlined = overlay_contours(picture["image"], picture["label"], picture["pred"])
            panels.append(titled_panel([plain, outlined], f"{Path(name).name}  {self.metrics[0]} {score:.3f}"))
            stem = re.sub(r"[^0-9A-Za-z_.-]+", "-", Path(name).stem)
            with replace_file(folder / f"{rank:02d}_{stem}.png") as temporary:
                save_png(panels[-1], temporary)
            written.add(f"{rank:02d}_{stem}.png")
        with replace_file(self.output_dir / "overlays.png") as temporary:
            save_png(contact_sheet(panels), temporary)
        for old in folder.glob("[0-9][0-9]_*.png"):  # worst cases of an earlier evaluation would be taken for these
            if old.name not in written:
                old.unlink()
