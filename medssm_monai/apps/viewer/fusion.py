"""Fusion for the page: the fused image beside its two sources, volumes slice by slice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...bundle.predictions import FusionPrediction
from ...data.readers.files import file_stem
from ...data.readers.volume import read_volume
from ...visualize import save_png
from .files import Opened, eight_bits, kept, picture_of
from .models import Model
from .pictures import map_over, panel, shown, shown_map

__all__ = ["Fused", "fuse"]

SMALLEST_TOP = 1e-6


@dataclass(frozen=True)
class Fused:
    """Two images and what they were fused to; the large arrays lie in files.

    Attributes:
        model: who fused them.
        sources: the two files.
        names: of the sources, as the weights call them.
        folder: of the files of this result.
        prediction: the fused image in the geometry of source A.
        pictures: of the sources, uint8 ``(H, W, 3)``; of volumes ``(Z, H, W, 3)``.
        unsure: standard deviation at each place, of the shape of the fused image without colors; None until it is asked
            for.
    """

    model: Model
    sources: tuple[Path, Path]
    names: tuple[str, str]
    folder: Path
    prediction: FusionPrediction
    pictures: tuple[np.ndarray, np.ndarray]
    unsure: np.ndarray | None = None

    @property
    def slices(self) -> int:
        """Of a volume; 0 for a picture."""
        return self.prediction.image.shape[2] if self.model.spatial_dims == 3 else 0

    def with_uncertainty(self) -> Fused:
        """The same with the uncertainty at each place, by Monte Carlo dropout."""
        values = self.model.predictor.uncertainty_map(self.sources)
        return replace(self, unsure=kept(values, self.folder / "uncertainty.npy"))

    def fused(self, number: int) -> np.ndarray:
        """The fused picture or slice, uint8 ``(H, W, 3)``."""
        return eight_bits(_plane(self.prediction.image, number) if self.slices else self.prediction.image)

    def source(self, which: int, number: int) -> np.ndarray:
        """Source A (0) or B (1), uint8 ``(H, W, 3)``; of a volume with another number of slices the one at the same
        share of its extent."""
        pixels = self.pictures[which]
        if not self.slices:
            return pixels
        number = min(max(int(number), 1), self.slices)
        there = len(pixels)
        return pixels[number - 1 if there == self.slices else round((number - 1) * (there - 1) / (self.slices - 1))]

    def drawn(self, number: int, opacity: float, uncertain: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Previews of A, B and the fused image, the latter with its uncertainty where that is asked for.

        Raises:
            ValueError: the uncertainty, when it has not been computed.
        """
        first, second, result = shown(self.source(0, number)), shown(self.source(1, number)), shown(self.fused(number))
        if uncertain and self.unsure is None:
            raise ValueError('the uncertainty has not been computed yet; press "Compute uncertainty" first.')
        if uncertain and self.unsure is not None:
            values = _plane(self.unsure, number) if self.slices else self.unsure
            result = map_over(result, shown_map(values), opacity, max(float(self.unsure.max()), SMALLEST_TOP))
        return first, second, result

    def save(self, number: int) -> list[Path]:
        """Write the fused image in the geometry of source A, and a picture of the three side by side."""
        target = self.folder / "files"
        target.mkdir(exist_ok=True)
        saved = self.prediction.save(target)
        first, second, result = self.drawn(number, 0.0)
        stem = file_stem(self.sources[0])
        slice_text = f", slice {number} of {self.slices}" if self.slices else ""
        picture = target / f"{stem}_panel.png"
        captions = (*(f"{name}: {path.name}" for name, path in zip(self.names, self.sources, strict=True)), "fused")
        save_png(panel((first, second, result), captions, f"fused by {self.model.predictor.name}{slice_text}"), picture)
        return [saved, picture]


def _plane(values: np.ndarray, number: int) -> np.ndarray:
    """Slice of ``(X, Y, Z)``, counted from 1, as ``(row = y, column = x)``."""
    return values[:, :, min(max(int(number), 1), values.shape[2]) - 1].T


def _volume_pictures(path: Path) -> np.ndarray:
    """``(Z, H, W, 3)`` uint8."""
    values = read_volume(path, channels=None, scale=True).numpy()  # (C, X, Y, Z)
    return np.stack([eight_bits(values[..., z].transpose(2, 1, 0)) for z in range(values.shape[-1])])


def fuse(model: Model, first: Opened, second: Opened, folder: Path) -> Fused:
    """Fuse two pictures, or two volumes, as the weights are.

    Raises:
        what :meth:`medssm_monai.bundle.Predictor.predict` raises.
    """
    sources = (first.path, second.path)
    prediction = model.predictor.predict(sources)
    prediction = replace(prediction, image=kept(prediction.image, folder / "fused.npy"))
    read = picture_of if model.spatial_dims == 2 else _volume_pictures
    pictures = tuple(kept(read(path), folder / f"source{number}.npy") for number, path in enumerate(sources))
    task = model.predictor.task
    names = tuple(name.strip("_").replace("_", " ") for name in getattr(task, "sources", ("source A", "source B")))
    return Fused(model, sources, (names[0], names[1]), folder, prediction, (pictures[0], pictures[1]))
