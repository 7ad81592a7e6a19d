"""Segmentation for the page: one picture or slice, its mask at any threshold, a whole volume slice by slice."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...bundle.predictions import SegmentationPrediction
from ...data.labels import BY_RULE, LabelSet
from ...data.readers.files import NIFTI, RASTER, file_kind, file_stem
from ...transforms.label_files import label_nifti
from ...visualize import save_png
from .files import Opened, kept, picture_of
from .models import Model
from .pictures import map_over, mask_over, shown, shown_map, shown_mask

__all__ = ["LAYERS", "MASK", "PROBABILITY", "UNCERTAINTY", "Segmented", "segment", "segment_volume"]

MASK, PROBABILITY, UNCERTAINTY = "Mask", "Probability", "Uncertainty"
LAYERS = (MASK, PROBABILITY, UNCERTAINTY)
SMALLEST_TOP = 1e-6


@dataclass(frozen=True)
class Segmented:
    """A picture or slice and its prediction; the large arrays lie in files.

    Attributes:
        model: who predicted it.
        opened: the file that was dropped.
        file: what was predicted: that file, or a slice of it.
        folder: of the files of this result.
        prediction: at the size of the file.
        picture: uint8 ``(H, W, 3)``.
        unsure: uncertainty of each pixel ``(H, W)``; None until it is asked for.
    """

    model: Model
    opened: Opened
    file: Path
    folder: Path
    prediction: SegmentationPrediction
    picture: np.ndarray
    unsure: np.ndarray | None = None

    def at(self, threshold: float) -> SegmentationPrediction:
        """The prediction with the mask of another threshold."""
        return replace(self.prediction, threshold=float(threshold))

    def with_uncertainty(self) -> Segmented:
        """The same with the uncertainty of each pixel, by Monte Carlo dropout."""
        values = self.model.predictor.uncertainty_map(self.file)
        return replace(self, unsure=kept(values, self.folder / "uncertainty.npy"))

    def drawn(self, layer: str, threshold: float, opacity: float) -> np.ndarray:
        """Preview with one of the :data:`LAYERS`.

        Raises:
            ValueError: the uncertainty, when it has not been computed.
        """
        below = shown(self.picture)
        if layer == MASK:
            return _with_masks(below, self.at(threshold), opacity, shown_mask)
        if layer == PROBABILITY:
            return map_over(below, shown_map(self.prediction.foreground), opacity, 1.0)
        if self.unsure is None:
            raise ValueError('the uncertainty has not been computed yet; press "Compute uncertainty" first.')
        return map_over(below, shown_map(self.unsure), opacity, max(float(self.unsure.max()), SMALLEST_TOP))

    def save(self, threshold: float, opacity: float) -> list[Path]:
        """Write mask or label map (geometry of the file), probability, overlay at full size, and uncertainty where it
        is known."""
        target = self.folder / "files"
        target.mkdir(exist_ok=True)
        result, stem = self.at(threshold), file_stem(self.file)
        mask = result.save(target / f"{stem}_mask{_ending(self.file)}")
        overlay = target / f"{stem}_overlay.png"
        save_png(_with_masks(self.picture, result, opacity), overlay)
        files = [mask, *_probabilities(result, target, stem, _ending(self.file)), overlay]
        if self.unsure is not None:
            one = LabelSet.of({"uncertainty": BY_RULE})  # one map, whatever the classes
            unsure = replace(self.prediction, probability=self.unsure, labels=one)
            files.append(unsure.save(target / f"{stem}_uncertainty{_ending(self.file)}", probability=True))
        return files


def _with_masks(
    picture: np.ndarray,
    result: SegmentationPrediction,
    opacity: float,
    resized: Callable[[np.ndarray], np.ndarray] = np.asarray,
) -> np.ndarray:
    """One class in yellow, several in their colors, a later one over those before it."""
    if len(result.labels.names) == 1:
        return mask_over(picture, resized(result.mask), opacity)
    for name, color in zip(result.labels.names, result.labels.colors, strict=True):
        picture = mask_over(picture, resized(result.class_mask(name)), opacity, color)
    return picture


def _probabilities(result: SegmentationPrediction, target: Path, stem: str, ending: str) -> list[Path]:
    """One file, or one for each class of a picture."""
    if ending != ".png" or len(result.probabilities) == 1:
        return [result.save(target / f"{stem}_probability{ending}", probability=True)]
    folder = target / f"{stem}_probabilities"
    shutil.rmtree(folder, ignore_errors=True)
    result.save(folder, probability=True)
    return sorted(folder.glob("*.png"))


def _ending(file: Path) -> str:
    if file_kind(file) == RASTER:
        return ".png"
    return ".nii" if file.name.lower().endswith(".nii") else ".nii.gz"


def segment(model: Model, opened: Opened, number: int, folder: Path) -> Segmented:
    """Predict a picture, or one slice of a volume.

    Args:
        model: a segmentation.
        opened: the file.
        number: of the slice, from 1; of no meaning for a picture.
        folder: for the files of the result.

    Raises:
        what :meth:`medssm_monai.bundle.Predictor.predict` raises.
    """
    if model.spatial_dims != 2:
        raise ValueError(
            f"{model.label} segments volumes as a whole, which this page cannot show; run medssm predict on the files, "
            "and look at the result in 3D Slicer, or choose weights for pictures and slices."
        )
    file = opened.plane(number, folder)
    prediction = model.predictor.predict(file)
    prediction = replace(prediction, probability=kept(prediction.probability, folder / "probability.npy"))
    return Segmented(model, opened, file, folder, prediction, kept(picture_of(file), folder / "picture.npy"))


def segment_volume(
    found: Segmented, threshold: float, progress: Callable[[int, int], None] = lambda done, total: None
) -> Path:
    """Predict every slice of a volume along its third axis; write the masks, or label maps, as one NIfTI file with the
    shape and affine of the volume.

    Args:
        found: the result of one of the slices.
        threshold: probability from which a pixel belongs to the mask.
        progress: told how many slices are done, of how many.

    Raises:
        ValueError: a picture.
    """
    opened = found.opened
    if opened.volume is None:
        raise ValueError(f"{opened.name} is one picture, no volume; its mask is among the files of the result.")
    import nibabel

    masks = []
    for number in range(1, opened.slices + 1):
        file = opened.plane(number, found.folder)
        result = replace(found.model.predictor.predict(file), threshold=float(threshold))
        masks.append(result.label_map.T)  # (x, y)
        if file != found.file:
            file.unlink()
        progress(number, opened.slices)
    target = found.folder / f"{file_stem(opened.path)}_mask{_ending(opened.path)}"
    volume = np.stack(masks, axis=-1)
    image: Any = nibabel.load(opened.volume)
    labels = found.prediction.labels
    if labels.by_rule:
        nibabel.save(nibabel.Nifti1Image(volume, image.affine), target)
    else:
        meta = {"filename_or_obj": opened.volume, "file_kind": NIFTI, "file_size": volume.shape}
        nibabel.save(label_nifti(volume[None], {**meta, "file_affine": image.affine}, labels), target)
    return target
