"""What became of one study, as a worker hands it over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...data.fingerprint import ImageFacts

__all__ = ["Input", "Outcome"]

BINS_KEPT = 6  # digits of shares


@dataclass(frozen=True)
class Input:
    """What was seen of one image that was predicted.

    Attributes:
        key: ``"image"``, or ``"image_a"`` and ``"image_b"`` of a fusion.
        size: sides in pixels or voxels.
        histogram: shares of the intensities, as a fingerprint has them; empty where nothing was compared.
        spacing: of volumes, in mm.
        modality: of DICOM.
    """

    key: str
    size: tuple[int, ...] = ()
    histogram: tuple[float, ...] = ()
    spacing: tuple[float, ...] = ()
    modality: str = ""

    @classmethod
    def of(cls, key: str, facts: ImageFacts, spacing: tuple[float, ...] = (), modality: str = "") -> Input:
        """From what a prediction has measured."""
        shares = tuple(round(float(share), BINS_KEPT) for share in facts.histogram)
        return cls(key, facts.size, shares, spacing, modality)

    def plain(self) -> dict[str, Any]:
        """As JSON holds it; :meth:`read` gives it back."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in vars(self).items() if v}

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Input:
        """From what :meth:`plain` gave."""
        lists: dict[str, Any] = {name: tuple(v) for name, v in plain.items() if isinstance(v, list)}
        return cls(**{**plain, **lists})


@dataclass(frozen=True)
class Outcome:
    """One attempt.

    Attributes:
        state: ``"done"``, ``"failed"``, or ``"passed"``: nothing in it that the network takes.
        reason: of a failure, or why it was passed over; without names of files.
        answer: the prediction in a few words.
        unlike: in which respects its images are unlike those of the training.
        values: figures for the table of results, by name.
        inputs: what was seen of the images.
        predictions: how many results there are.
        seconds: that it took.
        ends_the_run: whether every further study would fail too: a full disk, a lost device.
        peak_mb: the most memory that the worker's process has had.
    """

    state: str
    reason: str = ""
    answer: str = ""
    unlike: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[Input, ...] = ()
    predictions: int = 0
    seconds: float = 0.0
    ends_the_run: bool = False
    peak_mb: float = 0.0
