"""What a bundle takes and how its output is read, by kind.

A bundle's ``inference.yaml`` names one of these tasks as its ``prediction``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..data.labels import BY_RULE, LabelSet
from ..metrics.conformal import PredictionSets
from ..metrics.conformal_risk import RiskThresholds
from ..metrics.predictions import class_probabilities
from .predictions import ClassificationPrediction, FusionPrediction, SegmentationPrediction

__all__ = ["ClassificationTask", "FusionTask", "SegmentationTask"]

EPSILON = 1e-12


def _reference(item: Mapping[str, Any]) -> dict[str, Any]:
    meta = dict(item["image"].meta)
    return {"source": str(meta.get("filename_or_obj", "")), "meta": meta}


def _entropy(p: np.ndarray, axis: int) -> np.ndarray:
    """Entropy of probabilities along an axis, as a share of that of equal probabilities."""
    return -(p * np.log(p + EPSILON)).sum(axis) / np.log(p.shape[axis])


def _uncertainty(samples: Iterable[np.ndarray]) -> dict[str, float]:
    """Of class probabilities ``(K, ...)``, one sample after the other: many of a large image would not lie in memory at
    once; see :meth:`~medssm_monai.bundle.Predictor.uncertainty`."""
    count, each = 0, 0.0
    mean: np.float64 | np.ndarray = np.float64(0)
    for count, sample in enumerate(samples, start=1):
        mean = mean + (sample - mean) / count
        each += (float(_entropy(sample, 0).mean()) - each) / count
    total = float(_entropy(np.asarray(mean), 0).mean())
    return {"entropy": total, "epistemic": max(total - each, 0.0)}


def _uncertainty_map(samples: Iterable[np.ndarray]) -> np.ndarray:
    """``epistemic`` of :func:`_uncertainty` at each place."""
    count = 0
    mean: np.float64 | np.ndarray = np.float64(0)
    each: np.float64 | np.ndarray = np.float64(0)
    for count, sample in enumerate(samples, start=1):
        mean = mean + (sample - mean) / count
        each = each + (_entropy(sample, 0) - each) / count
    return np.maximum(_entropy(np.asarray(mean), 0) - each, 0.0).astype(np.float32)


def _presences(samples: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """``(2, K, *spatial)``, absence and presence, of each ``(K, *spatial)``."""
    for sample in samples:
        values = sample.astype(np.float64).clip(0, 1)
        yield np.stack([1 - values, values])


def _deviation(samples: Iterable[np.ndarray]) -> np.ndarray:
    """Standard deviation at each place, by Welford's sums."""
    count = 0
    mean: np.float64 | np.ndarray = np.float64(0)
    squares: np.float64 | np.ndarray = np.float64(0)
    for count, sample in enumerate(samples, start=1):
        before = sample - mean
        mean = mean + before / count
        squares = squares + before * (sample - mean)
    return np.sqrt(squares / count)


class SegmentationTask:
    """Segmentation of a picture or volume into one class or several.

    Args:
        threshold: probability from which a pixel belongs to a class; False stands for 0.5.
        class_names: name of the foreground, where ``labels`` are not given.
        labels: names, values and colors of the classes.
        conformal: calibrated thresholds (:func:`~medssm_monai.bundle.read_conformal`); None where there are none.

    Raises:
        ValueError: thresholds of other classes.
    """

    kind = "segmentation"
    keys = ("image",)
    output = "probability"

    def __init__(
        self,
        threshold: float = 0.5,
        class_names: Sequence[str] = ("foreground",),
        labels: LabelSet | None = None,
        conformal: Mapping[str, Any] | None = None,
    ) -> None:
        self.labels = LabelSet.of({next(iter(class_names)): BY_RULE}) if labels is None else labels
        self.threshold, self.class_names = float(threshold or 0.5), self.labels.names
        self.calibration = conformal
        self.risk = None if conformal is None else RiskThresholds.of(conformal, self.class_names)

    def result(self, item: Mapping[str, Any]) -> SegmentationPrediction:
        """Prediction of a post-processed item, ``probability`` being ``(out_channels, *spatial)``.

        Raises:
            ValueError: another number of channels.
        """
        values = torch.as_tensor(item["probability"]).float().numpy().clip(0, 1)
        if len(values) != self.labels.out_channels:
            named = ", ".join(self.labels.channel_names)
            raise ValueError(f"the result has {len(values)} channels, expected {self.labels.out_channels}: {named}.")
        return SegmentationPrediction(
            **_reference(item),
            probability=values if len(values) > 1 else values[0],
            threshold=self.threshold,
            class_names=self.class_names,
            labels=self.labels,
            risk=self.risk,
        )

    def uncertainty(self, samples: Iterable[np.ndarray]) -> dict[str, float]:
        """Mean over the pixels; every sample is ``(out_channels, *spatial)``.

        Of classes that exclude each other the entropy is that of all channels together; of others the mean over the
        classes, each of which is there or not.
        """
        return _uncertainty(self._distributions(samples))

    def uncertainty_map(self, samples: Iterable[np.ndarray]) -> np.ndarray:
        """``epistemic`` of each pixel, ``(*spatial)``; every sample is ``(out_channels, *spatial)``."""
        found = _uncertainty_map(self._distributions(samples))
        return found if self.labels.softmax else found.mean(axis=0)

    def _distributions(self, samples: Iterable[np.ndarray]) -> Iterable[np.ndarray]:
        return (s.clip(0, 1) for s in samples) if self.labels.softmax else _presences(samples)


class ClassificationTask:
    """Classification of an image.

    Args:
        class_names: in the order of the network's outputs.
        conformal: calibrated threshold (:func:`~medssm_monai.bundle.read_conformal`); None where there is none.

    Raises:
        ValueError: a threshold for another number of classes.
    """

    kind = "classification"
    keys = ("image",)
    output = "pred"

    def __init__(self, class_names: Sequence[str], conformal: Mapping[str, Any] | None = None) -> None:
        self.class_names = tuple(map(str, class_names))
        self.calibration = conformal
        self.sets = None if conformal is None else PredictionSets.of(conformal, self.class_names)

    def result(self, item: Mapping[str, Any]) -> ClassificationPrediction:
        """Prediction of a post-processed item, ``pred`` being class probabilities ``(K,)``."""
        values = torch.as_tensor(item["pred"]).double().reshape(1, -1)
        (probabilities,) = class_probabilities(values, self.class_names)
        return ClassificationPrediction(
            **_reference(item), probabilities=probabilities, class_names=self.class_names, sets=self.sets
        )

    def uncertainty(self, samples: Iterable[np.ndarray]) -> dict[str, float]:
        """Every sample is ``(K,)``."""
        return _uncertainty(sample.reshape(-1).astype(np.float64) for sample in samples)


class FusionTask:
    """Fusion of two registered images.

    Args:
        sources: names of source A and B: folders, or endings of file names that start with ``_``.
    """

    kind = "fusion"
    keys = ("image_a", "image_b")
    output = "pred"
    class_names = ()

    def __init__(self, sources: Sequence[str] = ("source_a", "source_b")) -> None:
        self.sources = tuple(sources)

    def result(self, item: Mapping[str, Any]) -> FusionPrediction:
        """Prediction of a post-processed item, ``pred`` being ``(C, *spatial)``."""
        values = torch.as_tensor(item["pred"]).float().numpy().clip(0, 1)
        picture = values.ndim == 3 and len(values) == 3
        return FusionPrediction(**_reference(item), image=np.moveaxis(values, 0, -1) if picture else values[0])

    def uncertainty(self, samples: Iterable[np.ndarray]) -> dict[str, float]:
        """Standard deviation of the fused image, mean over the pixels; every sample is ``(C, *spatial)``."""
        return {"epistemic": float(_deviation(samples).mean())}

    def uncertainty_map(self, samples: Iterable[np.ndarray]) -> np.ndarray:
        """Standard deviation at each place, mean over the colors, ``(*spatial)``; every sample is ``(C, *spatial)``."""
        return _deviation(samples).mean(0).astype(np.float32)
