"""Evaluate a classification image by image and write the report of the data set."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine
from monai.utils import CommonKeys

from ..metrics.calibration import CALIBRATION_BINS
from ..metrics.conformal import PredictionSets
from ..metrics.predictions import as_predictions
from ..reports.cases import choose_cases
from ..reports.classification import (
    ClassifiedImage,
    summarize_classification,
    write_classification_report,
    write_pictures,
)
from ..reports.conformal import conformal_headline, conformal_warnings, coverage_warnings, summarize_sets
from ..reports.html_classification import write_classification_html
from ..reports.html_images import thumbnail
from ..reports.predictions_table import write_predictions
from ..reports.sanity import Floors, beside_floors, classification_warnings, few_cases
from ..reports.summary import common_groups, write_summary
from ..utils.shown_names import shown_name
from .evaluation_report import EvaluationReport, gather_lists
from .provenance import Provenance

__all__ = ["ClassificationReport"]

logger = logging.getLogger(__name__)
VOLUME = 4  # axes, that of the channels included


class ClassificationReport(EvaluationReport):
    """Ignite handler for a MONAI evaluator: collects probabilities and labels, and writes the report when the
    evaluation is complete.

    Reads ``pred`` and ``label`` of each decollated item in ``engine.state.output`` after post-processing: ``pred``
    holds the class probabilities ``(K,)`` (softmax), ``label`` the class number, 0 to K - 1. Writes to ``output_dir``,
    each file in one step so that an interruption never leaves half of one:

    * ``per_image.csv``: one row per image with its file, group (where known), label, predicted class, confidence,
      whether it is right, and the probability of each class;
    * ``summary.json``, ``report.md``: ``classification_metrics`` and ``per_class_metrics`` with bootstrap intervals,
      the confusion matrix, the errors of highest confidence, floors, warnings (few images, classes without any, an
      output that does not depend on the image, figures not above a floor), settings and versions;
    * ``confusion_matrix.png``, ``roc_curves.png``, ``pr_curves.png``, ``reliability.png``;
    * ``report.html`` of an evaluation: all of it in one file, with the images of the worst, median and best cases (by
      the probability of the true class).

    The figures are also put into ``engine.state.metrics`` as ``<name>_<metric>`` (``test_accuracy``, ``test_f1_macro``,
    ``test_roc_auc``, ...), where early stopping and trackers attached after this handler find them. MONAI compares its
    key metric before handlers run: use ``medssm_monai.metrics.classification.ClassificationMetric`` for that one. Run
    distributed, all ranks' images are gathered, an image that a sampler repeated counts once, and rank 0 writes.

    Args:
        output_dir: folder of the report; created when missing. Files of an earlier evaluation there are replaced.
        class_names: names of the classes in the order of the network's outputs; ``None`` calls them ``class_0``, ...
        name: name of the evaluation, for example ``"test"``.
        data_name: name of the data set; ``"demo"`` appears as "demo (synthetic)" wherever the report is read.
        only_best: for the validation during training: write only when the evaluator's key metric is the best so far,
            so that the report belongs to the best checkpoint.
        group: which images belong together (patient, lesion), so that intervals resample groups: a function from the
            file name to the group, or a regular expression whose first bracket (or whole match) is the group. ``None``
            takes the items' own entry ``group`` where every item has one.
        details: further facts for the report, for example temperature or checkpoint.
        n_resamples: resamples of the bootstrap (95 %, seed 0).
        bins: of the expected calibration error and the reliability diagram.
        pictures: draw the PNG files.
        floors: further floors of the same images beside that of the commonest class, for example those of
            ``medssm_monai.experiments.pixel_baseline.pixel_floor``.
        case_count: worst, median and best cases of ``report.html``, that many of each; without ``pictures`` none.
        subgroups: CSV of names, and columns such as sex or scanner; the accuracy is given for each of their values.
        provenance: what ran with what, for ``report.html``.
        conformal: calibrated threshold of prediction sets (:func:`medssm_monai.bundle.read_conformal`): their coverage
            and sizes become a part of the report, and their classes columns of the table. ``None`` leaves them out.

    Raises:
        ValueError: fewer than two class names, or a threshold for another number of classes (at once); items that are
            no decollated dicts with ``pred`` and ``label``, probabilities for another number of classes, no
            probabilities at all (logits, NaN), labels outside the range (naming the file); ``group`` that fits no file
            name.
        PermissionError: the output folder is not writable (when the evaluation starts).
    """

    can_be_calibrated = True

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        class_names: Sequence[str] | None = None,
        name: str = "test",
        data_name: str | None = None,
        only_best: bool = False,
        group: str | Callable[[str], str] | None = None,
        details: Mapping[str, Any] | None = None,
        n_resamples: int = 1000,
        bins: int = CALIBRATION_BINS,
        pictures: bool = True,
        floors: Floors | None = None,
        case_count: int = 4,
        subgroups: str | os.PathLike[str] | None = None,
        provenance: Provenance | None = None,
        conformal: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(output_dir, name, data_name, only_best, group, details, n_resamples, subgroups, provenance)
        self.case_count = case_count if pictures else 0
        self.class_names = None if class_names is None else [str(entry) for entry in class_names]
        if self.class_names is not None and len(set(self.class_names)) != max(2, len(self.class_names)):
            raise ValueError(f"class_names must be at least two different names, got {self.class_names}.")
        self.bins, self.pictures, self.floors, self.conformal = bins, pictures, floors, conformal
        if conformal is not None:
            PredictionSets.of(conformal, self.class_names or [str(n) for n in range(conformal.get("classes", 0))])
        self._reset()

    def _reset(self) -> None:
        self._records: list[ClassifiedImage] = []
        self._pictures: dict[str, bytes] = {}

    def _score(self, item: Mapping[str, Any], source: Mapping[str, Any]) -> None:
        name = self._file_of(item, source, len(self._records))
        pred, label = (torch.as_tensor(item[key]).detach().cpu() for key in (CommonKeys.PRED, CommonKeys.LABEL))
        try:
            (prob,), (number,) = as_predictions(pred.double().reshape(1, -1), label.reshape(-1), self.class_names)
        except ValueError as error:
            raise ValueError(f"cannot evaluate {name}: {error}") from error
        self._records.append(ClassifiedImage(name, prob, int(number), self._group_of(name, source)))
        if self.case_count > 0 and self.page is not None and CommonKeys.IMAGE in item:
            self._pictures[name] = thumbnail(_plane(item[CommonKeys.IMAGE]))

    def _finish(self, engine: Engine) -> None:
        (records,) = gather_lists(self._records)
        records = list({record.name: record for record in records}.values())
        names = self.class_names or [f"class_{i}" for i in range(len(records[0].probabilities) if records else 0)]
        found = summarize_classification(
            records, names, n_resamples=self.n_resamples, bins=self.bins, further_floors=self.floors
        )
        probabilities, labels = _arrays(records)
        of_output = classification_warnings(probabilities, labels, names)
        of_output += beside_floors(found["metrics"], found["floors"])
        right = (probabilities.argmax(axis=1) == labels).astype(np.float64).tolist()
        groups = [record.group for record in records]
        beside, of_table = self._beside(
            "accuracy", [record.name for record in records], right, groups, found["bootstrap"]
        )
        of_data = [*few_cases(len(records), "images"), *found["undefined"], *of_table]
        cases = self._cases(records, names)
        chosen = {case["image"] for case in cases}
        (gathered,) = gather_lists([(name, kept) for name, kept in self._pictures.items() if name in chosen])
        if self.conformal is not None:
            found["conformal"] = summarize_sets(self.conformal, probabilities, labels, names)
            of_data += conformal_warnings(self.conformal, self.data_name, self.name)
            of_output += coverage_warnings(found["conformal"])
        self.summary = {
            **self._heading(),
            **found,
            "warnings": self._warnings(of_data, of_output),
            **self._provenance(engine),
            "cases": cases,
            **beside,
        }
        self._advise()
        figures = {name: entry["value"] for name, entry in self.summary["metrics"].items()}
        if "conformal" in found:
            figures |= {
                "set_coverage": found["conformal"]["coverage"]["value"],
                "set_size": found["conformal"]["mean_size"],
            }
        self._publish(engine, figures, lambda: self._write(records, names, dict(gathered)))

    def _cases(self, records: Sequence[ClassifiedImage], names: Sequence[str]) -> list[dict[str, Any]]:
        """Worst, median and best by the probability of the true class, with label and answer."""
        if self.case_count < 1:
            return []
        known = {record.name: record for record in records}
        scores = {name: float(record.probabilities[record.label]) for name, record in known.items()}
        cases = choose_cases(scores, self.case_count)
        for case in cases:
            record = known[case["image"]]
            case |= {"label": names[record.label], "predicted": names[int(record.probabilities.argmax())]}
        return cases

    def _write(self, records: Sequence[ClassifiedImage], names: Sequence[str], pictures: Mapping[str, bytes]) -> None:
        probabilities, labels = _arrays(records)
        paths = [shown_name(record.name) for record in records]
        sets = None if self.conformal is None else PredictionSets.of(self.conformal, names)
        write_predictions(
            self.output_dir / "per_image.csv",
            paths,
            probabilities,
            names,
            labels,
            groups=common_groups(records),
            sets=sets,
        )
        write_summary(self.summary, self.output_dir / "summary.json")
        drawn = write_pictures(probabilities, labels, names, self.output_dir, self.bins) if self.pictures else []
        write_classification_report(self.summary, self.output_dir / "report.md", drawn)
        if self.page is not None:
            facts = self.provenance.facts() if self.provenance else None
            write_classification_html(self.summary, self.page, drawn, pictures, facts)
        headline = self.summary["metrics"]["accuracy"]
        logger.info(
            "%s on %s: accuracy %.4f (95 %% interval %.4f to %.4f) over %d images; report in %s",
            self.name,
            self.data_name,
            headline["value"],
            headline["low"],
            headline["high"],
            len(records),
            self.output_dir,
        )
        if "conformal" in self.summary:
            logger.info("%s on %s: %s", self.name, self.data_name, conformal_headline(self.summary["conformal"]))


def _plane(image: Any) -> np.ndarray:
    """The image, of a volume its middle plane across the last axis, as a picture uint8 ``(H, W, 3)``."""
    from ..visualize import to_rgb

    values = torch.as_tensor(image).detach().as_subclass(torch.Tensor)
    if values.ndim == VOLUME:
        values = values[..., values.shape[-1] // 2].rot90(1, (1, 2))
    return to_rgb(values)


def _arrays(records: Sequence[ClassifiedImage]) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities ``(N, K)`` and labels ``(N,)``."""
    return np.stack([record.probabilities for record in records]), np.array([record.label for record in records])
