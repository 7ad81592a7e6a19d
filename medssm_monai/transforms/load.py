"""Loading of 2D images, masks and 3D volumes as MetaTensors, from files and arrays alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from monai.config import KeysCollection, PathLike
from monai.data import MetaTensor
from monai.transforms import LoadImage, Transform

from ..data.readers.arrays import ARRAY_NAME, array_name, array_pixels, array_values, is_array
from ..data.readers.files import RASTER
from ..data.readers.image import Reader2D
from ..data.readers.intensity import IntensityRange
from ..data.readers.mask import Foreground
from ..data.readers.pixels import Pixels
from ..data.readers.series_files import SeriesFiles
from ..data.readers.volume import read_volume
from .each_key import EachKeyd

__all__ = [
    "LoadImage2D",
    "LoadImage2DD",
    "LoadImage2DDict",
    "LoadImage2Dd",
    "LoadImage3D",
    "LoadImage3DD",
    "LoadImage3DDict",
    "LoadImage3Dd",
]


class LoadImage2D(Transform):
    """Load one 2D image or mask through MONAI's ``LoadImage`` with :class:`~medssm_monai.data.Reader2D`.

    Takes PNG, JPEG, TIFF, BMP (1-, 8- and 16-bit, gray, palette, RGB, RGBA), single-slice NIfTI and DICOM, and images
    of ``.npz`` files by address (``breastmnist.npz/train_images/12``), and pixels in memory (``array_pixels`` of
    :mod:`medssm_monai.data.readers.arrays` says which). Returns a float32 ``MetaTensor`` ``(C, H, W)``:
    images in [0, 1], masks ``(1, H, W)`` in {0, 1}. The metadata keep
    ``filename_or_obj``, ``affine``, ``spatial_shape`` (H, W of the file) and what is needed to write a result back in
    the geometry of the file. Unlike MONAI's raster reader, axis 1 is the image row. EXIF orientation is not applied.

    Args:
        kind: ``"image"`` or ``"mask"``.
        channels: 1 (luma), 3 (gray repeated) or None (as in the file); images only.
        scale: images to [0, 1] (by 255 or 65535; NIfTI, DICOM and floating-point files by their own minimum and
            maximum); False keeps the units of the file, for :class:`~medssm_monai.transforms.ToUnitRange`, which finds
            what stands for 1.0 in the metadata ``full_range`` and ``declared_range``.
        intensity_range: value that stands for 1.0 in 16-bit files and arrays, 4095 for 12 bits; None goes by the
            header, and takes 65535 with a warning where it is silent and the values use 14 bits or fewer.
        foreground: which values of a mask are foreground: ``"auto"`` takes 0/1 masks and those of one bright label,
            and refuses all others; ``"nonzero"``; ``"half"`` (above 127 of 255); or values, ``[1, 2]``,
            ``[[64, 0, 0]]``.

    Raises:
        FileNotFoundError: no such file.
        ImageReadError: damaged or truncated file, a volume, several pages; too large (:class:`TooLargeError`).
        ValueError: NaN or infinite values; a mask whose values do not say what is foreground; values above
            ``intensity_range``; bad arguments.
    """

    def __init__(
        self,
        kind: str = "image",
        channels: int | None = 3,
        scale: bool = True,
        intensity_range: float | None = None,
        foreground: Foreground = "auto",
    ) -> None:
        self.reader = Reader2D(kind, channels, scale, intensity_range, foreground)
        self.loader = LoadImage(image_only=True, dtype=np.float32)

    def __call__(self, filename: PathLike | np.ndarray | torch.Tensor) -> MetaTensor:
        if is_array(filename):
            return self._from_array(filename)
        # A reader given at call time is the only one tried: a damaged file is not passed on to other readers.
        return self.loader(filename, reader=self.reader)

    def _from_array(self, source: np.ndarray | torch.Tensor) -> MetaTensor:
        if self.reader.kind == "mask":
            values, full_range = array_values(source, 2)
        else:
            values, full_range = array_pixels(source, 2)
        pixels = Pixels(values, full_range, RASTER, False, np.eye(4), values.shape[:2], np.eye(4))
        array, meta = self.reader.get_data((Path(array_name(source)), pixels))
        meta["filename_or_obj"] = ARRAY_NAME
        return MetaTensor(torch.from_numpy(array), meta=meta)


class LoadImage2Dd(EachKeyd):
    """Dictionary version of :class:`LoadImage2D`.

    Args:
        keys: entries that hold file names or arrays; each is replaced by the loaded image.
        kind, channels, scale, intensity_range, foreground: see :class:`LoadImage2D`; the same for all keys.
        allow_missing_keys: pass over keys that are not there.
    """

    def __init__(
        self,
        keys: KeysCollection,
        kind: str = "image",
        channels: int | None = 3,
        scale: bool = True,
        allow_missing_keys: bool = False,
        intensity_range: float | None = None,
        foreground: Foreground = "auto",
    ) -> None:
        super().__init__(keys, LoadImage2D(kind, channels, scale, intensity_range, foreground), allow_missing_keys)


LoadImage2DD = LoadImage2DDict = LoadImage2Dd


class LoadImage3D(Transform):
    """Load one volume ``(C, X, Y, Z)`` float32: a NIfTI file, a DICOM series (its folder, or its sorted files), an
    image of a 3D ``.npz`` file, or an array in memory.

    The 3D companion of :class:`LoadImage2D`. Axes stay as they are stored.

    Args:
        channels: 1 (luma), 3 (gray repeated) or None (as in the file).
        scale: to [0, 1], as :mod:`medssm_monai.data.readers.intensity` says for each kind of file; False keeps
            the units of the file, for :class:`~medssm_monai.transforms.ToUnitRange`.

    Raises:
        FileNotFoundError: no such file.
        ImageReadError: damaged file, or no volume.
        ValueError: NaN or infinite values; bad arguments.
    """

    def __init__(self, channels: int | None = 1, scale: bool = True, intensity_range: float | None = None) -> None:
        if channels not in (1, 3, None):
            raise ValueError(f"channels must be 1, 3 or None (as in the file), got {channels}.")
        self.channels, self.scale, self.intensity = channels, scale, IntensityRange(intensity_range)

    def __call__(self, filename: PathLike | SeriesFiles | np.ndarray | torch.Tensor) -> MetaTensor:
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
