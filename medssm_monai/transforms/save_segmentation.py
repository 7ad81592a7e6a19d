"""Writing segmentations back in the geometry of the image they were computed from."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection, PathLike
from monai.data import MetaTensor
from monai.transforms import MapTransform, SaveImaged
from monai.utils import optional_import

from ..data.labels import LabelSet
from ..data.readers.files import RASTER, file_stem
from ..utils import replace_file
from .label_files import file_names, label_nifti, label_picture, nifti_like, write_labels
from .save import ResultWriter, as_array, eight_bit, nifti_slice

__all__ = [
    "SaveImage2D",
    "SaveImage2DD",
    "SaveImage2DDict",
    "SaveImage2Dd",
    "SaveSegmentation",
    "SaveSegmentationD",
    "SaveSegmentationDict",
    "SaveSegmentationd",
]

nib, _ = optional_import("nibabel")


class SaveImage2D(ResultWriter):
    """Save a segmentation so that it lies exactly on its input file; :data:`SaveSegmentation` is this class.

    ============================  ================================================================================
    ``pred``                      file
    ============================  ================================================================================
    foreground by rule (1, ...)   8-bit PNG with 0 and 255 for PNG, JPEG, TIFF and BMP inputs; NIfTI with 0 and 1 for
                                  NIfTI (same suffix) and DICOM (``.nii.gz``)
    label map of classes          PNG whose palette holds the colors of the classes (16-bit gray where values exceed
                                  255), their names and values in the text ``labels``; NIfTI, uint8 or uint16, with
                                  names and values in a comment of its header
    probabilities, one channel    8-bit PNG, 0 to 255; NIfTI, float32
    probabilities, several        an 8-bit PNG for each, ``<stem>_<class>.png``; one NIfTI, float32, ``(X, Y, Z, C)``
    ============================  ================================================================================

    PNG has the input's pixel size, NIfTI shape and affine of the input, of classes and volumes also the codes of its
    q-form and s-form. (MONAI's ``SaveImage`` transposes PNGs and does not keep axes of length one.) The file is named
    as the input, ``<stem>.png``; it is written beside its place and renamed, so that no half-written file is left.
    Names, values and colors of classes also lie in ``labels.json`` of ``output_dir``, in the form that nnU-Net's
    ``dataset.json`` has.

    Two inputs with one stem never overwrite each other (:class:`~.save.ResultNames`). The names of earlier runs
    are replaced.

    Args:
        output_dir: folder for the results; created if missing.
        threshold: probabilities from here on are foreground; a label map is saved as it is. None saves the
            probability itself.
        labels: the classes; None is one foreground by rule.

    Raises:
        PermissionError: the folder cannot be created or written.
        ValueError: other channels, a size unlike the input's (invert spatial transforms first), NaN, values that are no
            class's, missing metadata, or a result that would overwrite its own input.
    """

    def __init__(self, output_dir: PathLike, threshold: float | None = 0.5, labels: LabelSet | None = None) -> None:
        if threshold is not None and not 0 < threshold <= 1:
            raise ValueError(f"threshold must lie in (0, 1] or be None (save the probability), got {threshold}.")
        super().__init__(output_dir)
        self.threshold = threshold
        self.labels = None if labels is None or labels.by_rule else labels
        self._noted = False

    def __call__(
        self,
        pred: torch.Tensor | np.ndarray,
        meta: Mapping[str, Any] | None = None,
        folder: str = "",
        name: str | None = None,
    ) -> Path:
        """Save ``pred``; returns the path written, of several files the first.

        Args:
            pred: ``(1, *spatial)``: probability or mask in [0, 1] of a class by rule, else a label map; probabilities
                ``(channels, *spatial)`` where ``threshold`` is None.
            meta: metadata of the loaded image (:class:`~medssm_monai.transforms.LoadImage2D`); those of ``pred`` when
                None.
            folder: subfolder of ``output_dir``, such as the name of a test set.
            name: file name without ending, such as that of a case whose channels have files of their own; default the
                stem of the input.
        """
        meta = pred.meta if meta is None and isinstance(pred, MetaTensor) else meta or {}
        needed = ["filename_or_obj", "file_size", "file_kind", "file_shape"]
        needed += [] if meta.get("file_kind", RASTER) == RASTER else ["file_affine"]
        missing = [key for key in needed if key not in meta]
        if missing:
            raise ValueError(f"metadata lack {missing}; load the image with LoadImage2Dd and pass its metadata on.")
        source = str(meta["filename_or_obj"])
        values = self._values(as_array(pred), tuple(int(size) for size in meta["file_size"]), source)
        suffix = ".nii" if source.lower().endswith(".nii") else ".nii.gz"
        file, stem = Path(source), file_stem(Path(source))
        if name is not None and name != stem:
            source = str(file.with_name(name + file.name.removeprefix(stem)))
        if meta["file_kind"] == RASTER:
            return self._picture(values, source, folder)
        target = self._target(source, suffix, folder)
        with replace_file(target) as temporary:
            nib.save(self._nifti(values, meta), temporary)
        self._note_labels()
        return target

    def _picture(self, values: np.ndarray, source: str, folder: str) -> Path:
        if self.labels is not None and self.threshold is not None:
            target = self._target(source, ".png", folder)
            picture, text = label_picture(values[0], self.labels)
            with replace_file(target) as temporary:
                picture.save(temporary, pnginfo=text)
            self._note_labels()
            return target
        named = [""] if len(values) == 1 or self.labels is None else file_names(self.labels.channel_names)
        targets = [self._target(source, f"{'_' if name else ''}{name}.png", folder) for name in named]
        for channel, target in zip(values, targets, strict=True):
            with replace_file(target) as temporary:
                eight_bit(channel).save(temporary)
        self._note_labels()
        return targets[0]

    def _nifti(self, values: np.ndarray, meta: Mapping[str, Any]) -> Any:
        if self.labels is None and values.ndim == 3:
            return nifti_slice(values[0] if self.threshold is None else values[0].astype(np.uint8), meta)
        if self.threshold is None:
            return nifti_like(values, meta)
        if self.labels is None:
            return nifti_like(values.astype(np.uint8), meta)
        return label_nifti(values, meta, self.labels)

    def _note_labels(self) -> None:
        if self.labels is not None and not self._noted:
            write_labels(self.output_dir, self.labels)
            self._noted = True

    def _values(self, pred: np.ndarray, shape: tuple[int, ...], source: str) -> np.ndarray:
        """``(C, *spatial)``: float32 in [0, 1], thresholded if asked for; a label map as integers."""
        self._check(pred, shape, source)
        if self.labels is None or self.threshold is None:
            pred = pred.astype(np.float32)
            return np.clip(pred, 0, 1) if self.threshold is None else (pred >= self.threshold).astype(np.float32)
        known = (0, *self.labels.written)
        if unknown := sorted(set(np.unique(pred).tolist()) - set(known)):
            found = ", ".join(f"{value:g}" for value in unknown[:6])
            raise ValueError(
                f"{source}: the result holds {found}, which are the values of no class; a label map of "
                f"{', '.join(self.labels.names)} holds {', '.join(map(str, known))} (LabelSet.label_map makes it)."
            )
        return pred.astype(np.uint8 if max(known) <= 255 else np.uint16)

    def _check(self, pred: np.ndarray, shape: tuple[int, ...], source: str) -> None:
        several = self.labels is not None and self.threshold is None
        channels = self.labels.out_channels if self.labels is not None and several else 1
        if pred.ndim != len(shape) + 1 or pred.shape[0] != channels:
            axes = "H, W" if len(shape) == 2 else "X, Y, Z"
            what = f"one foreground channel (1, {axes})" if self.labels is None else f"a label map (1, {axes})"
            if self.labels is not None and several:
                what = f"a channel for each of {', '.join(self.labels.channel_names)} ({channels}, {axes})"
            raise ValueError(f"{source}: expected {what} to save, got {pred.shape}.")
        if pred.shape[1:] != shape:
            axes = "rows, columns" if len(shape) == 2 else "X, Y, Z"
            raise ValueError(
                f"{source}: the result is {pred.shape[1:]}, the input {shape} ({axes}); bring it back with "
                "Invertd (transform: the preprocessing, orig_keys: 'image') before saving."
            )
        if not np.isfinite(pred).all():
            raise ValueError(f"{source}: the result holds NaN or infinite values; nothing was saved for it.")


class SaveImage2Dd(SaveImaged):
    """Dictionary version of :class:`SaveImage2D`; :data:`SaveSegmentationd` is this class.

    It is one of MONAI's writers by class and name alone: hosts that write results themselves (MONAI Label, MONAI
    Deploy) know by these which transforms of a post-processing to leave out. (The latter by ``SaveImage`` at the
    beginning of the name of the class, which is why that stays as it is.)

    Args:
        keys: the one result to save, usually ``"pred"``.
        output_dir, threshold, labels: see :class:`SaveImage2D`.
        ref_key: the loaded image whose metadata give name and geometry; where it is missing, those of the result.
        folder_key: entry naming a subfolder, such as the test set of the PraNet layout; no subfolder without it.
        name_key: entry naming the file, as datalists do; the stem of the input without it.
        saved_key: entry that receives the path written.
        allow_missing_keys: pass over keys that are not there.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: PathLike,
        threshold: float | None = 0.5,
        ref_key: str = "image",
        folder_key: str = "dataset",
        saved_key: str = "saved_to",
        allow_missing_keys: bool = False,
        labels: LabelSet | None = None,
        name_key: str = "name",
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        if len(self.keys) != 1:
            raise ValueError(f"one key per SaveImage2Dd (the file has the input's name), got {self.keys}.")
        self.save = SaveImage2D(output_dir, threshold, labels)
        self.ref_key, self.folder_key, self.name_key, self.saved_key = ref_key, folder_key, name_key, saved_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        reference = result.get(self.ref_key)
        meta = reference.meta if isinstance(reference, MetaTensor) else None
        for key in self.key_iterator(result):
            folder, name = str(result.get(self.folder_key, "")), result.get(self.name_key)
            path = self.save(result[key], meta, folder, str(name) if name else None)
            result[self.saved_key] = str(path)
        return result


SaveImage2DD = SaveImage2DDict = SaveImage2Dd
SaveSegmentation = SaveImage2D
SaveSegmentationD = SaveSegmentationDict = SaveSegmentationd = SaveImage2Dd
