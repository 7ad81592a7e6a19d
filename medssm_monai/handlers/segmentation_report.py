"""Evaluate a segmentation image by image and write the report of the data set."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Engine
from monai.utils import CommonKeys

from ..data.labels import BY_RULE, LabelSet
from ..metrics import class_metric_names, confusion_counts, metric_names, segmentation_metrics
from ..metrics.conformal_risk import RiskThresholds
from ..metrics.overlap import as_maps, normalize_map
from ..metrics.polyp import e_measure_from_counts, threshold_counts
from ..reports.cases import KeptPicture, case_label, case_panel, choose_cases, write_case_pictures
from ..reports.conformal import conformal_headline, conformal_warnings, coverage_warnings, summarize_risk
from ..reports.html_segmentation import write_segmentation_html
from ..reports.sanity import beside_floors, few_cases, segmentation_warnings
from ..reports.segmentation import ImageRecord, summarize, write_per_image, write_report
from ..reports.segmentation_classes import (
    ClassesRecord,
    class_warnings,
    summarize_classes,
    write_classes_per_image,
    write_classes_report,
)
from ..reports.summary import Resampling, common_groups, write_summary
from .class_foreground import controlled_scores
from .class_scoring import ClassScorer
from .evaluation_report import EvaluationReport, gather_lists
from .provenance import Provenance

__all__ = ["SegmentationReport"]

logger = logging.getLogger(__name__)

_HIGHER_IS_WORSE = ("mae", "hd95", "lesion_fn", "lesion_fp", "volume_difference", "relative_volume_difference")
_AFTER_WARNINGS = ("threshold", "distance_unit", "volume_unit", "tolerance", "absent_classes", "normalize")
_NOT_IN_NAMES = re.compile(r"[^0-9A-Za-z_. /-]")  # of metrics that a tracker takes


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
      all on one sheet;
    * ``report.html`` of an evaluation: all of it, and how the scores are distributed, in one file.

    The means are also put into ``engine.state.metrics`` as ``<name>_<metric>`` (and ``<name>_pooled_dice``, ...), where
    a tracker attached after this handler finds them. Run distributed, all ranks' images are gathered, an image that a
    sampler repeated counts once, and rank 0 writes.

    **Classes and volumes.** With ``labels`` of several classes, or of one that values tell, and for volumes, ``pred``
    holds the probability of each channel ``(out_channels, *spatial)`` and ``label`` the target
    (:meth:`~medssm_monai.data.labels.LabelSet.to_target`), whose ignored elements are left out. Every class is scored
    (:func:`~medssm_monai.metrics.class_scores`, which says what an absent class counts), and an image's score is the
    mean over the classes that count in it. The files are the same: ``per_image.csv`` has the means and then the scores
    and counts of each class, ``summary.json`` a part ``classes``, the page a row per class, and the pictures show each
    class in its color, of a volume the slice across the last axis with most foreground. ``engine.state.metrics`` has
    ``<name>_<metric>`` and ``<name>_<metric>_<class>``.

    Args:
        output_dir: folder of the report; created when missing. Files of an earlier evaluation there are replaced.
        name: name of the evaluation, for example ``"test"``.
        data_name: name of the data set; ``"demo"`` appears as "demo (synthetic)" wherever the report is read.
        metrics: ``"basic"``, ``"polyp"`` or a list of names (``medssm_monai.metrics.segmentation_metrics``); of classes
            and volumes ``"basic"``, ``"surface"``, ``"lesions"``, ``"all"`` or a list (``class_scores``).
        threshold: a pixel is foreground when ``pred >= threshold``. Choose it on validation data only. Of classes that
            exclude each other the most probable one holds instead.
        case_count: worst, median and best cases shown, that many of each; the first metric of the list decides. 0
            writes no pictures.
        only_best: for the validation during training: write only when the evaluator's key metric is the best so far,
            so that the report belongs to the best checkpoint. The means still go into ``engine.state.metrics`` each
            time.
        spacing: pixel size in millimeters, for distances in mm; ``None`` gives pixels. Volumes go by the affine matrix
            of the label, else of the image, and by this only where neither has one.
        group: which images belong together (video sequence, patient): a function from the file name to the group, or
            a regular expression whose first bracket (or whole match) is the group. ``None`` takes the items' own entry
            ``group`` where every item has one. Intervals then resample groups.
        normalize: stretch maps to [0, 1] for the metrics that judge the map, as published polyp results do.
        details: further facts for the report, for example learning rate or checkpoint.
        n_resamples: resamples of the bootstrap (95 %, seed 0).
        labels: the classes, a :class:`~medssm_monai.data.labels.LabelSet` or what makes one; None, or one class told by
            a rule, is the foreground of pictures.
        tolerance: of ``surface_dice``, in mm, in pixels where the spacing is not known.
        subgroups: CSV of names, and columns such as sex or scanner; the first metric is given for each of their values.
        provenance: what ran with what, for ``report.html``.
        conformal: calibrated thresholds that control what masks miss (:func:`medssm_monai.bundle.read_conformal`): what
            these masks miss becomes a part of the report. ``None`` leaves it out.

    Raises:
        ValueError: unknown metric, or thresholds of other classes (at once), or one that the items do not have
            (``polyp`` of volumes); items that are no decollated dicts with ``pred`` and ``label``, a prediction outside
            [0, 1] or of another size than its label (naming the file); ``group`` that fits no file name; pictures and
            volumes in one evaluation.
        PermissionError: the output folder is not writable (when the evaluation starts).
    """

    can_be_calibrated = True

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
        labels: LabelSet | Mapping[str, Any] | None = None,
        tolerance: float = 1.0,
        subgroups: str | os.PathLike[str] | None = None,
        provenance: Provenance | None = None,
        conformal: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(output_dir, name, data_name, only_best, group, details, n_resamples, subgroups, provenance)
        self.labels = None if labels is None else LabelSet.of(labels)
        self.tolerance = tolerance
        self._asked = metrics
        self.metrics = self._metric_names()
        self.threshold, self.spacing, self.normalize = threshold, spacing, normalize
        self.case_count, self.conformal = case_count, conformal
        self._risk: tuple[LabelSet, RiskThresholds] | None = None
        if conformal is not None:
            classes = self.labels or LabelSet.of({next(iter(conformal.get("thresholds", {})), "foreground"): BY_RULE})
            self._risk = classes, RiskThresholds.of(conformal, classes.names)
        self._reset()

    def _reset(self) -> None:
        self._records: list[Any] = []
        self._pictures: dict[str, KeptPicture] = {}
        self._controlled: dict[str, tuple[dict[str, float], dict[str, float]]] = {}

    def _metric_names(self) -> tuple[str, ...]:
        """What is asked for, as far as it is known before the first item: one class by rule may come in volumes."""
        if self.labels is not None and not self.labels.by_rule:
            return class_metric_names(self._asked)
        try:
            return metric_names(self._asked)
        except ValueError:
            if self.labels is None:
                raise
            return class_metric_names(self._asked)

    def _score(self, item: Mapping[str, Any], source: Mapping[str, Any]) -> None:
        name = self._file_of(item, source, len(self._records))
        labels = self.labels
        record: ImageRecord | ClassesRecord
        try:
            if labels is None or (labels.by_rule and item[CommonKeys.PRED].ndim <= 3):
                self.metrics = metric_names(self._asked)
                record, picture = self._foreground(item, name)
            else:
                self.metrics = class_metric_names(self._asked)
                record, picture = self._classes(item, name, labels)
            if self._risk is not None:
                self._controlled[name] = controlled_scores(item, *self._risk)
        except ValueError as error:
            raise ValueError(f"cannot evaluate {name}: {error}") from error
        record.group = self._group_of(name, source)
        record.subset = source.get("dataset") if isinstance(source.get("dataset"), str) else None
        self._records.append(record)
        if picture is not None:
            self._pictures[name] = picture

    def _foreground(self, item: Mapping[str, Any], name: str) -> tuple[ImageRecord, KeptPicture | None]:
        prob, label = as_maps(item[CommonKeys.PRED], item[CommonKeys.LABEL])
        scores = segmentation_metrics(prob, label, self.metrics, self.threshold, self.spacing, self.normalize)
        counts = confusion_counts(prob, label, self.threshold)
        record = ImageRecord(name, label.shape, scores, counts, (float(prob.min()), float(prob.max())))
        if "e_measure" in self.metrics:
            shown = normalize_map(prob, label) if self.normalize else prob
            record.e_curve = e_measure_from_counts(threshold_counts(shown, label))
        if self.case_count <= 0 or CommonKeys.IMAGE not in item:
            return record, None
        from ..visualize import to_rgb

        picture = to_rgb(item[CommonKeys.IMAGE], record.size)
        return record, KeptPicture.pack(picture, label > 0.5, prob >= self.threshold)

    def _classes(
        self, item: Mapping[str, Any], name: str, labels: LabelSet
    ) -> tuple[ClassesRecord, KeptPicture | None]:
        scorer = ClassScorer(labels, self.metrics, self.threshold, self.spacing, self.tolerance)
        record, label, pred = scorer.score(item, name)
        shown = self.case_count > 0 and CommonKeys.IMAGE in item
        return record, scorer.picture(item, label, pred) if shown else None

    def _finish(self, engine: Engine) -> None:
        (records,) = gather_lists(self._records)
        if len({type(record) for record in records}) > 1:
            raise ValueError("the data holds pictures and volumes; evaluate them apart.")
        records = list({record.name: record for record in records}.values())
        of_classes = bool(records) and isinstance(records[0], ClassesRecord)
        if of_classes:  # also on a rank that had no item of its own
            self.metrics = class_metric_names(self._asked)
        first = self.metrics[0]
        scores = {record.name: abs((record.means if of_classes else record.scores)[first]) for record in records}
        cases = choose_cases(scores, self.case_count, first not in _HIGHER_IS_WORSE)
        chosen = {case["image"] for case in cases}
        (gathered,) = gather_lists([(name, kept) for name, kept in self._pictures.items() if name in chosen])
        pictures = dict(gathered)
        found, of_data, of_output = self._class_figures(records) if of_classes else self._foreground_figures(records)
        own = {record.name: (record.means if of_classes else record.scores)[first] for record in records}
        groups = [record.group for record in records]
        beside, of_table = self._beside(first, list(own), list(own.values()), groups, found["bootstrap"])
        if self.conformal is not None:
            found["conformal"] = self._conformal_figures(records, self.conformal)
            of_data = [*of_data, *conformal_warnings(self.conformal, self.data_name, self.name)]
            of_output = [*of_output, *coverage_warnings(found["conformal"])]
        self.summary = {
            **self._heading(),
            **{key: value for key, value in found.items() if key not in _AFTER_WARNINGS},
            "warnings": self._warnings(
                [*few_cases(len(records), "images"), *of_data, *of_table],
                [*of_output, *beside_floors(found["per_image"], found["floors"])],
            ),
            **{key: found[key] for key in _AFTER_WARNINGS if key in found},
            **self._provenance(engine),
            "cases_by": first,
            "cases": cases,
            "overlays": "overlays.png" if chosen and chosen <= pictures.keys() else None,
            **beside,
        }
        self._advise()
        figures = {name: entry["mean"] for name, entry in self.summary["per_image"].items()}
        figures |= {f"pooled_{name}": entry["value"] for name, entry in found.get("pooled", {}).items()}
        for name, row in found.get("conformal", {}).get("classes", {}).items():
            figures[f"missed_{_NOT_IN_NAMES.sub('_', name)}"] = row["missed"]["mean"]
        for name, table in found.get("classes", {}).items():
            figures |= {f"{key}_{_NOT_IN_NAMES.sub('_', name)}": table[key]["mean"] for key in self.metrics}
        self._publish(engine, figures, lambda: self._write(records, pictures))

    def _conformal_figures(self, records: Sequence[Any], conformal: Mapping[str, Any]) -> dict[str, Any]:
        (gathered,) = gather_lists(list(self._controlled.items()))
        scores = dict(gathered)
        bootstrap: Resampling = {"n_resamples": self.n_resamples, "confidence": 0.95, "seed": 0}
        missed, marked = zip(*(scores[record.name] for record in records), strict=True)
        return summarize_risk(conformal, missed, marked, bootstrap, common_groups(records))

    def _foreground_figures(self, records: list[ImageRecord]) -> tuple[dict[str, Any], list[str], list[str]]:
        found = {
            **summarize(records, n_resamples=self.n_resamples),
            "threshold": self.threshold,
            "distance_unit": "pixels" if self.spacing is None else "mm",
            "normalize": self.normalize,
        }
        return found, _without_foreground(records), segmentation_warnings(records)

    def _class_figures(self, records: list[ClassesRecord]) -> tuple[dict[str, Any], list[str], list[str]]:
        assert self.labels is not None
        found = {
            **summarize_classes(records, self.labels.softmax, n_resamples=self.n_resamples),
            "labels": self.labels.labels,
            "threshold": None if self.labels.softmax else self.threshold,
            "tolerance": self.tolerance,
        }
        return found, *class_warnings(records)

    def _write(self, records: list[Any], pictures: Mapping[str, KeptPicture]) -> None:
        of_classes = isinstance(records[0], ClassesRecord)
        (write_classes_per_image if of_classes else write_per_image)(records, self.output_dir / "per_image.csv")
        write_summary(self.summary, self.output_dir / "summary.json")
        (write_classes_report if of_classes else write_report)(self.summary, self.output_dir / "report.md")
        if self.summary["overlays"]:
            self._write_overlays(pictures)
        if self.page is not None:
            self._write_page(self.page, records, pictures)
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
        if "conformal" in self.summary:
            logger.info("%s on %s: %s", self.name, self.data_name, conformal_headline(self.summary["conformal"]))

    def _write_page(self, page: Path, records: list[Any], pictures: Mapping[str, KeptPicture]) -> None:
        first = self.metrics[0]
        if isinstance(records[0], ClassesRecord):
            scores = {name: [record.scores[name][first] for record in records] for name in records[0].scores}
        else:
            scores = {first: [record.scores[first] for record in records]}
        shown = self.summary["cases"] if self.summary["overlays"] else []
        panels = [case_panel(pictures[case["image"]], "", self._colors()) for case in shown]
        facts = self.provenance.facts() if self.provenance else None
        write_segmentation_html(self.summary, page, scores, panels, facts)

    def _colors(self) -> dict[str, tuple[int, int, int]] | None:
        if self.labels is None:
            return None
        return dict(zip(self.labels.names, self.labels.colors, strict=True))

    def _write_overlays(self, pictures: Mapping[str, KeptPicture]) -> None:
        cases, colors = self.summary["cases"], self._colors()
        panels = [case_panel(pictures[case["image"]], case_label(case, self.metrics[0]), colors) for case in cases]
        columns = sum(case["kind"] == "worst" for case in cases)  # one row per kind
        write_case_pictures(cases, panels, self.output_dir / "overlays", columns)


def _without_foreground(records: Sequence[ImageRecord]) -> list[str]:
    if any(tp + fn > 0 for tp, _, fn, _ in (record.counts for record in records)):
        return []
    return ["no label has any foreground: sensitivity is undefined, and overlaps say only where nothing was predicted"]
