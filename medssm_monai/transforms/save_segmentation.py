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

from ..data.readers.files import RASTER
from ..utils import replace_file
from .save import ResultWriter, as_array, eight_bit, nifti_slice

__all__ = ["SaveImage2D", "SaveImage2DD", "SaveImage2DDict", "SaveImage2Dd"]

nib, _ = optional_import("nibabel")


class SaveImage2D(ResultWriter):
    """Save a foreground probability or mask ``(1, H, W)`` so that it lies exactly on its input file.

    PNG, JPEG, TIFF and BMP inputs give an 8-bit PNG with 0 and 255 in the input's pixel size; NIfTI gives NIfTI (same
    suffix) with the input's shape and affine; DICOM gives ``.nii.gz`` with the affine of the slice. (MONAI's
    ``SaveImage`` transposes PNGs and does not keep axes of length one.) The file is named as the input,
    ``<stem>.png``; it is written beside its place and renamed, so that no half-written file is left.

    Two inputs with one stem never overwrite each other (:class:`~.save.ResultNames`). The names of earlier runs
    are replaced.

    Args:
        output_dir: folder for the results; created if missing.
        threshold: probabilities from here on are foreground; None saves the probability itself (PNG: 0..255, NIfTI:
            float32).

    Raises:
        PermissionError: the folder cannot be created or written.
        ValueError: more than one channel, a size unlike the input's (invert spatial transforms first), NaN, missing
            metadata, or a result that would overwrite its own input.
    """

    def __init__(self, output_dir: PathLike, threshold: float | None = 0.5) -> None:
        if threshold is not None and not 0 < threshold <= 1:
            raise ValueError(f"threshold must lie in (0, 1] or be None (save the probability), got {threshold}.")
        super().__init__(output_dir)
        self.threshold = threshold

    def __call__(
        self, pred: torch.Tensor | np.ndarray, meta: Mapping[str, Any] | None = None, folder: str = ""
    ) -> Path:
        """Save ``pred``; returns the path written.

        Args:
            pred: ``(1, H, W)`` probability or mask in [0, 1].
            meta: metadata of the loaded image (:class:`~medssm_monai.transforms.LoadImage2D`); those of ``pred`` when
                None.
            folder: subfolder of ``output_dir``, such as the name of a test set.
        """
        meta = pred.meta if meta is None and isinstance(pred, MetaTensor) else meta or {}
        missing = [key for key in ("filename_or_obj", "file_size", "file_kind", "file_shape") if key not in meta]
        if missing:
            raise ValueError(f"metadata lack {missing}; load the image with LoadImage2Dd and pass its metadata on.")
        source = str(meta["filename_or_obj"])
        values = self._values(as_array(pred), tuple(int(size) for size in meta["file_size"]), source)
        raster = meta["file_kind"] == RASTER
        suffix = ".png" if raster else ".nii" if source.lower().endswith(".nii") else ".nii.gz"
        target = self._target(source, suffix, folder)
        with replace_file(target) as temporary:
            if raster:
                eight_bit(values).save(temporary)
            else:
                nib.save(nifti_slice(values if self.threshold is None else values.astype(np.uint8), meta), temporary)
        return target

    def _values(self, pred: np.ndarray, shape: tuple[int, ...], source: str) -> np.ndarray:
        """``(H, W)`` float32 in [0, 1], thresholded if asked for."""
        if pred.ndim != 3 or pred.shape[0] != 1:
            raise ValueError(f"{source}: expected one foreground channel (1, H, W) to save, got {pred.shape}.")
        if pred.shape[1:] != shape:
            raise ValueError(
                f"{source}: the result is {pred.shape[1:]}, the input {shape} (rows, columns); bring it back with "
                "Invertd (transform: the preprocessing, orig_keys: 'image') before saving."
            )
        if not np.isfinite(pred).all():
            raise ValueError(f"{source}: the result holds NaN or infinite values; nothing was saved for it.")
        pred = pred[0].astype(np.float32)
        return np.clip(pred, 0, 1) if self.threshold is None else (pred >= self.threshold).astype(np.float32)


class SaveImage2Dd(SaveImaged):
    """Dictionary version of :class:`SaveImage2D`.

    It is one of MONAI's writers by class and name alone: hosts that write results themselves (MONAI Label, MONAI
    Deploy) know by these which transforms of a post-processing to leave out.

    Args:
        keys: the one result to save, usually ``"pred"``.
        output_dir, threshold: see :class:`SaveImage2D`.
        ref_key: the loaded image whose metadata give name and geometry; where it is missing, those of the result.
        folder_key: entry naming a subfolder, such as the test set of the PraNet layout; no subfolder without it.
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
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        if len(self.keys) != 1:
            raise ValueError(f"one key per SaveImage2Dd (the file has the input's name), got {self.keys}.")
        self.save = SaveImage2D(output_dir, threshold)
        self.ref_key, self.folder_key, self.saved_key = ref_key, folder_key, saved_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        reference = result.get(self.ref_key)
        meta = reference.meta if isinstance(reference, MetaTensor) else None
        for key in self.key_iterator(result):
            path = self.save(result[key], meta, str(result.get(self.folder_key, "")))
            result[self.saved_key] = str(path)
        return result


SaveImage2DD = SaveImage2DDict = SaveImage2Dd
