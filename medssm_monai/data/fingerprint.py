"""What the images of a training have in common, so that one unlike them is noticed when it is predicted.

========== ======================================================================================================
of images  an image is unlike them
========== ======================================================================================================
size       where a side lies outside their 1st to 99th percentile by more than a factor of 2 (:data:`SIZE_FACTOR`)
color      where it has color and none of theirs had, or is gray and none of theirs was
intensity  where its histogram lies further from their mean histogram than the 99th percentile of their own distances
           times 1.1 (:data:`MARGIN`), and further than the width of a bin
========== ======================================================================================================

The distance of two histograms is the 1-Wasserstein distance (Rubner, Tomasi & Guibas, IJCV 2000: the earth mover's
distance), in units of the intensity: by how much gray values in [0, 1] are moved, on average, to make one of the other.

These are facts of the file, not of what it shows: images of another organ, or of other patients, with the size, color
and brightness of the training images pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import wasserstein_distance

from .readers.image import to_channels

__all__ = ["BINS", "MARGIN", "NOT_RECORDED", "SIZE_FACTOR", "Fingerprint", "ImageFacts", "flag_reasons", "flag_text"]

BINS = 32
"""Of the histograms over [0, 1], equally wide."""
SIZE_FACTOR, MARGIN = 2.0, 1.1
COLORED = 0.01  # mean difference of the largest and the smallest channel; small colored marks do not make a color image
MOST_PIXELS = 2**20  # of larger images every second, third, ... row and column makes the histogram
NOT_RECORDED = "not recorded"
"""Stands for what weights were trained for where the file beside them does not say."""
BETWEEN = "; "


@dataclass(frozen=True)
class ImageFacts:
    """What is looked at of one image.

    Attributes:
        size: sides in pixels or voxels, as in the file.
        color: whether its channels differ.
        histogram: ``(32,)``, shares of the pixels' luminance.
    """

    size: tuple[int, ...]
    color: bool
    histogram: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> ImageFacts:
        """Of an image ``(C, *spatial)`` in [0, 1] at the size of its file; three channels are red, green and blue."""
        size = tuple(map(int, values.shape[1:]))
        step = int(np.ceil((np.prod(size) / MOST_PIXELS) ** (1 / len(size))))
        last = np.moveaxis(values, 0, -1)[(slice(None, None, max(step, 1)),) * len(size)]
        color = last.shape[-1] == 3 and float((last.max(-1) - last.min(-1)).mean()) > COLORED
        gray = to_channels(last, 1) if last.shape[-1] == 3 else last.mean(-1)
        bins = np.clip((gray * BINS).astype(np.int64), 0, BINS - 1)
        return cls(size, color, np.bincount(bins.ravel(), minlength=BINS) / bins.size)


@dataclass(frozen=True)
class Fingerprint:
    """What the images of a training, or those of one source of a fusion, have in common.

    Attributes:
        images: how many there are.
        measured: how many of them were looked at.
        size_p01, size_median, size_p99: percentiles of their sides, each axis for itself.
        color_share: how many of them have color, 0 to 1.
        histogram: mean share of the pixels in each of 32 bins of the intensity.
        distance_p99: 99th percentile of the distances of their histograms from the mean one.
    """

    images: int
    measured: int
    size_p01: tuple[int, ...]
    size_median: tuple[int, ...]
    size_p99: tuple[int, ...]
    color_share: float
    histogram: tuple[float, ...]
    distance_p99: float

    @classmethod
    def of(cls, facts: Sequence[ImageFacts], images: int) -> Fingerprint:
        """Of the images that were looked at, out of ``images``.

        Raises:
            ValueError: no image.
        """
        if not facts:
            raise ValueError("there are no images to measure.")
        sizes = np.array([one.size for one in facts])
        p01, median, p99 = (
            tuple(map(int, np.percentile(sizes, share, axis=0, method="nearest"))) for share in (1, 50, 99)
        )
        mean = np.mean([one.histogram for one in facts], axis=0)
        distances = [distance(one.histogram, mean) for one in facts]
        return cls(
            images=int(images),
            measured=len(facts),
            size_p01=p01,
            size_median=median,
            size_p99=p99,
            color_share=round(float(np.mean([one.color for one in facts])), 6),
            histogram=tuple(round(float(share), 6) for share in mean),
            distance_p99=round(float(np.percentile(distances, 99)), 6),
        )

    def as_dict(self) -> dict[str, Any]:
        """As JSON holds it; ``Fingerprint(**that)`` gives it back."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @property
    def size_text(self) -> str:
        """``28 x 28``, or from the 1st to the 99th percentile, ``180 x 200 to 224 x 256``."""
        low, high = (" x ".join(map(str, size)) for size in (self.size_p01, self.size_p99))
        return low if low == high else f"{low} to {high}"

    @property
    def color_text(self) -> str:
        """``gray``, ``color``, or ``gray and color``."""
        return {0.0: "gray", 1.0: "color"}.get(self.color_share, "gray and color")

    @property
    def bound(self) -> float:
        """Distance of a histogram above which an image is unlike the training images."""
        return max(MARGIN * self.distance_p99, 1 / BINS)

    def differences(self, facts: ImageFacts) -> tuple[str, ...]:
        """In which respects an image is unlike these; empty when in none. The texts hold nothing of the image, so that
        there are few of them.

        Raises:
            ValueError: an image of another number of axes.
        """
        if len(facts.size) != len(self.size_p99):
            raise ValueError(
                f"an image has {len(facts.size)} axes, the domain of the weights is of images with "
                f"{len(self.size_p99)}; restore the settings file that belongs to the weights."
            )
        found = []
        sides = zip(facts.size, self.size_p01, self.size_p99, strict=True)
        if any(side * SIZE_FACTOR < low or side > high * SIZE_FACTOR for side, low, high in sides):
            found.append(f"size (training images: {self.size_text})")
        if self.color_share == float(not facts.color):
            found.append(f"{'color' if facts.color else 'gray'} (training images: {self.color_text})")
        if distance(facts.histogram, self.histogram) > self.bound:
            found.append("intensities (training images: another histogram)")
        return tuple(found)


def distance(histogram: Sequence[float] | np.ndarray, other: Sequence[float] | np.ndarray) -> float:
    """1-Wasserstein distance of two histograms ``(BINS,)`` over [0, 1], in units of the intensity."""
    centers = (np.arange(BINS) + 0.5) / BINS
    return float(wasserstein_distance(centers, centers, histogram, other))


def flag_text(reasons: Sequence[str]) -> str:
    """Reasons as one cell of a table, and as one text of an item, which batches can hold."""
    return BETWEEN.join(reasons)


def flag_reasons(flag: str | None) -> tuple[str, ...]:
    """The reasons again; none where nothing was recorded."""
    return () if not flag or flag == NOT_RECORDED else tuple(flag.split(BETWEEN))
