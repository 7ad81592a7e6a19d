"""Writing fused images and volumes in the geometry of source A."""

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

from ..data.readers.files import RASTER, file_stem
from ..utils import replace_file
from .save import ResultWriter, eight_bit, nifti_slice

nib, _ = optional_import("nibabel")

__all__ = ["SaveImageFused", "SaveImageFusedD", "SaveImageFusedDict", "SaveImageFusedd"]

POSTFIX = "_fused"


class SaveImageFused(ResultWriter):
    """Save a fused image in [0, 1] so that it lies exactly on source A.

    ========================  ============================================================
    result                    file
    ========================  ============================================================
    ``(3, H, W)``             8-bit RGB PNG
    ``(1, H, W)``             8-bit gray PNG for PNG, JPEG, TIFF and BMP sources, else NIfTI
    ``(1, X, Y, Z)``          NIfTI, float32 in [0, 1], shape and affine of source A
    ========================  ============================================================

    The file is called ``<name>_fused``; it is written beside its place and renamed, so that no half-written file is
    left. Two pairs of one name never overwrite each other (:class:`~.save.ResultNames`); results of earlier runs are
    replaced.

    Args:
        output_dir: folder for the results; created if missing.

    Raises:
        PermissionError: the folder cannot be created or written.
        ValueError: other channels, a size unlike source A's (invert spatial transforms first), NaN, missing metadata.
    """

    def __call__(
        self,
        pred: torch.Tensor,
        meta: Mapping[str, Any] | None = None,
        name: str | None = None,
        folder: str = "",
    ) -> Path:
        """Save ``pred``; returns the path written.

        Args:
            pred: fused image in [0, 1].
            meta: metadata of source A as it was loaded (LoadImage2D, LoadImage3D).
            name: file name without ending; default the stem of source A's file.
            folder: subfolder of ``output_dir``.
        """
        if meta is None or "filename_or_obj" not in meta:
            raise ValueError("metadata lack 'filename_or_obj'; load source A with LoadImage2Dd or LoadImage3Dd.")
        source = Path(str(meta["filename_or_obj"]))
        size = meta.get("file_size", meta.get("spatial_shape", ()))
        values = self._checked(pred, tuple(int(side) for side in size), str(source))
        picture = values.ndim == 3 and (values.shape[0] == 3 or meta.get("file_kind") == RASTER)
        suffix = ".png" if picture else ".nii" if source.name.lower().endswith(".nii") else ".nii.gz"
        called = source.with_name(f"{name or file_stem(source)}{POSTFIX}{suffix}")
        target = self._target(str(called), suffix, folder)
        with replace_file(target) as temporary:
            if picture:
                eight_bit(values[0] if len(values) == 1 else values.transpose(1, 2, 0)).save(temporary)
            elif values.ndim == 3:
                nib.save(nifti_slice(values[0], meta), temporary)
            else:
                nib.save(nib.Nifti1Image(values[0], np.asarray(meta["affine"], dtype=np.float64)), temporary)
        return target

    @staticmethod
    def _checked(pred: torch.Tensor, size: tuple[int, ...], source: str) -> np.ndarray:
        """``(C, *spatial)`` float32 in [0, 1]."""
        values = torch.as_tensor(pred).detach().cpu().float().numpy()
        if values.ndim not in (3, 4) or values.shape[0] not in ((1, 3) if values.ndim == 3 else (1,)):
            raise ValueError(f"{source}: expected (1, H, W), (3, H, W) or (1, X, Y, Z) to save, got {values.shape}.")
        if values.shape[1:] != size:
            raise ValueError(
                f"{source}: the result is {values.shape[1:]}, source A {size}; invert spatial transforms before saving."
            )
        if not np.isfinite(values).all():
            raise ValueError(f"{source}: the result holds NaN or infinite values; nothing was saved for it.")
        return np.clip(values, 0, 1)


class SaveImageFusedd(SaveImaged):
    """Dictionary version of :class:`SaveImageFused`; one of MONAI's writers as :class:`SaveImage2Dd` is.

    Args:
        keys: the one result to save, usually ``"pred"``.
        output_dir: see :class:`SaveImageFused`.
        ref_key: source A as it was loaded, whose metadata give the geometry.
        name_key: entry with the name of the pair; the stem of source A's file without it.
        folder_key: entry naming a subfolder; none without it.
        saved_key: entry that receives the path written.
        allow_missing_keys: pass over keys that are not there.

    Raises:
        ValueError: several keys.
        TypeError: the reference carries no metadata.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: PathLike,
        ref_key: str = "image",
        name_key: str = "name",
        folder_key: str = "folder",
        saved_key: str = "saved_to",
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        if len(self.keys) != 1:
            raise ValueError(f"one key per SaveImageFusedd (the file has the pair's name), got {self.keys}.")
        self.save = SaveImageFused(output_dir)
        self.ref_key, self.name_key, self.folder_key, self.saved_key = ref_key, name_key, folder_key, saved_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        reference = result[self.ref_key]
        if not isinstance(reference, MetaTensor):
            raise TypeError(f"{self.ref_key!r} carries no metadata; load it with LoadImage2Dd or LoadImage3Dd.")
        for key in self.key_iterator(result):
            name, folder = result.get(self.name_key), str(result.get(self.folder_key, ""))
            result[self.saved_key] = str(self.save(result[key], reference.meta, name, folder))
        return result


SaveImageFusedD = SaveImageFusedDict = SaveImageFusedd
