"""Classification metrics of a whole data set, and their cumulative form for MONAI's engines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.metrics import CumulativeIterationMetric
from numpy.typing import ArrayLike

from .calibration import CALIBRATION_BINS, expected_calibration_error
from .predictions import Predictions, as_predictions

__all__ = [
    "CLASSIFICATION_METRICS",
    "PER_CLASS_METRICS",
    "ClassificationMetric",
    "average_over_classes",
    "classification_metrics",
    "confusion_matrix",
    "per_class_metrics",
    "undefined_metrics",
]

PER_CLASS_METRICS = ("precision", "sensitivity", "specificity", "f1", "roc_auc", "pr_auc")
CLASSIFICATION_METRICS = (
    "accuracy",
    "balanced_accuracy",
    "precision_macro",
    "precision_weighted",
    "sensitivity_macro",
    "sensitivity_weighted",
    "specificity_macro",
    "specificity_weighted",
    "f1_macro",
    "f1_weighted",
    "roc_auc",
    "pr_auc",
    "ece",
)


def confusion_matrix(probabilities: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """Counts ``(K, K)`` int64: rows are labels, columns predicted classes (the largest probability); scikit-learn's.

    Args:
        probabilities: ``(N, K)``, see ``as_predictions``, which raises on bad input.
        labels: ``(N,)``, 0 to K - 1.
    """
    from sklearn.metrics import confusion_matrix as count

    data = as_predictions(probabilities, labels)
    return count(data.labels, data.classes, labels=np.arange(data.num_classes))


def _areas(data: Predictions, column: int | np.integer) -> tuple[float, float]:
    """ROC-AUC and PR-AUC of one class against the rest; NaN where the labels lack the class or all else."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    positive = data.labels == column
    if not positive.any():
        return float("nan"), float("nan")
    score = data.probabilities[:, column]
    roc = float("nan") if positive.all() else float(roc_auc_score(positive, score))
    return roc, float(average_precision_score(positive, score))


def per_class_metrics(probabilities: ArrayLike, labels: ArrayLike) -> dict[str, np.ndarray]:
    """Figures of each class against the rest, one array ``(K,)`` per name.

    With TP, FP, FN, TN of the class against all others, the predicted class being the one of largest probability:

    * ``precision`` TP / (TP + FP); 0 for a class of the labels that is never predicted (scikit-learn's convention);
    * ``sensitivity`` (recall) TP / (TP + FN);
    * ``specificity`` TN / (TN + FP);
    * ``f1`` 2 TP / (2 TP + FP + FN);
    * ``roc_auc``: area under the ROC curve, trapezoidal rule, ties count half (``sklearn.metrics.roc_auc_score``);
    * ``pr_auc``: average precision, the sum of precision times the step in recall, not interpolated
      (``sklearn.metrics.average_precision_score``);
    * ``support``: number of samples with that label, int64.

    A class without a sample among the labels has NaN in all but ``support`` (and ``specificity``, which is defined
    without it); a class that every sample belongs to has neither specificity nor ROC-AUC. ``undefined_metrics`` says so
    in words.

    Args:
        probabilities: ``(N, K)``, see ``as_predictions``, which raises on bad input.
        labels: ``(N,)``, 0 to K - 1.
    """
    from sklearn.metrics import precision_recall_fscore_support

    data = as_predictions(probabilities, labels)
    numbers = np.arange(data.num_classes)
    precision, recall, f1, support = precision_recall_fscore_support(
        data.labels, data.classes, labels=numbers, zero_division=0
    )
    absent = support == 0
    negatives = len(data.labels) - support
    wrong = np.array([np.sum((data.classes == number) & (data.labels != number)) for number in numbers])
    with np.errstate(invalid="ignore"):
        specificity = (negatives - wrong) / negatives
    roc, pr = np.array([_areas(data, number) for number in numbers]).T
    return {
        "precision": np.where(absent, np.nan, precision),
        "sensitivity": np.where(absent, np.nan, recall),
        "specificity": specificity,
        "f1": np.where(absent, np.nan, f1),
        "roc_auc": roc,
        "pr_auc": pr,
        "support": support.astype(np.int64),
    }


def average_over_classes(table: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Averages of figures per class, over the last axis K: ``<name>_macro``, ``<name>_weighted``,
    ``balanced_accuracy``, ``roc_auc``, ``pr_auc``.

    Args:
        table: ``(..., K)`` per name of ``PER_CLASS_METRICS``, and ``support``.

    Returns:
        arrays ``(...)``. Macro is the plain mean over the classes that occur among the labels, weighted the mean with
        the supports as weights; classes without samples, and undefined figures, take no part in either. The areas are
        those of the positive class, number 1, for K = 2, else their macro average.
    """
    support = table["support"].astype(np.float64)
    means: dict[str, np.ndarray] = {}

    def mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        weights = np.where(np.isnan(values), 0.0, weights)
        with np.errstate(invalid="ignore"):
            return (np.where(weights > 0, values, 0.0) * weights).sum(axis=-1) / weights.sum(axis=-1)

    for name in ("precision", "sensitivity", "specificity", "f1"):
        means[f"{name}_macro"] = mean(table[name], (support > 0).astype(np.float64))
        means[f"{name}_weighted"] = mean(table[name], support)
    means["balanced_accuracy"] = means["sensitivity_macro"]
    for name in ("roc_auc", "pr_auc"):
        values = table[name]
        means[name] = values[..., 1] if values.shape[-1] == 2 else mean(values, (support > 0).astype(np.float64))
    return means


def classification_metrics(
    probabilities: ArrayLike, labels: ArrayLike, bins: int = CALIBRATION_BINS
) -> dict[str, float]:
    """All of ``CLASSIFICATION_METRICS`` of one set of samples.

    * ``accuracy``: share of samples whose predicted class (largest probability) is the label;
    * ``balanced_accuracy``: mean sensitivity over the classes among the labels , the same as ``sensitivity_macro``;
    * ``precision``, ``sensitivity``, ``specificity``, ``f1``, each ``_macro`` (plain mean over classes) and
      ``_weighted`` (mean weighted by the number of samples per class; the weighted sensitivity equals the accuracy),
      from the figures per class of ``per_class_metrics``. MedConvMamba's rows are the weighted ones, other published
      tables mostly macro.
    * ``roc_auc``, ``pr_auc``: of the positive class (number 1) for two classes, else the macro average of one-vs-rest;
    * ``ece``: expected calibration error with ``bins`` bins of equal width (``expected_calibration_error``).

    Classes absent from the labels take no part in averages; a figure that is undefined is NaN, never an error;
    ``undefined_metrics`` gives the reasons.

    Args:
        probabilities: ``(N, K)``, see ``as_predictions``, which raises on bad input.
        labels: ``(N,)``, 0 to K - 1.
        bins: of the calibration error.
    """
    data = as_predictions(probabilities, labels)
    averages: dict[str, Any] = {**average_over_classes(per_class_metrics(*data))}
    averages["accuracy"] = np.mean(data.classes == data.labels)
    averages["ece"] = np.float64(expected_calibration_error(*data, bins=bins))
    return {name: float(averages[name]) for name in CLASSIFICATION_METRICS}


def undefined_metrics(labels: Any, class_names: Sequence[str]) -> list[str]:
    """Why figures are NaN, or an average covers fewer classes, in words for a report; empty when all classes occur.

    Args:
        labels: ``(N,)`` class numbers.
        class_names: one name per class.
    """
    support = np.bincount(np.asarray(labels, dtype=np.int64), minlength=len(class_names))
    absent = [name for name, count in zip(class_names, support, strict=True) if count == 0]
    reasons = []
    if absent:
        reasons.append(
            f"no sample of {', '.join(absent)}: sensitivity, precision, F1 and both areas of these classes are "
            "undefined, and averages are over the other classes"
        )
    if len(class_names) - len(absent) == 1:
        only = class_names[int(support.argmax())]
        reasons.append(f"all samples are {only}: its specificity and ROC-AUC are undefined")
    if len(class_names) == 2 and support[1] == 0:
        reasons.append(f"no positive sample ({class_names[1]}): ROC-AUC and PR-AUC are undefined")
    return reasons


class ClassificationMetric(CumulativeIterationMetric):
    """One figure of ``classification_metrics`` over all samples since the last ``reset``, of all processes.

    Takes class probabilities ``(N, K)`` and labels ``(N,)``, or lists of ``(K,)`` and scalar tensors, as decollated
    batches hold them. Wrap it in ``monai.handlers.IgniteMetricHandler`` for an evaluator.

    Args:
        name: one of ``CLASSIFICATION_METRICS``, larger is better (all but ``ece``).

    Raises:
        ValueError: unknown name; when aggregated, what ``classification_metrics`` raises, and an undefined figure
            (a class without a sample): no checkpoint can be chosen by it.
    """

    def __init__(self, name: str = "roc_auc") -> None:
        super().__init__()
        known = [metric for metric in CLASSIFICATION_METRICS if metric != "ece"]
        if name not in known:
            raise ValueError(f"a checkpoint is chosen by one of {', '.join(known)}, got {name!r}.")
        self.name = name

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor | None = None) -> list[torch.Tensor]:  # type: ignore[override]
        if y is None:
            raise ValueError("labels are needed to score a classification.")
        return [y_pred.float(), y]

    def aggregate(self) -> float:
        """The figure, in [0, 1]."""
        probabilities, labels = self.get_buffer()
        value = classification_metrics(probabilities, labels)[self.name]
        if value != value:
            present = sorted(set(labels.flatten().tolist()))
            raise ValueError(
                f"{self.name} is undefined: the samples have the labels {present} only. Give every class a sample in "
                "the validation part, or choose by accuracy."
            )
        return value
