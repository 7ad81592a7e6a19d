"""What a bundle predicts, by kind: segmentation, classification, fusion. All of it knows the geometry of its image."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..data.fingerprint import NOT_RECORDED, ImageFacts, flag_text
from ..data.labels import BY_RULE, LabelSet
from ..metrics.conformal import PredictionSets
from ..metrics.conformal_risk import RiskThresholds
from ..metrics.conformal_words import risk_promise, set_words
from ..reports.predictions_table import write_predictions
from ..transforms import SaveImage2D, SaveImageFused
from ..utils import writable_folder

__all__ = ["ClassificationPrediction", "FusionPrediction", "SegmentationPrediction"]


@dataclass(frozen=True)
class _Prediction:
    """Attributes:
    source: file the prediction belongs to, ``"array"`` for pixels in memory; of a pair that of source A.
    meta: metadata of that image as it was loaded.
    weights: one line about the weights that predicted it (:func:`medssm_monai.bundle.describe_weights`).
    trained_for: what these were trained for, in words, or ``"not recorded"``.
    unlike_training: in which respects the image is unlike those that they were trained with; empty when in none, or
        where ``trained_for`` is not recorded.
    measured: what was compared with them, by key of the image; empty where nothing was.
    """

    source: str
    meta: Mapping[str, Any] = field(repr=False)
    weights: str = field(default="", kw_only=True, repr=False)
    trained_for: str = field(default=NOT_RECORDED, kw_only=True, repr=False)
    unlike_training: tuple[str, ...] = field(default=(), kw_only=True, repr=False)
    measured: Mapping[str, ImageFacts] = field(default_factory=dict, kw_only=True, repr=False)

    @property
    def affine(self) -> np.ndarray:
        """``(4, 4)`` of the file, for arrays in the file's own axis order; the identity for pictures."""
        return np.asarray(self.meta.get("file_affine", self.meta.get("affine")), dtype=np.float64)

    @cached_property
    def calibrated(self) -> dict[str, Any] | None:
        """What the calibration that is stored with the weights adds to the answer, as JSON can hold it, with
        ``meaning`` in words; None without one."""
        return None


@dataclass(frozen=True)
class SegmentationPrediction(_Prediction):
    """Classes of one picture or volume, at the size of the file.

    Attributes:
        probability: float32 in [0, 1]. ``(*spatial)`` where the network has one channel, which stands for one class;
            else ``(out_channels, *spatial)``. ``(H, W)``, rows first, for pictures, ``(X, Y, Z)`` for volumes.
        threshold: probability from which a pixel belongs to a class; of no meaning where classes exclude each other.
        class_names: names of the classes, without the background.
        labels: names, values and colors; by default the first of ``class_names``, one class by rule.
        risk: thresholds that control what masks miss, where a calibration has stored them with the weights.
    """

    probability: np.ndarray = field(repr=False)
    threshold: float
    class_names: tuple[str, ...]
    labels: LabelSet = field(default=None, kw_only=True, repr=False)  # type: ignore[assignment]
    risk: RiskThresholds | None = field(default=None, kw_only=True, repr=False)

    def __post_init__(self) -> None:
        if self.labels is None:
            object.__setattr__(self, "labels", LabelSet.of({self.class_names[0]: BY_RULE}))

    @property
    def probabilities(self) -> np.ndarray:
        """``(out_channels, *spatial)``, in the order of ``labels.channel_names``."""
        return self.probability[None] if self.labels.out_channels == 1 else self.probability

    @property
    def foreground(self) -> np.ndarray:
        """Probability of any class, ``(*spatial)``; of regions, which may overlap, that of the most probable one."""
        if self.labels.softmax:
            return 1 - self.probability[0]
        return self.probabilities.max(axis=0)

    @property
    def mask(self) -> np.ndarray:
        """``(*spatial)`` uint8, 1 where there is any class."""
        if self.labels.out_channels == 1:
            return (self.probability >= self.threshold).astype(np.uint8)
        return (self.label_map > 0).astype(np.uint8)

    @property
    def label_map(self) -> np.ndarray:
        """``(*spatial)`` uint8 or uint16: 0 for the background, else the value of the class as files have it
        (``labels.written``); of regions that overlap the last one's."""
        return self.labels.label_map(self._masks)[0].numpy()

    @property
    def _masks(self) -> torch.Tensor:
        return self.labels.masks(torch.from_numpy(np.asarray(self.probabilities)), self.threshold)

    def class_mask(self, name: str) -> np.ndarray:
        """``(*spatial)`` uint8, 1 where there is the class.

        Raises:
            ValueError: no such class.
        """
        if name not in self.labels.names:
            raise ValueError(f"there is no class {name!r}; there are {', '.join(self.labels.names)}.")
        return self._masks[self.labels.names.index(name)].numpy().astype(np.uint8)

    def controlled_mask(self, name: str | None = None) -> np.ndarray:
        """``(*spatial)`` uint8, 1 where the probability of a class is above its calibrated threshold.

        Such masks miss on average at most ``1 - risk.level`` of an image's foreground, for images exchangeable with
        those of the calibration; they are mostly larger than :attr:`mask`, and say nothing of what is marked wrongly.

        Args:
            name: the class; may be left out where there is one.

        Raises:
            ValueError: weights without calibrated thresholds; no such class, or none named of several.
        """
        if self.risk is None:
            raise ValueError(
                "no threshold that controls the risk is stored with these weights, or it belongs to other settings. "
                "Calibrate them: python -m monai.bundle run calibrating (docs/uncertainty.md)."
            )
        if name is None and len(self.labels.names) > 1:
            raise ValueError(f"name one of the classes: {', '.join(self.labels.names)}.")
        name = self.labels.names[0] if name is None else name
        if name not in self.labels.names:
            raise ValueError(f"there is no class {name!r}; there are {', '.join(self.labels.names)}.")
        own = self.probabilities[int(self.labels.softmax) :][self.labels.names.index(name)]
        return self.risk.mask(own, name)

    @cached_property
    def calibrated(self) -> dict[str, Any] | None:
        """``masks``: of each class the calibrated ``threshold``, and the ``pixels`` (or voxels) and ``share`` of the
        image that :meth:`controlled_mask` marks; ``missed_at_most``: on average, of an image's foreground;
        ``meaning`` in words. None without a calibration."""
        if self.risk is None:
            return None
        masks = {name: self.controlled_mask(name) for name in self.labels.names}
        return {
            "masks": {
                name: {
                    "threshold": self.risk.thresholds[name],
                    "pixels": int(mask.sum()),
                    "share": float(mask.mean()),
                }
                for name, mask in masks.items()
            },
            "missed_at_most": round(1 - self.risk.level, 9),
            "meaning": risk_promise(self.risk),
        }

    @property
    def confidence(self) -> float | None:
        """Mean probability within the mask, of the class that is the most probable there; None for an empty mask."""
        inside = self.probabilities.max(axis=0)[self.mask > 0]
        return float(inside.mean()) if inside.size else None

    @property
    def confidences(self) -> dict[str, float | None]:
        """Mean probability of each class within its own mask, by name; None where it is empty."""
        own = self.probabilities[int(self.labels.softmax) :]
        inside = [values[mask] for values, mask in zip(own, self._masks.numpy(), strict=True)]
        return {
            name: float(values.mean()) if values.size else None
            for name, values in zip(self.labels.names, inside, strict=True)
        }

    def save(self, path: str | os.PathLike[str], probability: bool = False) -> Path:
        """Write the mask, the label map of several classes, or the probability, in the geometry of the image
        (:class:`~medssm_monai.transforms.SaveImage2D` says which files).

        Args:
            path: a file (``.png`` for pictures, ``.nii`` or ``.nii.gz`` for NIfTI and DICOM), or a folder, where it
                gets the name of the image.
            probability: 0 to 255 (PNG) or 0 to 1 (NIfTI) instead of the mask.

        Raises:
            ValueError: a suffix that cannot hold this geometry, or the image itself; one file for the probabilities of
                several classes of a picture.
        """
        by_value = not probability and not self.labels.by_rule
        values = torch.from_numpy(self.label_map[None] if by_value else np.asarray(self.probabilities))
        threshold = None if probability else self.threshold
        write = lambda folder: SaveImage2D(folder, threshold, self.labels)(values, self.meta)  # noqa: E731
        return _save(path, self.source, write)


@dataclass(frozen=True)
class ClassificationPrediction(_Prediction):
    """Class of one image.

    Attributes:
        probabilities: ``(K,)`` float64, calibrated by the temperature that was stored with the weights.
        class_names: in the order of the probabilities.
        sets: how prediction sets are made, where a calibration has stored it with the weights.
    """

    probabilities: np.ndarray
    class_names: tuple[str, ...]
    sets: PredictionSets | None = field(default=None, kw_only=True, repr=False)

    @property
    def label(self) -> int:
        """Number of the most probable class."""
        return int(self.probabilities.argmax())

    @property
    def class_name(self) -> str:
        """Name of the most probable class."""
        return self.class_names[self.label]

    @property
    def confidence(self) -> float:
        """Probability of the most probable class."""
        return float(self.probabilities.max())

    @property
    def prediction_set(self) -> tuple[str, ...] | None:
        """Names of the classes that the image may have at the calibrated coverage, ``sets.level``, the most probable
        first; None where the weights were not calibrated (:class:`~medssm_monai.metrics.PredictionSets`).

        With LAC it may be empty: no class is as probable as the true one mostly was in the calibration. Take that for
        an image that the network cannot judge, not for one without a finding."""
        return None if self.sets is None else self.sets.names(self.probabilities, self.class_names)

    @cached_property
    def calibrated(self) -> dict[str, Any] | None:
        """``prediction_set``, ``coverage`` that it was calibrated for, ``method``, and ``meaning`` in words; None
        without a calibration."""
        members = self.prediction_set
        if members is None or self.sets is None:
            return None
        return {
            "prediction_set": list(members),
            "coverage": self.sets.level,
            "method": self.sets.method,
            "meaning": set_words(members, self.sets),
        }

    def by_class(self) -> dict[str, float]:
        """Probability of each class by name."""
        return {name: float(p) for name, p in zip(self.class_names, self.probabilities, strict=True)}

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a CSV table of one row: image, class, confidence, the probability of each class, the prediction set
        where the weights are calibrated, and in which respects the image is unlike those that they were trained
        with."""
        target = Path(path)
        writable_folder(target.parent)
        unlike = NOT_RECORDED if self.trained_for == NOT_RECORDED else flag_text(self.unlike_training)
        write_predictions(
            target, [self.source], self.probabilities[None], self.class_names, unlike=[unlike], sets=self.sets
        )
        return target


@dataclass(frozen=True)
class FusionPrediction(_Prediction):
    """Two images fused into one, in the geometry of source A.

    Attributes:
        image: float32 in [0, 1]: ``(H, W)``, ``(H, W, 3)`` where a source has color, ``(X, Y, Z)`` for volumes.
    """

    image: np.ndarray = field(repr=False)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the fused image to a file (``.png`` for pictures, ``.nii`` or ``.nii.gz`` for NIfTI and DICOM) or into
        a folder, where it is called ``<name of source A>_fused``.

        Raises:
            ValueError: a suffix that cannot hold this geometry, or the image itself.
        """
        color = self.image.ndim == 3 and "file_size" in self.meta
        values = torch.from_numpy(np.moveaxis(self.image, -1, 0).copy() if color else self.image[None])
        return _save(path, self.source, lambda folder: SaveImageFused(folder)(values, self.meta))


def _save(path: str | os.PathLike[str], source: str, write: Callable[[Path], Path]) -> Path:
    """Let ``write`` make its file in a folder; under another name where ``path`` is one; not over ``source``."""
    target = Path(path)
    if target.is_dir() or not target.suffix:
        return write(target)
    if target.exists() and os.path.exists(source) and os.path.samefile(target, source):
        raise ValueError(f"{target} is the image itself; give the result another name.")
    writable_folder(target.parent)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".saving-") as folder:
        made = write(Path(folder))
        if len(pictures := sorted(one.name for one in Path(folder).glob("*.png"))) > 1:
            raise ValueError(f"{target}: this result is {len(pictures)} pictures, one per class; give a folder.")
        kind = ".png" if made.suffix == ".png" else ".nii.gz"
        if not target.name.lower().endswith((".png",) if kind == ".png" else (".nii", ".nii.gz")):
            raise ValueError(f"{target}: this result has the geometry of a {kind} file; end the name in {kind}.")
        if target.suffix.lower() != made.suffix:  # compressed or not
            import nibabel

            image, made = nibabel.load(made), Path(folder) / f"as{'.nii' if made.suffix == '.gz' else '.nii.gz'}"
            nibabel.save(image, made)
        os.replace(made, target)
    return target
