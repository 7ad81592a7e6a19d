"""Prediction sets from a stored threshold: which classes an image may have, at a stated coverage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .predictions import as_predictions, class_probabilities

__all__ = ["SET_METHODS", "PredictionSets", "exact_interval", "set_figures"]

SET_METHODS = ("lac", "lac_by_class", "aps", "raps")
"""How sets are made: LAC (Sadinle et al., JASA 2019), for all images or for those of each class, APS (Romano et al.,
NeurIPS 2020), RAPS (Angelopoulos et al., ICLR 2021)."""
ROUNDING = 1e-8  # of a probability at the threshold; MAPIE's own


@dataclass(frozen=True)
class PredictionSets:
    """Sets of classes that hold the true one with a probability of at least ``level``, for images exchangeable with
    those that the threshold comes from.

    * ``lac`` takes every class whose probability is at least ``1 - threshold``. The smallest sets on average; a set is
      empty where no class is that probable.
    * ``lac_by_class`` has a threshold for each class, from the images of that class: the level holds for every class by
      itself, a rare one too (Mondrian conformal prediction), for the price of larger sets.
    * ``aps`` takes classes by falling probability until their sum reaches the threshold, the class that crosses it
      included, so that no set is empty; sets grow with the uncertainty of the image. The threshold is that of
      randomized scores, and nothing is drawn when it is used: coverage is above the level rather than below.
    * ``raps`` is APS with ``penalty`` added to the sum for each class beyond the first ``free`` ones.

    No package but NumPy is needed to use them; :func:`~.conformal_fit.fit_prediction_sets` finds the threshold.

    Attributes:
        method: one of :data:`SET_METHODS`.
        level: coverage that was asked for, between 0 and 1.
        threshold: of the conformity score; of ``lac_by_class`` one per class.
        classes: number of classes K.
        penalty: of RAPS.
        free: of RAPS.
    """

    method: str
    level: float
    threshold: float | tuple[float, ...]
    classes: int
    penalty: float = 0.0
    free: int = 0

    @classmethod
    def of(cls, conformal: Mapping[str, Any], class_names: Sequence[str]) -> PredictionSets:
        """Out of the settings beside weights (:func:`medssm_monai.bundle.read_conformal`).

        Raises:
            ValueError: sets for another number of classes, or thresholds of a segmentation.
        """
        if conformal["method"] not in SET_METHODS:
            raise ValueError(
                f"conformal, method is {conformal['method']!r}; of a classification it is one of "
                f"{', '.join(SET_METHODS)}. Calibrate these weights again."
            )
        if conformal["classes"] != len(class_names):
            raise ValueError(
                f"the prediction sets were calibrated for {conformal['classes']} classes, and there are "
                f"{len(class_names)} ({', '.join(class_names)}). Calibrate these weights again."
            )
        known = ("method", "level", "threshold", "classes", "penalty", "free")
        found = {key: conformal[key] for key in known if key in conformal}
        if isinstance(found["threshold"], list):
            found["threshold"] = tuple(found["threshold"])
        return cls(**found)

    def contain(self, probabilities: ArrayLike) -> np.ndarray:
        """Which classes are in the set of each image.

        Args:
            probabilities: ``(N, K)``, with the temperature that the threshold comes from.

        Returns:
            bool ``(N, K)``.

        Raises:
            ValueError: no probabilities (:func:`~.predictions.class_probabilities`), or of other classes.
        """
        values = class_probabilities(probabilities)
        if values.shape[1] != self.classes:
            raise ValueError(f"these sets are for {self.classes} classes, the probabilities for {values.shape[1]}.")
        values = values / values.sum(axis=1, keepdims=True)
        if self.method in ("lac", "lac_by_class"):
            return (1 - values) - np.asarray(self.threshold) <= ROUNDING
        order = np.flip(np.argsort(values, axis=1), axis=1)
        rank = np.arange(1, self.classes + 1)
        reached = np.cumsum(np.take_along_axis(values, order, axis=1), axis=1)
        reached = reached + self.penalty * np.maximum(0, rank - self.free)
        below = reached - np.asarray(self.threshold) < -ROUNDING
        within = np.concatenate([np.ones((len(values), 1), dtype=bool), below[:, :-1]], axis=1)
        found = np.empty_like(within)
        np.put_along_axis(found, order, within, axis=1)
        return found

    def names(self, probabilities: ArrayLike, class_names: Sequence[str]) -> tuple[str, ...]:
        """Classes in the set of one image ``(K,)``, the most probable first; empty where LAC finds none."""
        values = np.asarray(probabilities, dtype=np.float64).reshape(1, -1)
        (inside,) = self.contain(values)
        return tuple(class_names[number] for number in np.argsort(-values[0], kind="stable") if inside[number])


def exact_interval(hits: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Bounds of a share by Clopper and Pearson (Biometrika 1934); NaN without trials.

    Raises:
        ValueError: more hits than trials, or fewer than none.
    """
    from scipy.stats import binomtest

    if not 0 <= hits <= trials:
        raise ValueError(f"hits must lie between 0 and the trials, got {hits} of {trials}.")
    if trials == 0:
        return float("nan"), float("nan")
    found = binomtest(hits, trials).proportion_ci(confidence, method="exact")
    return float(found.low), float(found.high)


def _share(hits: np.ndarray, confidence: float) -> dict[str, Any]:
    low, high = exact_interval(int(hits.sum()), len(hits), confidence)
    value = float(hits.mean()) if len(hits) else float("nan")
    return {"value": value, "low": low, "high": high, "covered": int(hits.sum()), "images": len(hits)}


def set_figures(
    sets: PredictionSets,
    probabilities: ArrayLike,
    labels: ArrayLike,
    class_names: Sequence[str],
    confidence: float = 0.95,
) -> dict[str, Any]:
    """How prediction sets do on labeled images.

    Args:
        sets: the sets.
        probabilities: ``(N, K)``.
        labels: ``(N,)``, 0 to K - 1.
        class_names: K names.
        confidence: of the Clopper-Pearson intervals.

    Returns:
        a dict that JSON can hold: ``coverage`` (value, low, high, covered, images), ``mean_size``, ``empty`` and
        ``full`` (shares of the images), ``single`` (share with one class) with ``single_accuracy`` (how often that
        class is right), ``sizes`` (images by set size), ``per_class`` (coverage of the images of each class).

    Raises:
        ValueError: bad probabilities or labels, or of another number of classes.
    """
    data = as_predictions(probabilities, labels, class_names)
    inside = sets.contain(data.probabilities)
    size = inside.sum(axis=1)
    covered = inside[np.arange(len(size)), data.labels]
    single = size == 1
    return {
        "coverage": _share(covered, confidence),
        "mean_size": float(size.mean()),
        "empty": float((size == 0).mean()),
        "single": float(single.mean()),
        "single_accuracy": float(covered[single].mean()) if single.any() else float("nan"),
        "full": float((size == sets.classes).mean()),
        "sizes": {str(count): int((size == count).sum()) for count in range(sets.classes + 1)},
        "per_class": {
            name: _share(covered[data.labels == number], confidence) for number, name in enumerate(class_names)
        },
        "confidence": confidence,
    }
