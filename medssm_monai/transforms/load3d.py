"""Loading of 3D volumes as MetaTensors, from files and from ``.npz`` arrays alike."""

from __future__ import annotations

import numpy as np
import torch
from monai.config import KeysCollection, PathLike
from monai.data import MetaTensor
from monai.transforms import Transform

from ..data.intensity import IntensityRange
from ..data.volume import read_volume
from .each_key import EachKeyd

__all__ = ["LoadImage3D", "LoadImage3DD", "LoadImage3DDict", "LoadImage3Dd"]


class LoadImage3D(Transform):
    """Load one volume ``(C, X, Y, Z)`` float32: a NIfTI file, a DICOM series, an image of a 3D ``.npz`` file, or an
    array in memory.

    The 3D companion of :class:`LoadImage2D`. Axes stay as they are stored.

    Args:
        channels: 1 (luma), 3 (grey repeated) or None (as in the file).
        scale: to [0, 1], as :mod:`~medssm_monai.data.intensity` says for each kind of file; False keeps the units of
            the file, for :class:`~medssm_monai.transforms.ToUnitRange`.

    Raises:
        FileNotFoundError: no such file.
        ImageReadError: damaged file, or no volume.
        ValueError: NaN or infinite values; bad arguments.
    """

    def __init__(self, channels: int | None = 1, scale: bool = True, intensity_range: float | None = None) -> None:
        if channels not in (1, 3, None):
            raise ValueError(f"channels must be 1, 3 or None (as in the file), got {channels}.")
        self.channels, self.scale, self.intensity = channels, scale, IntensityRange(intensity_range)

    def __call__(self, filename: PathLike | np.ndarray | torch.Tensor) -> MetaTensor:
        return read_volume(filename, self.channels, self.scale, self.intensity)


class LoadImage3Dd(EachKeyd):
    """Dictionary version of :class:`LoadImage3D`.

    Args:
        keys: entries that hold file names, addresses or arrays; each is replaced by the loaded volume.
        channels, scale, intensity_range: see :class:`LoadImage3D`.
        allow_missing_keys: pass over keys that are not there.
    """

    def __init__(
        self,
        keys: KeysCollection,
        channels: int | None = 1,
        scale: bool = True,
        allow_missing_keys: bool = False,
        intensity_range: float | None = None,
    ) -> None:
        super().__init__(keys, LoadImage3D(channels, scale, intensity_range), allow_missing_keys)


LoadImage3DD = LoadImage3DDict = LoadImage3Dd
