"""Headers of DICOM files, without their pixels: what is needed to sort instances and to write results about them."""

from __future__ import annotations

import logging
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from monai.utils import optional_import

from ..errors import ImageReadError
from ..readers.dicom import CUT_OFF
from ..readers.dicom_headers import (
    DEFLATED,
    MARK,
    PREAMBLE,
    check_streams,
    kind_without_pixels,
    transfer_syntax,
)

if TYPE_CHECKING:
    from typing import Literal

    from pydicom import Dataset

__all__ = ["HeaderError", "NoImageError", "instance_uid", "is_uid", "quiet_pydicom", "read_header", "require_pydicom"]

GROUPS = (0x0008, 0x0010, 0x0012, 0x0020, 0x0032, 0x0040)  # patient, study, trial, relations, procedure: kept whole
KEPT = (  # of the other groups
    *("BodyPartExamined", "ContrastBolusAgent", "SliceThickness", "SpacingBetweenSlices", "EchoTime", "EchoNumbers"),
    *("InversionTime", "TriggerTime", "NominalScannedPixelSpacing", "GantryDetectorTilt", "ImagerPixelSpacing"),
    *("ProtocolName", "DeviceSerialNumber", "SoftwareVersions", "PatientPosition", "ViewPosition", "ScanOptions"),
    *("DiffusionBValue", "SequenceOfUltrasoundRegions", "EstimatedRadiographicMagnificationFactor", "SequenceName"),
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns"),
    *("PixelSpacing", "PixelAspectRatio", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelSpacingCalibrationType", "BurnedInAnnotation", "RescaleIntercept", "RescaleSlope", "RescaleType"),
    *(
        "WindowCenter",
        "WindowWidth",
        "LossyImageCompression",
        "LossyImageCompressionRatio",
        "RecognizableVisualFeatures",
    ),
    *("LossyImageCompressionMethod", "FrameIncrementPointer", "NumberOfTemporalPositions", "Units", "NumberOfSlices"),
    *("SliceLocation", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
)
LEFT_OUT = (  # long, and about other objects
    *(
        "ReferencedImageSequence",
        "SourceImageSequence",
        "ReferencedInstanceSequence",
        "ReferencedPerformedProcedureSequence",
    ),
    *("ContentSequence", "ReferencedSeriesSequence", "StudiesContainingOtherReferencedInstancesSequence"),
)
PIXELS = {
    b"\xe0\x7f\x10\0": "little",
    b"\xe0\x7f\x08\0": "little",
    b"\xe0\x7f\x09\0": "little",
    b"\x7f\xe0\0\x10": "big",
}
LONG_FORM = (b"OB", b"OW", b"OF", b"OD", b"UN")
OLD_STARTS = (b"\x08\0", b"\0\x08", b"\x02\0")  # a file without the mark begins with group 8 (or 2)
PIXEL_DATA, UNDEFINED = 0x7FE00010, 0xFFFFFFFF
UID, LONGEST_UID = re.compile(r"[0-9]+(\.[0-9]+)*"), 64
FRAGMENT_HEAD = 8  # bytes of each compressed frame, at least
SUFFIXES = (".dcm", ".dicom", ".ima")  # of files that are meant to be DICOM
NO_PIXELS = "holds no pixels: it is another kind of DICOM object, or ends before them"


class HeaderError(ValueError):
    """A file that gives no image; the message says why, without the file's name."""

    lost = True
    """Whether there may have been an image."""


class NoImageError(HeaderError):
    """A file that is no image, and is not meant to be one."""

    lost = False


def require_pydicom() -> Any:
    """The module pydicom.

    Raises:
        ImportError: it is not installed.
    """
    pydicom, there = optional_import("pydicom")
    if not there:
        raise ImportError('DICOM studies need pydicom; install it with: pip install "medssm-monai[dicom]"')
    return pydicom


@cache
def _kept() -> list[int]:
    from pydicom.datadict import DicomDictionary, tag_for_keyword

    tags = {tag for tag in DicomDictionary if tag >> 16 in GROUPS}
    tags |= {int(tag_for_keyword(keyword) or 0) for keyword in KEPT}
    return sorted(tags - {int(tag_for_keyword(keyword) or 0) for keyword in LEFT_OUT} - {0})


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Without pydicom's warnings of each slightly broken value, which may hold what patients are called.

    Warnings are of the whole process: the first of several threads turns them off, the last one on again.
    """
    with _quiet:
        if not _users:
            _turned_off.append(_without_warnings())
            _turned_off[0].__enter__()
        _users.append(None)
    try:
        yield
    finally:
        with _quiet:
            _users.pop()
            if not _users:
                _turned_off.pop().__exit__(None, None, None)


_quiet = threading.RLock()
_users: list[None] = []
_turned_off: list[AbstractContextManager[None]] = []


@contextmanager
def _without_warnings() -> Iterator[None]:
    logger = logging.getLogger("pydicom")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.addFilter(_nothing)
        try:
            yield
        finally:
            logger.removeFilter(_nothing)


def _nothing(_record: logging.LogRecord) -> bool:
    return False


def is_uid(text: str) -> bool:
    """Whether a text is a unique identifier: numbers with points between them, 64 characters at most. Zeros in front of
    numbers, which the standard does not allow and makers write, pass."""
    return len(text) <= LONGEST_UID and UID.fullmatch(text) is not None


def read_header(path: Path) -> Dataset:
    """Elements of a DICOM image that tell what and where it is (``file_meta`` with them); no private ones, no pixels.

    Raises:
        NoImageError: no DICOM file, or an object without pixels, such as a report.
        HeaderError: empty, damaged, or with fewer pixels than its header says.
        PermissionError: it may not be read.
    """
    pydicom = require_pydicom()
    with path.open("rb") as file:
        start = file.read(PREAMBLE + len(MARK))
        if not start:
            raise HeaderError("the file is empty; copy or export it again")
        marked = start[PREAMBLE:] == MARK
        if not marked and start[:2] not in OLD_STARTS:
            kind = HeaderError if path.suffix.lower() in SUFFIXES else NoImageError
            raise kind("no DICOM file")
        file.seek(0)
        deflated = transfer_syntax(path) == DEFLATED
        tags = [*_kept(), PIXEL_DATA] if deflated else _kept()
        try:
            if deflated:
                check_streams(path)
            with pydicom.config.disable_value_validation(), quiet_pydicom():
                header = pydicom.dcmread(file, stop_before_pixels=not deflated, force=not marked, specific_tags=tags)
                _drop_damaged(header)
            problem = _deflated_problem(header) if deflated else _pixel_problem(header, file, path.stat().st_size)
        except ImageReadError as error:  # too large
            raise HeaderError(str(error).removeprefix(f"{path}: ")) from error
        except Exception as error:  # pydicom raises many kinds for damaged files
            reason = str(error).strip().splitlines()
            said = f"{type(error).__name__}: {reason[0] if reason else 'no reason given'}"
            raise HeaderError(f"its header is damaged ({said}); copy or export it again") from error
    what = kind_without_pixels(str(header.get("SOPClassUID", "")))
    if what is not None:
        raise NoImageError(f"holds no pixels: a DICOM {what}")
    if problem is not None:
        raise HeaderError(problem)
    return header


def instance_uid(path: Path) -> str:
    """SOP Instance UID of a file, whatever else is wrong with it; empty where it cannot be read."""
    pydicom = require_pydicom()
    try:
        with pydicom.config.disable_value_validation(), quiet_pydicom():
            header = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=["SOPInstanceUID"])
            stated = header.get("SOPInstanceUID") or header.file_meta.get("MediaStorageSOPInstanceUID")
    except Exception:  # pydicom raises many kinds for damaged files
        return ""
    return str(stated) if is_uid(str(stated)) else ""


def _drop_damaged(header: Dataset) -> None:
    """Leave out elements whose values are none of their kind; what is needed of them is missed where it is used."""
    for tag in list(header.keys()):
        try:
            header[tag]
        except Exception:  # pydicom raises many kinds for damaged values
            del header[tag]


def _pixel_problem(header: Dataset, file: BinaryIO, size: int) -> str | None:
    """What is wrong with the pixels, at whose element the file stands, as far as lengths tell."""
    head = file.read(12)
    order = PIXELS.get(head[:4])
    if order is None or "Rows" not in header or "Columns" not in header:
        return NO_PIXELS
    length = int.from_bytes(head[8:12] if head[4:6] in LONG_FORM else head[4:8], cast("Literal['little']", order))
    if length == UNDEFINED:
        return _size_problem(header, (size - file.tell()) // FRAGMENT_HEAD)
    end = file.tell() - (0 if head[4:6] in LONG_FORM else 4) + length
    return CUT_OFF if end > size else _size_problem(header, length, length)


def _deflated_problem(header: Dataset) -> str | None:
    if PIXEL_DATA not in header or "Rows" not in header or "Columns" not in header:
        return NO_PIXELS
    length = len(header.pop(PIXEL_DATA).value or b"")
    return _size_problem(header, length, length)


def _size_problem(header: Dataset, most_frames: int, length: int | None = None) -> str | None:
    """Whether a header says that there are more pixels, or frames, than there can be; ``length`` in bytes of those that
    are not compressed."""
    rows, columns = int(header.Rows), int(header.Columns)
    frames = int(header.get("NumberOfFrames") or 1)
    if rows < 1 or columns < 1:
        return f"its header is damaged ({rows} rows, {columns} columns); export it again"
    samples, bits = int(header.get("SamplesPerPixel") or 1), int(header.get("BitsAllocated") or 8)
    whole = rows * columns * frames * samples * bits // 8
    subsampled = "42" in str(header.get("PhotometricInterpretation", ""))  # 4:2:2, 4:2:0
    if length is not None and not subsampled:
        return CUT_OFF if length < whole else None
    return CUT_OFF if frames > max(most_frames, 1) else None
