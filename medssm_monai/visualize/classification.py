"""Pictures of a classification's evaluation: confusion matrix, ROC and PR curves, reliability diagram."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..metrics.calibration import CALIBRATION_BINS, expected_calibration_error, reliability_curve
from ..metrics.classification import confusion_matrix, per_class_metrics
from ..metrics.predictions import Predictions, as_predictions
from .palette import curve_style

__all__ = ["plot_confusion_matrix", "plot_pr_curves", "plot_reliability", "plot_roc_curves"]


def _figure(width: float, height: float) -> Any:
    """A figure on matplotlib's Agg canvas: no display, and the process-wide backend stays as it is."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _names(class_names: Sequence[str] | None, num_classes: int) -> list[str]:
    """Names as Matplotlib writes them: ``$`` starts no formula, ``_`` hides none from a legend."""
    if class_names is None:
        return [f"class_{number}" for number in range(num_classes)]
    plain = [str(name).replace("$", r"\$") for name in class_names]
    return [f" {name}" if name.startswith("_") else name for name in plain]


def _shown_classes(data: Predictions) -> range:
    """The positive class alone for two classes, else all."""
    return range(1, 2) if data.num_classes == 2 else range(data.num_classes)


def plot_confusion_matrix(
    probabilities: ArrayLike,
    labels: ArrayLike,
    path: str | os.PathLike[str],
    class_names: Sequence[str] | None = None,
) -> None:
    """Draw the counts (rows are labels, columns predicted classes), colored by their share of the row.

    It is scikit-learn's ``ConfusionMatrixDisplay`` of the shares, with the counts as its texts.

    Args:
        probabilities: ``(N, K)``, see ``as_predictions``, which raises on bad input.
        labels: ``(N,)``, 0 to K - 1.
        path: picture file; the suffix (``.png``, ``.svg``, ...) chooses the format.
        class_names: one per class.
    """
    from matplotlib.artist import setp
    from sklearn.metrics import ConfusionMatrixDisplay

    data = as_predictions(probabilities, labels, class_names)
    counts = confusion_matrix(*data)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(4.0, 0.75 * data.num_classes + 2.0)
    figure = _figure(side + 0.6, side)
    axis = figure.subplots()
    display = ConfusionMatrixDisplay(share, display_labels=_names(class_names, data.num_classes))
    display.plot(ax=axis, cmap="Blues", colorbar=False, im_kw={"vmin": 0.0, "vmax": 1.0}, xticks_rotation=45)
    for place, count in np.ndenumerate(counts):
        display.text_[place].set(text=f"{count}", color="white" if share[place] > 0.5 else "black")
    setp(axis.get_xticklabels(), ha="right")
    axis.set(xlabel="predicted", ylabel="label")
    axis.set_title(f"confusion matrix, {len(data.labels)} images", fontsize="medium")
    figure.colorbar(display.im_, ax=axis, label="share of the label's images", shrink=0.8)
    figure.savefig(path, dpi=120)


def plot_roc_curves(
    probabilities: ArrayLike,
    labels: ArrayLike,
    path: str | os.PathLike[str],
    class_names: Sequence[str] | None = None,
) -> None:
    """Draw sensitivity over 1 - specificity: of the positive class for K = 2, else of each class against the rest.

    A class for which the curve is undefined (no sample of it, or of nothing else) is named in the legend.

    Args:
        probabilities, labels, path, class_names: as in ``plot_confusion_matrix``.
    """
    from sklearn.metrics import RocCurveDisplay

    data = as_predictions(probabilities, labels, class_names)
    figure, axis = _draw_curves(RocCurveDisplay, data, class_names, "roc_auc", "AUC", "ROC curve")
    axis.plot([0, 1], [0, 1], color="gray", linestyle=(0, (1, 3)), linewidth=1, label="chance")
    _finish_curves(axis, "1 - specificity", "sensitivity")
    figure.savefig(path, dpi=120)


def plot_pr_curves(
    probabilities: ArrayLike,
    labels: ArrayLike,
    path: str | os.PathLike[str],
    class_names: Sequence[str] | None = None,
) -> None:
    """Draw precision over sensitivity: of the positive class for K = 2, else of each class against the rest.

    Steps, not interpolated, as the average precision in the legend; a class without samples is named there.

    Args:
        probabilities, labels, path, class_names: as in ``plot_confusion_matrix``.
    """
    from sklearn.metrics import PrecisionRecallDisplay

    data = as_predictions(probabilities, labels, class_names)
    figure, axis = _draw_curves(PrecisionRecallDisplay, data, class_names, "pr_auc", "AP", "precision-recall curve")
    _finish_curves(axis, "sensitivity", "precision")
    figure.savefig(path, dpi=120)


def _draw_curves(
    display: Any, data: Predictions, class_names: Sequence[str] | None, metric: str, area: str, title: str
) -> tuple[Any, Any]:
    """Figure and axis with a curve per class, by scikit-learn's ``display``, and ``area`` in the legend."""
    values, names = per_class_metrics(*data)[metric], _names(class_names, data.num_classes)
    figure = _figure(5.0, 5.4)
    axis = figure.subplots()
    for curve, number in enumerate(_shown_classes(data)):
        label = f"{names[number]} ({area} {values[number]:.3f})"
        if np.isnan(values[number]):
            axis.plot([], [], label=f"{names[number]} (undefined)", **curve_style(curve))
            continue
        drawn = display.from_predictions(data.labels == number, data.probabilities[:, number], ax=axis)
        drawn.line_.set(label=label, **curve_style(curve))
    what = f" of {names[1]}" if data.num_classes == 2 else "s, each class against the rest"
    axis.set_title(f"{title}{what}, {len(data.labels)} images", fontsize="medium")
    return figure, axis


def _finish_curves(axis: Any, x: str, y: str) -> None:
    axis.set(xlabel=x, ylabel=y, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="auto")
    axis.grid(alpha=0.3)
    axis.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)  # below: hides no curve


def plot_reliability(
    probabilities: ArrayLike,
    labels: ArrayLike,
    path: str | os.PathLike[str],
    bins: int = CALIBRATION_BINS,
) -> None:
    """Draw accuracy over confidence in bins of equal width (a calibrated classifier lies on the diagonal), and below it
    how many samples each bin holds.

    Args:
        probabilities, labels, path: as in ``plot_confusion_matrix``.
        bins: number of bins.
    """
    confidence, accuracy, count = reliability_curve(probabilities, labels, bins)
    ece = expected_calibration_error(probabilities, labels, bins)
    figure = _figure(5.0, 5.4)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    left, filled = np.arange(bins) / bins, count > 0
    upper.bar(
        left[filled],
        accuracy[filled],
        width=1 / bins,
        align="edge",
        color="#56B4E9",
        edgecolor="white",
        label="accuracy of a bin's images",
    )
    upper.plot(
        confidence[filled], accuracy[filled], "o", color="#D55E00", markersize=4, label="at their mean confidence"
    )
    upper.plot([0, 1], [0, 1], color="gray", linestyle=":", linewidth=1, label="calibrated")
    upper.set_ylabel("accuracy")
    upper.set_ylim(0, 1)
    upper.set_title(f"expected calibration error {ece:.3f} ({bins} bins)", fontsize="medium")
    upper.legend(fontsize="small", loc="upper left")
    lower.bar(left, count, width=1 / bins, align="edge", color="gray", edgecolor="white")
    lower.set_xlabel("confidence")
    lower.set_ylabel("images")
    lower.set_xlim(0, 1)
    for axis in (upper, lower):
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
