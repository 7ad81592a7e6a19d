"""Loading of volumes with any number of channels, in the units of their files."""

from __future__ import annotations

from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import Transform

from ..data.readers.channels import Source, read_channels
from .each_key import EachKeyd

__all__ = ["LoadImageVolume", "LoadImageVolumeD", "LoadImageVolumeDict", "LoadImageVolumed"]


class LoadImageVolume(Transform):
    """Load one volume ``(C, X, Y, Z)`` float32: a NIfTI file (its channels on the fourth axis), a list of files of one
    channel each, the folder of a DICOM series, or an array in memory.

    Values stay in the units of the file, axes as they are stored; :class:`NormalizeChannels` and MONAI's
    ``Orientation`` and ``Spacing`` bring volumes to what a network takes. The metadata say what is needed to write a
    result that lies exactly on the file (:func:`~medssm_monai.data.readers.channels.read_channels`).

    Args:
        channels: how many there must be; None takes any number.

    Raises:
        FileNotFoundError: no such file.
        ImageReadError: damaged file, a picture or a single slice, other than ``channels``, channels that do not lie on
            the same voxels, a voxel size of 0.
        ValueError: NaN or infinite values; bad arguments.
    """

    def __init__(self, channels: int | None = None) -> None:
        if channels is not None and (isinstance(channels, bool) or not isinstance(channels, int) or channels < 1):
            raise ValueError(f"channels must be a whole number from 1, or None (as in the file), got {channels!r}.")
        self.channels = channels

    def __call__(self, filename: Source) -> MetaTensor:
        return read_channels(filename, self.channels)


class LoadImageVolumed(EachKeyd):
    """Dictionary version of :class:`LoadImageVolume`.

    Args:
        keys: entries that hold file names, lists of them, or arrays; each is replaced by the loaded volume.
        channels: see :class:`LoadImageVolume`.
        allow_missing_keys: pass over keys that are not there.
    """

    def __init__(self, keys: KeysCollection, channels: int | None = None, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, LoadImageVolume(channels), allow_missing_keys)


LoadImageVolumeD = LoadImageVolumeDict = LoadImageVolumed
