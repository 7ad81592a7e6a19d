"""Class probabilities with their labels, checked once and in one place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Predictions", "as_predictions", "class_labels", "class_probabilities"]

_SUM_TOLERANCE = 1e-2  # half precision softmax over many classes stays below it


class Predictions(NamedTuple):
    """Checked input of the classification metrics: ``probabilities`` float64 ``(N, K)``, ``labels`` int64 ``(N,)``."""

    probabilities: np.ndarray
    labels: np.ndarray

    @property
    def classes(self) -> np.ndarray:
        """Predicted class of each sample ``(N,)``; the first of equal probabilities."""
        return self.probabilities.argmax(axis=1)

    @property
    def confidences(self) -> np.ndarray:
        """Probability of the predicted class ``(N,)``."""
        return self.probabilities.max(axis=1)

    @property
    def num_classes(self) -> int:
        return self.probabilities.shape[1]


def _as_array(values: Any) -> np.ndarray:
    """As NumPy, from a tensor on any device too."""
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def class_labels(labels: Any, num_classes: int) -> np.ndarray:
    """Class numbers as int64 ``(N,)``.

    Args:
        labels: ``(N,)`` or ``(N, 1)`` whole numbers 0 to ``num_classes - 1``, of any number type.
        num_classes: K.

    Raises:
        ValueError: another shape (a one-hot matrix, for example), fractions, NaN, or labels outside the range.
    """
    array = _as_array(labels)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(f"labels must be class numbers of shape (N,), got shape {array.shape}; one-hot? use argmax.")
    numbers = array.astype(np.float64)
    outside = ~((numbers >= 0) & (numbers < num_classes) & (numbers == np.floor(numbers)))
    if outside.any():
        raise ValueError(
            f"labels must be whole numbers from 0 to {num_classes - 1} for {num_classes} classes; "
            f"got {sorted(set(numbers[outside].tolist()))[:5]} ({int(outside.sum())} of {len(array)} samples). "
            "Check the labels of the data, or the number of classes of the network."
        )
    return numbers.astype(np.int64)


def class_probabilities(probabilities: Any, class_names: Sequence[str] | None = None) -> np.ndarray:
    """Class probabilities as float64 ``(N, K)``.

    Args:
        probabilities: ``(N, K)`` array or tensor, K >= 2, each row in [0, 1] with sum 1 (softmax; two classes for a
            binary problem, the second one positive).
        class_names: when given, K must be their number.

    Raises:
        ValueError: no samples, wrong shape, a wrong number of classes, NaN, values outside [0, 1], or rows that do not
            sum to 1 (logits).
    """
    array = _as_array(probabilities).astype(np.float64)
    if array.ndim != 2 or array.shape[1] < 2:
        raise ValueError(
            f"probabilities must have shape (N, K) with K >= 2 classes, got {array.shape}; "
            "a binary problem has two columns (negative, positive)."
        )
    if len(array) == 0:
        raise ValueError("no samples were evaluated, there is nothing to compute; check the data list.")
    if class_names is not None and len(class_names) != array.shape[1]:
        raise ValueError(
            f"probabilities are for {array.shape[1]} classes but {len(class_names)} are named ({list(class_names)}); "
            "the checkpoint was trained for other classes, or class_names is wrong."
        )
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array).all(axis=1)).sum())
        raise ValueError(f"probabilities are not finite (NaN or infinity) in {bad} of {len(array)} samples.")
    if array.min() < 0 or array.max() > 1 or np.abs(array.sum(axis=1) - 1).max() > _SUM_TOLERANCE:
        raise ValueError(
            f"probabilities must lie in [0, 1] and sum to 1 per sample, got values from {array.min():.4g} to "
            f"{array.max():.4g} and sums from {array.sum(axis=1).min():.4g} to {array.sum(axis=1).max():.4g}; apply "
            "softmax to logits first (Activationsd(keys='pred', softmax=True))."
        )
    return array


def as_predictions(probabilities: Any, labels: Any, class_names: Sequence[str] | None = None) -> Predictions:
    """Check probabilities and labels before anything is computed from them.

    Args:
        probabilities: ``(N, K)``, see ``class_probabilities``.
        labels: ``(N,)`` class numbers, 0 to K - 1, see ``class_labels``.
        class_names: when given, K must be their number.

    Raises:
        ValueError: as those two, and unequal lengths.
    """
    array = class_probabilities(probabilities, class_names)
    numbers = class_labels(labels, array.shape[1])
    if len(numbers) != len(array):
        raise ValueError(f"{len(array)} rows of probabilities but {len(numbers)} labels; give one label per sample.")
    return Predictions(array, numbers)
