"""Reader of single 2D images for MONAI's ``LoadImage``: every common file ends as ``(C, H, W)`` in row, column order.

MONAI's own readers return raster images as ``(W, H)``, keep palette indices instead of colors and leave the value
range to the user. Here the first spatial axis is always the image row, colors are real colors, and the values know
their range.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from monai.config import PathLike
from monai.data import ImageReader, NibabelReader
from monai.utils import ensure_tuple
from PIL import UnidentifiedImageError

from ..errors import ImageReadError
from .dicom import DicomError, displayed, frame_address, full_range_of, read_dicom, read_frames, reader_inverts
from .files import DICOM, NIFTI, RASTER, file_kind
from .intensity import EIGHT_BITS, SIXTEEN_BITS, IntensityRange, declared_range, range_metadata, to_unit_range
from .limits import check_size, open_raster
from .mask import Foreground, MaskValuesError, check_foreground, read_mask, unclear_message
from .nifti import colors_last, full_range_of_values, nifti_facts
from .npz import ARRAY, npz_sample, parse_npz_address
from .pixels import Pixels

if TYPE_CHECKING:
    from PIL.TiffImagePlugin import TiffImageFile

__all__ = ["Reader2D", "read_pixels", "to_channels", "to_mask", "why_unreadable"]

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601, as PIL's "L"
SEQUENCES = ("TIFF", "GIF", "WEBP", "PNG")  # a JPEG of several pictures (MPO) has its picture first
LOSSY_FORMATS = ("JPEG", "MPO", "JPEG2000", "WEBP")
TIFF_PHOTOMETRIC, TIFF_WHITE_IS_ZERO = 262, 0
DARK = 64  # of 256: 16-bit color below uses 14 bits or fewer
TEXT_STARTS = {b"<!doctype html": "an HTML page", b"<html": "an HTML page", b"<?xml": "an XML text", b"%pdf": "a PDF"}


def _planar(values: np.ndarray) -> np.ndarray:
    """``(H, W, C)`` float32 whose channels lie one behind the other in memory, as they go to the network: what follows
    needs no copy of a large picture."""
    return np.ascontiguousarray(np.moveaxis(values, -1, 0), dtype=np.float32).transpose(1, 2, 0)


def _read_raster(path: Path) -> Pixels:
    declared = alpha = None
    with open_raster(path) as img:
        pages = getattr(img, "n_frames", 1) if img.format in SEQUENCES else 1
        if pages > 1:
            raise ImageReadError(f"{path}: holds {pages} pages, expected one; save each page as its own file.")
        lossy = img.format in LOSSY_FORMATS
        mode = img.mode
        deep_color = any(";16" in str(tile[3]) for tile in img.tile) and mode == "RGB"  # Pillow keeps 8 of the bits
        if mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in img.info:
            alpha = np.asarray(img.convert("RGBA").getchannel("A"))
        if mode in ("L", "LA", "La"):
            values, full_range = np.asarray(img.convert("L")), EIGHT_BITS
        elif mode == "1":
            values, full_range = np.asarray(img, dtype=np.uint8), 1.0
        elif mode.startswith("I;16") or (mode == "I" and img.format == "PNG"):
            values, full_range = np.asarray(img), SIXTEEN_BITS
            declared = declared_range(img, path, values)
            tags = cast("TiffImageFile", img).tag_v2 if img.format == "TIFF" else {}
            if tags.get(TIFF_PHOTOMETRIC) == TIFF_WHITE_IS_ZERO:
                values = int(declared or SIXTEEN_BITS) - values.astype(np.int32)  # Pillow does so for 8 bits only
        elif mode in ("I", "F"):
            values, full_range = np.asarray(img), None
        else:  # RGB, RGBA (alpha is dropped, not blended), palette, CMYK, YCbCr, LAB, HSV
            values, full_range = np.asarray(img.convert("RGB")), EIGHT_BITS
    values = _planar(values[..., None] if values.ndim == 2 else values)  # (H, W, C)
    if deep_color and 0 < values.max() < DARK:
        values, full_range = values * np.float32(256), SIXTEEN_BITS
    return Pixels(values, full_range, RASTER, lossy, np.eye(4), values.shape[:2], np.eye(4), declared, alpha)


def _slice_axes(path: Path, shape: tuple[int, ...]) -> tuple[int, int]:
    """The two axes of a NIfTI or DICOM array that carry the picture; all others must have length one."""
    long_axes = [axis for axis, size in enumerate(shape) if size > 1]
    if len(long_axes) > 2 or len(shape) < 2 or any(axis > 2 for axis in long_axes):
        raise ImageReadError(
            f"{path}: holds an array of shape {tuple(shape)}, expected a single slice (two axes longer than one); "
            "cut the volume into slices first."
        )
    for axis in range(len(shape)):
        if len(long_axes) < 2 and axis not in long_axes:
            long_axes.append(axis)
    first, second = sorted(long_axes)
    return first, second


def _read_nifti(path: Path) -> tuple[np.ndarray, dict]:
    """Array (x, y, ..., C) and metadata of a file that is looked at first."""
    facts = nifti_facts(path)
    sides = [side for side in facts.sides if side > 1]
    if len(sides) <= 2:  # a volume is refused by its shape below, before its values are read
        check_size(path, sides)
    _slice_axes(path, facts.sides)
    reader = NibabelReader(squeeze_non_spatial_dims=False)
    array, meta = reader.get_data(reader.read(str(path)))
    return colors_last(array, facts), meta


def _read_colors(path: Path) -> tuple[np.ndarray, dict]:
    """Array (x, y, ..., C) and metadata of a DICOM file."""
    array, meta = read_dicom(path)
    color = array.ndim > 2 and array.shape[-1] in (3, 4) and array.ndim > len(meta["spatial_shape"])
    return array[..., :3] if color else array[..., None], meta


def _read_frame(file: Path, frame: int) -> Pixels:
    """One frame of a DICOM file."""
    array, meta = read_frames(file)
    frames = 1 if len(meta["spatial_shape"]) < 3 else array.shape[2]
    if frame >= frames:
        raise ImageReadError(f"{file}/frames/{frame}: the file holds {frames} frame(s), the first is 0.")
    plane = array[:, :, frame] if len(meta["spatial_shape"]) > 2 else array
    plane = plane[..., :3] if plane.ndim > 2 else plane[..., None]
    values = displayed(_planar(plane.swapaxes(0, 1)), meta, reader_inverts())
    full_range = full_range_of(array, meta, values.shape[-1] > 1)
    affine = np.asarray(meta["affine"], dtype=np.float64)
    return Pixels(values, full_range, DICOM, False, affine[:, [1, 0, 2, 3]], plane.shape[:2], affine)


def _read_medical(path: Path, kind: str | None) -> Pixels:
    array, meta = _read_nifti(path) if kind == NIFTI else _read_colors(path)
    color, shape = array.shape[-1] > 1, array.shape[:-1]
    first, second = _slice_axes(path, shape)
    plane = array.reshape(shape[first], shape[second], array.shape[-1])
    full_range = full_range_of(array, meta, color) if kind == DICOM else full_range_of_values(array)
    values = _planar(plane.transpose(1, 0, 2))  # file (x, y) -> (row = y, column = x)
    if kind == DICOM:
        values = displayed(values, meta, reader_inverts())
    file_affine = np.asarray(meta["affine"], dtype=np.float64)
    rest = next(axis for axis in range(3) if axis not in (first, second))
    affine = file_affine[:, [second, first, rest, 3]]
    return Pixels(values, full_range, kind, False, affine, tuple(shape), file_affine)


def _read_array(file: Path, key: str, index: int) -> Pixels:
    values, full_range = npz_sample(file, key, index)
    if values.ndim != 3:
        raise ImageReadError(
            f"{file}: {key!r} holds volumes of shape {values.shape[:-1]}; load volumes with LoadImage3Dd."
        )
    return Pixels(values, full_range, ARRAY, False, np.eye(4), values.shape[:2], np.eye(4))


def read_pixels(path: PathLike) -> Pixels:
    """Decode one file completely (a truncated file is noticed), one image of an ``.npz`` file by its address, or one
    frame of a DICOM file (``cine.dcm/frames/3``).

    Raster files (PNG, JPEG, TIFF, BMP) are taken as stored: an EXIF orientation tag is *not* applied, because masks
    are drawn on, and written back in, the stored pixel matrix. 16-bit color PNGs are decoded at 8 bits (Pillow has no
    16-bit color mode). NIfTI and DICOM arrays (x, y) become (row = y, column = x) with the affine's columns permuted
    to match.

    Raises:
        FileNotFoundError: the file does not exist.
        TooLargeError: above the limit of pixels (:mod:`.limits`); nothing is decoded.
        PermissionError: the file may not be read.
        ImageReadError: damaged, truncated, of unknown format, without pixels, or more than one slice or page; the
            message says which.
    """
    path = Path(path)
    address = parse_npz_address(path)
    if address is not None:
        return _read_array(*address)
    frame = frame_address(path)
    if frame is None and not path.is_file():
        raise FileNotFoundError(f"{path}: no such image file; check the path or the datalist it comes from.")
    kind = file_kind(path)
    try:
        if frame is not None:
            path = frame[0]
            return _read_frame(*frame)
        return _read_raster(path) if kind == RASTER else _read_medical(path, kind)
    except ImageReadError:
        raise
    except PermissionError as error:
        raise PermissionError(f"{path}: may not be read (permission denied); ask for the right to read it.") from error
    except Exception as error:  # Pillow, nibabel and itk raise many kinds for damaged files
        raise ImageReadError(f"{path}: {why_unreadable(path, error)}") from error


def why_unreadable(path: Path, error: Exception) -> str:
    """Reason and remedy for a file that a reader did not take, without its name."""
    if isinstance(error, DicomError):
        return f"{error}."
    with path.open("rb") as stream:
        start = stream.read(64)
    if not start:
        return "the file is empty; copy or export it again."
    text = next((what for mark, what in TEXT_STARTS.items() if start.lstrip().lower().startswith(mark)), None)
    if text:
        return f"not an image but {text} with an image's name, as a failed download leaves it; fetch it again."
    if isinstance(error, UnidentifiedImageError):
        return "not an image of a known format, or damaged at its start; save it again as PNG, JPEG, TIFF or BMP."
    reason = str(error).strip().splitlines()
    said = f"{type(error).__name__}: {reason[-1] if reason else 'no reason given'}"
    if isinstance(error, MemoryError):
        return f"the memory does not suffice ({said}); make the image smaller or cut it into tiles first."
    return f"cannot be decoded ({said}); the file is truncated or damaged, copy or export it again."


def to_channels(values: np.ndarray, channels: int | None) -> np.ndarray:
    """``(H, W, C)`` to 1 (luma) or 3 (gray repeated) channels; None keeps what the file has."""
    if channels is None or values.shape[-1] == channels:
        return values
    if channels == 1:
        red, green, blue = np.moveaxis(values, -1, 0)  # a matrix product rounds by processor and memory layout
        return (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue)[..., None]
    if channels == 3:
        return np.moveaxis(np.repeat(np.moveaxis(values, -1, 0), 3, axis=0), 0, -1)
    raise ValueError(f"channels must be 1, 3 or None (as in the file), got {channels}.")


def to_mask(pixels: Pixels, foreground: Foreground = "auto", name: object = "mask") -> np.ndarray:
    """Binary mask ``(H, W)`` uint8 in {0, 1} of a decoded file (:func:`~.mask.read_mask`).

    Raises:
        MaskValuesError: the values do not say which pixels are foreground.
    """
    facts = read_mask(pixels, foreground)
    if facts.unclear:
        raise MaskValuesError(f"{name}: {unclear_message(facts.unclear)}.")
    return facts.mask


class Reader2D(ImageReader):
    """MONAI reader of one 2D image or mask.

    ``get_data`` returns ``(C, H, W)`` float32 and the metadata MONAI's transforms use: ``spatial_shape`` (H, W),
    ``original_channel_dim`` 0, ``affine``, ``original_affine``; plus ``file_kind``, ``file_size`` (H, W),
    ``file_affine`` and ``file_shape`` (four numbers, padded with zeros), which no later transform changes and from
    which a result is written back in the geometry of the file.

    Args:
        kind: ``"image"`` or ``"mask"`` (binary, see :func:`to_mask`).
        channels: 1, 3 or None (as in the file) for images.
        intensity_range: value that stands for 1.0 in 16-bit images; None goes by each file, 65535 where it says nothing
            (:class:`~.intensity.IntensityRange`).
        foreground: of masks, see :func:`~.mask.read_mask`.
        scale: bring image values to [0, 1], as :mod:`.intensity` says for each kind of file (a
            constant slice without a range of its own becomes 0). False keeps the file's units.

    Raises:
        ValueError: unknown ``kind``, ``channels``, ``intensity_range`` or ``foreground``; NaN or infinite values in
            the file, or values above the range that was stated.
        MaskValuesError: a mask whose values do not say which pixels are foreground.
    """

    def __init__(
        self,
        kind: str = "image",
        channels: int | None = 3,
        scale: bool = True,
        intensity_range: float | None = None,
        foreground: Foreground = "auto",
    ) -> None:
        super().__init__()
        if kind not in ("image", "mask"):
            raise ValueError(f"kind must be 'image' or 'mask', got {kind!r}.")
        if channels not in (1, 3, None):
            raise ValueError(f"channels must be 1, 3 or None (as in the file), got {channels}.")
        self.kind, self.channels, self.scale = kind, channels, scale
        self.intensity = IntensityRange(intensity_range)
        self.foreground = check_foreground(foreground)

    def verify_suffix(self, filename: PathLike) -> bool:  # type: ignore[override]
        """True for the suffixes this reader knows, and for addresses of images in ``.npz`` files."""
        names = ensure_tuple(filename)
        return all(
            file_kind(Path(name)) is not None or parse_npz_address(name) is not None or frame_address(Path(name))
            for name in names
        )

    def read(self, data: PathLike, **kwargs: object) -> tuple[Path, Pixels]:  # type: ignore[override]
        """Decode the single file ``data``; see :func:`read_pixels` for the errors raised."""
        names = ensure_tuple(data)
        if len(names) != 1:
            raise ValueError(f"Reader2D reads one file at a time, got {len(names)}: {list(names)}.")
        return Path(names[0]), read_pixels(names[0])

    def get_data(self, img: tuple[Path, Pixels]) -> tuple[np.ndarray, dict]:
        """Array ``(C, H, W)`` float32 and metadata of what :meth:`read` returned."""
        path, pixels = img
        if not np.isfinite(pixels.values).all():
            bad = int((~np.isfinite(pixels.values)).sum())
            raise ValueError(f"{path}: {bad} values are NaN or infinite; repair the file or leave it out.")
        if self.kind == "mask":
            values = to_mask(pixels, self.foreground, path)[..., None].astype(np.float32)
        else:
            ranges = range_metadata(pixels.full_range, pixels.declared)
            values = to_channels(pixels.values, self.channels)
            if self.scale:
                largest = float(pixels.values.max()) if pixels.values.size else 0.0
                full_range = self.intensity(path, pixels.full_range, pixels.declared, largest)
                values = to_unit_range(np.require(values, requirements="W"), full_range)
        array = np.ascontiguousarray(values.transpose(2, 0, 1), dtype=np.float32)  # (H, W, C) -> (C, H, W)
        shape = np.zeros(4, dtype=np.int64)
        shape[: len(pixels.file_shape)] = pixels.file_shape
        meta = {
            "affine": pixels.affine.copy(),
            "original_affine": pixels.affine.copy(),
            "spatial_shape": np.asarray(array.shape[1:]),
            "original_channel_dim": 0,
            "file_kind": pixels.kind,
            "file_size": np.asarray(array.shape[1:]),
            "file_affine": pixels.file_affine.copy(),
            "file_shape": shape,
            **(range_metadata(1.0) if self.scale or self.kind == "mask" else ranges),
        }
        return array, meta
