"""Single DICOM images through ITK: stored values become displayed values, every step exactly once.

ITK (GDCM) applies rescale slope and intercept, palettes, planar configuration and YCbCr itself. Whether it also turns
MONOCHROME1 (small values are bright) into MONOCHROME2 depends on its version, and the tag stays MONOCHROME1 either way;
so it is asked once, with a file of two pixels. Windows (VOI LUT) are applied by neither: a network's transforms go by
the range of the file, and a window is a choice of the eye; :func:`read_dicom` applies the one of the file when asked.
"""

from __future__ import annotations

import math
import re
import struct
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from monai.data import ITKReader
from monai.utils import optional_import

from ..errors import ImageReadError
from .dicom_headers import (
    DECODED,
    MARK,
    UNCOMPRESSED,
    check_streams,
    object_without_pixels,
    states_table,
    transfer_syntax,
    words_swapped,
)
from .dicom_window import in_window
from .limits import check_size
from .stacks import Plane

__all__ = [
    "CUT_OFF",
    "DicomError",
    "check_dicom_volume",
    "displayed",
    "frame_address",
    "full_range_of",
    "measured",
    "read_dicom",
    "read_frames",
    "reader_inverts",
    "slice_plane",
]

itk, _ = optional_import("itk")
PIXEL_DATA = b"\xe0\x7f\x10\x00"  # (7FE0,0010), little endian
PHOTOMETRIC, BITS_ALLOCATED, BITS_STORED, SIGNED = "0028|0004", "0028|0100", "0028|0101", "0028|0103"
SAMPLES = "0028|0002"
POSITION, ORIENTATION, SPACING = "0020|0032", "0020|0037", "0028|0030"
ONE_SAMPLE = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
FRAME_COUNT = "0028|0008"
WORD = 16  # bits
BY_SLOPE = "export it with slope and intercept"
CUT_OFF = "the file is truncated or damaged (fewer pixels than its header says); copy or export it again"
FRAMES = "frames"
INTERCEPT, SLOPE = "0028|1052", "0028|1053"


class DicomError(OSError):
    """A DICOM file that gives no picture; the message says why, without the file's name."""


def _element(group: int, element: int, vr: str, value: bytes) -> bytes:
    head = struct.pack("<HH", group, element) + vr.encode()
    return head + (struct.pack("<HI", 0, len(value)) if vr == "OW" else struct.pack("<H", len(value))) + value


@cache
def reader_inverts() -> bool:
    """Whether the installed ITK hands MONOCHROME1 over as MONOCHROME2: 10 and 20 stored with eight bits."""
    uid = b"1.2.826.0.1.3680043.10.1\0\0"[:24]
    meta = _element(2, 2, "UI", b"1.2.840.10008.5.1.4.1.1.7\0") + _element(2, 3, "UI", uid)
    meta += _element(2, 0x10, "UI", b"1.2.840.10008.1.2.1\0")
    image = _element(8, 0x16, "UI", b"1.2.840.10008.5.1.4.1.1.7\0") + _element(8, 0x18, "UI", uid)
    numbers = ((2, 1), (0x10, 1), (0x11, 2), (0x100, 8), (0x101, 8), (0x102, 7), (0x103, 0))
    found = {tag: _element(0x28, tag, "US", struct.pack("<H", number)) for tag, number in numbers}
    found[4] = _element(0x28, 4, "CS", b"MONOCHROME1 ")
    image += b"".join(found[tag] for tag in sorted(found)) + _element(0x7FE0, 0x10, "OW", bytes([10, 20]))
    head = b"\0" * 128 + b"DICM" + _element(2, 0, "UL", struct.pack("<I", len(meta)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "two_pixels.dcm"
        path.write_bytes(head + meta + image)
        values, _ = ITKReader().get_data(ITKReader().read(str(path)))
    first, second = np.asarray(values).ravel().tolist()
    return first > second


def _number(meta: Mapping[str, Any], tag: str, otherwise: float) -> float:
    try:
        return float(str(meta.get(tag, "")).strip())
    except ValueError:
        return otherwise


def displayed(values: np.ndarray, meta: Mapping[str, Any], inverted_by_reader: bool) -> np.ndarray:
    """Values in which large is bright.

    Args:
        values: as the reader gives them, rescaled, float32.
        meta: tags of the file as ITK names them (``0028|0004``).
        inverted_by_reader: what :func:`reader_inverts` says.

    Stored values run from 0 to 2^bits - 1 (signed ones from -2^(bits-1)); MONOCHROME1 turns that range over.
    """
    if str(meta.get(PHOTOMETRIC, "")).strip() != "MONOCHROME1" or inverted_by_reader:
        return values
    return _turned(values, meta)


def measured(values: np.ndarray, meta: Mapping[str, Any], inverted_by_reader: bool) -> np.ndarray:
    """Values as measured (Hounsfield units, counts), whatever the way to display them: what :func:`displayed` turns
    over, and a reader may have turned over, is turned back.

    Args:
        values, meta, inverted_by_reader: as there.
    """
    if str(meta.get(PHOTOMETRIC, "")).strip() != "MONOCHROME1" or not inverted_by_reader:
        return values
    return _turned(values, meta)


def _turned(values: np.ndarray, meta: Mapping[str, Any]) -> np.ndarray:
    bits = int(_number(meta, BITS_STORED, 8))
    lowest_and_highest = -1 if _number(meta, SIGNED, 0) else 2**bits - 1  # their sum
    slope, intercept = _number(meta, SLOPE, 1), _number(meta, INTERCEPT, 0)
    return np.float32(slope * lowest_and_highest + 2 * intercept) - values


def full_range_of(array: np.ndarray, meta: Mapping[str, Any], color: bool) -> float | None:
    """Value that stands for 1.0 in a file of eight bits or fewer; None for others (and for rescaled ones)."""
    if array.dtype != np.uint8:
        return None
    return 255.0 if color else 2.0 ** min(int(_number(meta, BITS_STORED, 8)), 8) - 1


def _no_image(path: Path) -> str:
    """Why GDCM does not take a file."""
    content = path.read_bytes()
    if not content:
        return "the file is empty; copy or export it again"
    if content[128:132] != MARK:
        return "no DICOM file (it lacks the mark DICM); give it the suffix of what it is, or export it again"
    what = object_without_pixels(path)
    if what is not None:
        return f"holds no pixels: a DICOM {what}; leave it out"
    if PIXEL_DATA in content:
        return CUT_OFF
    return "holds no pixels: it is another kind of DICOM object, or ends before them; leave it out or copy it again"


def read_dicom(path: Path, window: Literal["file"] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
    """Array (x, y, ...[, color]) and tags, as MONAI's ``ITKReader`` gives them, of a file that is looked at first.

    Args:
        path: the file.
        window: ``"file"`` gives gray values in [0, 1] by the (first) window of the file, large is bright; None those
            of the file.

    Raises:
        TooLargeError: above the limit of pixels; nothing is decoded.
        DicomError: no DICOM file, no pixels in it, truncated, values told by a table (Modality LUT), bits that ITK
            cannot decode; or a window is asked of a file without one.
        ValueError: another ``window``.
    """
    if window not in (None, "file"):
        raise ValueError(f"window must be 'file' or None, got {window!r}.")
    header = _opened(path)
    if header is None:
        raise DicomError(_no_image(path))
    sides = _sides(header)
    if len(sides) > 2 and sides[2] > 1:
        check_size(path, sides[::-1], 3, value_bytes=header.GetComponentSize())
    check_size(path, sides[1::-1])
    if _is_cut_off(path, header):
        raise DicomError(CUT_OFF)
    if states_table(path):
        raise DicomError("its values are told by a table (Modality LUT Sequence), which is not applied; " + BY_SLOPE)
    _check_stated(path, header)
    bits = int(_number({BITS_ALLOCATED: _stated(header, BITS_ALLOCATED)}, BITS_ALLOCATED, 8))
    if bits != WORD and words_swapped(path):
        raise DicomError(f"{bits}-bit pixels in big-endian words, which ITK may read wrongly; export it little endian")
    array, meta = _decoded(path, header)
    if bits == 1:
        array = (array > 0).astype(np.uint8)  # GDCM gives 255 for 1
    if window is None:
        return array, meta
    try:
        shown = in_window(measured(array, meta, reader_inverts()), meta)
    except ValueError as error:
        raise DicomError(f"{error}; read it without window") from error
    return (1 - shown if str(meta.get(PHOTOMETRIC, "")).strip() == "MONOCHROME1" else shown), meta


@contextmanager
def _itk_name(path: Path) -> Iterator[str]:
    """A name by which ITK opens a file: itself, or a link to one whose name is not UTF-8, which ITK does not take."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory() as folder:
            link = Path(folder) / "link.dcm"
            link.symlink_to(path.absolute())
            yield str(link)
    else:
        yield str(path)


def _decoded(path: Path, header: Any) -> tuple[np.ndarray, dict[str, Any]]:
    reader = ITKReader(pixel_type=itk.SS) if _signed_bytes(header) else ITKReader()
    try:
        with _itk_name(path) as name:
            array, meta = reader.get_data(reader.read(name))
    except Exception as error:  # itk's kinds: RuntimeError, TemplateTypeError
        raise DicomError(_undecoded(header, error)) from error
    return np.asarray(array), meta


def read_frames(path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """What :func:`read_dicom` gives of a file of several frames, which are asked for one by one: the last file read
    stays in memory."""
    facts = path.stat()
    return _last_frames(path, facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=1)
def _last_frames(path: Path, _changed: int, _size: int) -> tuple[np.ndarray, dict[str, Any]]:
    return read_dicom(path)


def frame_address(path: Path) -> tuple[Path, int] | None:
    """File and frame (from 0) of an address such as ``cine.dcm/frames/3``; None for any other path."""
    file = path.parent.parent
    if path.parent.name != FRAMES or not path.name.isdecimal() or not file.is_file():
        return None
    return file, int(path.name)


def _check_stated(path: Path, header: Any) -> None:
    """Refuse what GDCM would read in a way of its own.

    Raises:
        DicomError: an encoding that is not decoded, a number of frames that is none, colors that fit no samples.
    """
    syntax = transfer_syntax(path)
    if syntax is not None and syntax not in DECODED:
        raise DicomError(f"its pixels are stored in a way that is not decoded ({syntax}); export it uncompressed")
    frames = _stated(header, FRAME_COUNT)
    if frames is not None and not frames.isdecimal():
        raise DicomError(f"its header is damaged (Number of Frames is {frames!r}); copy or export it again")
    photometric, samples = _stated(header, PHOTOMETRIC), _stated(header, SAMPLES)
    if photometric is not None and samples is not None and samples != ("1" if photometric in ONE_SAMPLE else "3"):
        raise DicomError(f"its header is damaged ({photometric} of {samples} sample(s) a pixel); export it again")


def _stated(header: Any, tag: str) -> str | None:
    """Text of a tag; None where the file lacks it."""
    tags = header.GetMetaDataDictionary()
    return str(tags[tag]).strip() or None if tags.HasKey(tag) else None


def _signed_bytes(header: Any) -> bool:
    return header.GetComponentTypeAsString(header.GetComponentType()) == "char" and header.GetNumberOfComponents() == 1


def _undecoded(header: Any, error: Exception) -> str:
    tags = header.GetMetaDataDictionary()
    stated = {key: str(tags[key]).strip() for key in (PHOTOMETRIC, BITS_ALLOCATED, BITS_STORED) if tags.HasKey(key)}
    allocated, stored = stated.get(BITS_ALLOCATED, "?"), stated.get(BITS_STORED, "?")
    kind = f"{stated.get(PHOTOMETRIC, '?')}, {stored} of {allocated} bits"
    reason = re.sub(r"ITK ERROR: \w+\(\w+\): ", "", str(error)).strip().splitlines()
    if type(error).__name__ == "TemplateTypeError" or "logic behavior" in str(error):
        return f"ITK cannot decode pixels stored so ({kind}); export it with 8 or 16 bits, gray or 8-bit color"
    return f"cannot be decoded ({kind}; {reason[-1] if reason else type(error).__name__}); copy or export it again"


def _opened(path: Path) -> Any:
    """ITK's reader of a file, its header read; None for a file that it does not take.

    Raises:
        TooLargeError: a compressed picture inside is above the limit.
        DicomError: GDCM does not understand the header.
    """
    check_streams(path)
    header = itk.GDCMImageIO.New()
    try:
        with _itk_name(path) as name:
            if not header.CanReadFile(name):
                return None
            header.SetFileName(name)
            header.ReadImageInformation()
    except RuntimeError as error:
        said = next((line.strip() for line in str(error).splitlines()[::-1] if line.strip()), "no reason given")
        raise DicomError(f"GDCM does not understand its header ({said}); export it again") from error
    return header


def _sides(header: Any) -> list[int]:
    """x, y, frames."""
    return [header.GetDimensions(axis) for axis in range(header.GetNumberOfDimensions())]


def _is_cut_off(path: Path, header: Any) -> bool:
    """Whether a file without compression is smaller than the pixels of its header: ITK would make up the rest."""
    tags = header.GetMetaDataDictionary()
    stated = {key: str(tags[key]) for key in (SAMPLES, BITS_ALLOCATED, PHOTOMETRIC) if tags.HasKey(key)}
    if transfer_syntax(path) not in UNCOMPRESSED or "42" in stated.get(PHOTOMETRIC, ""):  # 4:2:2, 4:2:0
        return False
    bits = math.prod(_sides(header)) * int(_number(stated, SAMPLES, 1)) * int(_number(stated, BITS_ALLOCATED, 8))
    return path.stat().st_size < bits // 8


def slice_plane(path: Path) -> Plane | None:
    """Where a slice lies, by the header of its file; None where it does not say so."""
    header = _opened(path)
    if header is None:
        return None
    found = []
    for tag, count in ((POSITION, 3), (ORIENTATION, 6), (SPACING, 2)):
        try:
            values = tuple(float(part) for part in (_stated(header, tag) or "").split("\\"))
        except ValueError:
            return None
        if len(values) != count:
            return None
        found.append(values)
    return Plane(*found)


def check_dicom_volume(path: Path | Sequence[Path]) -> None:
    """Look at the headers of a volume, one file, a list of slices or a folder of them, before anything is decoded;
    files of a folder that are no DICOM images are passed over.

    Raises:
        TooLargeError: all pixels together are above the limit of voxels.
        ImageReadError: a file with fewer pixels than its header says.
    """
    if not isinstance(path, Path):
        name, files = path[0], list(path)
    else:
        name, files = path, sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
    total, largest = 0, (0, 0)
    for file in files:
        try:
            header = _opened(file)
        except DicomError as error:
            raise ImageReadError(f"{file}: {error}.") from error
        if header is None:
            continue
        sides = _sides(header)
        total += math.prod(sides[2:])
        largest = max(largest, (sides[0], sides[1]), key=math.prod)
        check_size(name, (*largest, total), 3, header.GetNumberOfComponents(), header.GetComponentSize())
        if _is_cut_off(file, header):
            raise ImageReadError(f"{file}: {CUT_OFF}.")
