"""All scores of one class of a segmentation by name, in 2D or 3D, and the named sets of them.

A class may be absent from an image, which the measures of one foreground class in
:mod:`medssm_monai.metrics.segmentation` take otherwise: :data:`ABSENT_CLASSES` says what counts here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .lesions import lesion_scores
from .surfaces import surface_scores

__all__ = [
    "ABSENT_CLASSES",
    "CLASS_METRIC_SETS",
    "class_counts",
    "class_metric_names",
    "class_scores",
    "overlap_of_class",
    "volume_unit",
]

ABSENT_CLASSES = (
    "a class that is in neither label nor prediction of an image is not counted there (its volume difference and "
    "lesion counts are 0); one that is in only one of them has Dice, IoU and surface Dice 0 and no distance"
)
"""The convention for absent classes, as a sentence of reports."""

CLASS_OVERLAP = ("dice", "iou", "sensitivity", "precision")
_VOLUMES = ("volume_difference", "relative_volume_difference")
_SURFACES = ("hd95", "surface_dice")
_LESIONS = ("lesion_sensitivity", "lesion_f1", "lesion_tp", "lesion_fn", "lesion_fp")
_BASIC = (*CLASS_OVERLAP, "volume_difference")
_ALL = (*CLASS_OVERLAP, *_VOLUMES, *_SURFACES, *_LESIONS)

CLASS_METRIC_SETS: dict[str, tuple[str, ...]] = {
    "basic": _BASIC,
    "surface": (*_BASIC, *_SURFACES),
    "lesions": (*_BASIC, *_LESIONS),
    "all": _ALL,
}


def class_metric_names(metrics: str | Sequence[str] = "basic") -> tuple[str, ...]:
    """The metric names behind a set's name, or the given list after a check.

    Raises:
        ValueError: unknown set or metric, and the set ``polyp``, which judges maps of one class in 2D; the message
            lists what there is.
    """
    known = f"sets: {', '.join(CLASS_METRIC_SETS)}; metrics: {', '.join(_ALL)}"
    if metrics == "polyp":
        raise ValueError(
            "the metric set 'polyp' judges the map of one foreground class in pictures; classes and volumes have "
            f"{known}."
        )
    if isinstance(metrics, str):
        if metrics in CLASS_METRIC_SETS:
            return CLASS_METRIC_SETS[metrics]
        metrics = (metrics,)
    unknown = [name for name in metrics if name not in _ALL]
    if unknown or not metrics:
        raise ValueError(f"unknown metrics {unknown} for classes and volumes; there are {known}.")
    return tuple(dict.fromkeys(metrics))


def volume_unit(spatial_dims: int, with_spacing: bool) -> str:
    """Of ``volume_difference``: ``ml`` in 3D and ``mm2`` in 2D where the spacing in mm is known."""
    if with_spacing:
        return "ml" if spatial_dims == 3 else "mm2"
    return "voxels" if spatial_dims == 3 else "pixels"


def class_counts(pred: np.ndarray, label: np.ndarray, total: int) -> np.ndarray:
    """True positives, false positives, false negatives, true negatives of one class.

    Args:
        pred: bool ``(*spatial)``.
        label: the same.
        total: elements that count; those that nobody has labeled are in neither mask and do not.

    Returns:
        int64 ``(4,)``.
    """
    tp = np.count_nonzero(pred & label)
    fp, fn = np.count_nonzero(pred) - tp, np.count_nonzero(label) - tp
    return np.array([tp, fp, fn, total - tp - fp - fn], dtype=np.int64)


def overlap_of_class(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Dice, IoU, sensitivity and precision from counts, NaN where there is nothing to count.

    Unlike :func:`~medssm_monai.metrics.overlap_scores`, a class that is in neither mask has no Dice.

    Args:
        counts: ``(..., 4)``, TP, FP, FN, TN.

    Returns:
        one array of the leading shape per name.
    """
    tp, fp, fn, _ = np.moveaxis(np.asarray(counts, dtype=np.float64), -1, 0)
    with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN that is meant
        return {
            "dice": np.divide(2 * tp, 2 * tp + fp + fn),
            "iou": np.divide(tp, tp + fp + fn),
            "sensitivity": np.divide(tp, tp + fn),
            "precision": np.divide(tp, tp + fp),
        }


def class_scores(
    pred: np.ndarray,
    label: np.ndarray,
    metrics: str | Sequence[str] = "basic",
    spacing: Sequence[float] | None = None,
    tolerance: float = 1.0,
) -> dict[str, float]:
    """Score one class of one image.

    * ``dice``, ``iou``, ``sensitivity``, ``precision``: overlap of the masks;
    * ``volume_difference``: predicted minus labeled, in the unit of :func:`volume_unit`;
    * ``relative_volume_difference``: the same as a share of the labeled, NaN where the label lacks the class;
    * ``hd95``, ``surface_dice``: :func:`~medssm_monai.metrics.surface_scores`;
    * ``lesion_sensitivity``, ``lesion_f1``, ``lesion_tp``, ``lesion_fn``, ``lesion_fp``:
      :func:`~medssm_monai.metrics.lesion_scores`.

    Absent classes: neither in label nor prediction, all are NaN except the volume difference and the counts of lesions,
    which are 0. In one of the two, Dice, IoU and ``surface_dice`` are 0, ``hd95`` is NaN; sensitivity and
    ``lesion_sensitivity`` need the label, precision the prediction.

    Args:
        pred: bool ``(H, W)`` or ``(X, Y, Z)``.
        label: the same.
        metrics: ``"basic"``, ``"surface"``, ``"lesions"``, ``"all"``, or a list of names.
        spacing: length of an element along each axis in mm; None: distances are in elements, and so are volumes.
        tolerance: of ``surface_dice``, in mm, without ``spacing`` in elements.

    Returns:
        one float per name, in the order asked for.

    Raises:
        ValueError: unknown metric, masks of other types or unequal shapes, a spacing that is not positive or does not
            fit the axes, a negative tolerance.
    """
    names = class_metric_names(metrics)
    step = _checked(pred, label, spacing, tolerance)
    pred, label = _cropped(pred, label)
    counts = class_counts(pred, label, label.size)
    scores = {name: float(value) for name, value in overlap_of_class(counts).items()}
    tp, fp, fn, _ = (int(count) for count in counts)
    unit = float(np.prod(step)) if spacing is not None else 1.0
    if spacing is not None and label.ndim == 3:
        unit /= 1000.0  # mm3 to ml
    scores["volume_difference"] = (fp - fn) * unit
    scores["relative_volume_difference"] = (fp - fn) / (tp + fn) if tp + fn else float("nan")
    if any(name in _SURFACES for name in names):
        if tp + fp and tp + fn:
            scores |= surface_scores(pred, label, step, tolerance)
        else:
            scores |= {"hd95": float("nan"), "surface_dice": 0.0 if fp + fn else float("nan")}
    if any(name in _LESIONS for name in names):
        scores |= lesion_scores(pred, label)
    return {name: scores[name] for name in names}


def _checked(pred: np.ndarray, label: np.ndarray, spacing: Sequence[float] | None, tolerance: float) -> list[float]:
    if pred.shape != label.shape or pred.ndim not in (2, 3) or {pred.dtype, label.dtype} != {np.dtype(bool)}:
        raise ValueError(
            "pred and label must be bool masks of one shape, (H, W) or (X, Y, Z); got "
            f"{pred.dtype} {pred.shape} and {label.dtype} {label.shape}."
        )
    step = [1.0] * pred.ndim if spacing is None else [float(value) for value in spacing]
    if len(step) != pred.ndim or not all(np.isfinite(value) and value > 0 for value in step):
        raise ValueError(f"spacing must be {pred.ndim} positive lengths in mm, got {spacing}.")
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be a distance of 0 or more, got {tolerance}.")
    return step


def _cropped(pred: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both without what lies around the foreground of either, so that large volumes with small classes cost little."""
    either = pred | label
    box = []
    for axis in range(either.ndim):
        along = np.flatnonzero(either.any(axis=tuple(other for other in range(either.ndim) if other != axis)))
        box.append(slice(along[0], along[-1] + 1) if len(along) else slice(0, 0))
    return pred[tuple(box)], label[tuple(box)]
