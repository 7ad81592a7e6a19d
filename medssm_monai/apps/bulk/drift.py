"""Whether a batch of inputs, as a whole, is unlike the images of the training.

Each image is compared by itself (:mod:`medssm_monai.data.fingerprint`). Some of every batch are unlike the training
without anything being wrong: about one in a hundred for each respect, by the percentiles. A batch is flagged where

* more than :data:`SHARE` of its images are unlike, by the lower bound of Wilson's 95 % interval (JASA 1927);
* the mean of their histograms lies further from that of the training than half of what a single image may: means of
  many images scatter far less than images do, so that a shift shows in them that no image shows.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...data.fingerprint import BINS, Fingerprint, distance
from .outcome import Outcome

__all__ = ["BATCH", "FEWEST", "SHARE", "Batch", "wilson_bound"]

BATCH = 500
"""Studies of a batch."""
SHARE = 0.05
FEWEST = 20
"""Images of which a mean histogram is judged."""
Z = 1.959964  # two-sided 95 %


def wilson_bound(count: int, total: int) -> float:
    """Lower bound of Wilson's 95 % interval of a share."""
    if not total:
        return 0.0
    share, square = count / total, Z**2 / total
    spread = Z * math.sqrt((share * (1 - share) + square / 4) / total)
    return (share + square / 2 - spread) / (1 + square)


@dataclass
class Batch:
    """Sums over studies.

    Attributes:
        fingerprints: of the training, by key of the image; empty where none is recorded.
        studies: that were done.
        unlike: how many of them have an image unlike the training.
        reasons: and in which respects.
        images: by key, how many were measured.
        histograms: by key, the sum of their histograms.
        modalities: of DICOM studies.
    """

    fingerprints: Mapping[str, Fingerprint] = field(default_factory=dict)
    studies: int = 0
    unlike: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    images: Counter[str] = field(default_factory=Counter)
    histograms: dict[str, np.ndarray] = field(default_factory=dict)
    modalities: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: Outcome) -> None:
        """Count a study that was done."""
        self.studies += 1
        self.unlike += bool(outcome.unlike)
        self.reasons.update(set(outcome.unlike))
        for image in outcome.inputs:
            if image.modality:
                self.modalities[image.modality] += 1
            if image.histogram:
                self.images[image.key] += 1
                before = self.histograms.get(image.key, np.zeros(BINS))
                self.histograms[image.key] = before + np.asarray(image.histogram)

    def merge(self, sums: Mapping[str, Any]) -> Batch:
        """Add sums as :meth:`plain` gave them; returns the batch itself."""
        self.studies += int(sums["studies"])
        self.unlike += int(sums["unlike"])
        self.reasons.update(sums["reasons"])
        self.images.update(sums["images"])
        self.modalities.update(sums["modalities"])
        for key, values in sums["histograms"].items():
            self.histograms[key] = self.histograms.get(key, np.zeros(BINS)) + np.asarray(values)
        return self

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "studies": self.studies,
            "unlike": self.unlike,
            "reasons": dict(self.reasons),
            "images": dict(self.images),
            "modalities": dict(self.modalities),
            "histograms": {key: [round(float(v), 6) for v in values] for key, values in self.histograms.items()},
        }

    def distances(self) -> dict[str, float]:
        """By key, how far the mean histogram lies from that of the training."""
        return {
            key: distance(values / self.images[key], self.fingerprints[key].histogram)
            for key, values in self.histograms.items()
            if key in self.fingerprints and self.images[key]
        }

    def flags(self) -> tuple[str, ...]:
        """In which respects the batch drifts; empty for one like the training."""
        found = []
        if wilson_bound(self.unlike, self.studies) > SHARE:
            respects = "; ".join(f"{reason} in {count}" for reason, count in self.reasons.most_common(3))
            found.append(f"{self.unlike} of {self.studies} studies are unlike the training: {respects}")
        for key, far in self.distances().items():
            allowed = self.fingerprints[key].bound / 2
            if self.images[key] >= FEWEST and far > allowed:
                found.append(
                    f"the mean intensities of {self.images[key]} images ({key}) are shifted by {far:.3f} of the range, "
                    f"at most {allowed:.3f} is expected"
                )
        return tuple(found)
