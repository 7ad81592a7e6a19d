"""Segmentations (SEG) and structure sets (RTSTRUCT) of a folder: their segments, and the images they refer to."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..readers.dicom_headers import sop_class
from ..readers.segment_contours import AREAS
from .headers import HeaderError, quiet_pydicom, read_header, require_pydicom
from .series import SetAside

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["Annotation", "Segment", "class_numbers", "find_annotations", "plain_name"]

STORAGE = "1.2.840.10008.5.1.4.1.1."
SEG = {f"{STORAGE}66.4", f"{STORAGE}66.7"}
RTSTRUCT = f"{STORAGE}481.3"
LAST = 0xFFFB10FF  # tag that no object has
GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")


@dataclass(frozen=True)
class Segment:
    """One segment, or region of interest.

    Attributes:
        number: in its object.
        label: what it is called.
        codes: what else it goes by: meaning and ``scheme:value`` of its coded property type.
    """

    number: int
    label: str
    codes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Annotation:
    """One SEG or RTSTRUCT object.

    Attributes:
        path, uid: file, and SOP Instance UID.
        study_uid: of its study.
        contours: an RTSTRUCT.
        segments: of areas.
        places: UIDs of the frames of reference.
        series: UIDs of the series that it refers to.
        instances: UIDs of the images that it refers to.
        sources: UIDs of those of them that its frames were made of, and the frames of each (from 1; empty: all).
    """

    path: Path
    uid: str
    study_uid: str
    contours: bool
    segments: tuple[Segment, ...]
    places: frozenset[str]
    series: frozenset[str]
    instances: frozenset[str]
    sources: Mapping[str, frozenset[int]] = field(default_factory=dict)


def find_annotations(set_aside: Iterable[SetAside]) -> tuple[list[Annotation], list[SetAside]]:
    """The segmentations and structure sets among the files that are no images; copies of one (by SOP Instance UID)
    count once.

    Args:
        set_aside: by :func:`~.find.find_series`.

    Returns:
        them, and those that cannot be read with the reasons.
    """
    found: dict[str, Annotation] = {}
    broken: list[SetAside] = []
    for path in (aside.path for aside in set_aside):
        try:
            kind = sop_class(path) or ""
            if kind in SEG:
                read_header(path)  # says what is damaged
            elif kind != RTSTRUCT:
                continue
            annotation = _read(path, kind == RTSTRUCT)
        except (HeaderError, OSError) as error:
            if path.is_file():
                broken.append(SetAside(path, str(error)))
            continue
        found.setdefault(annotation.uid, annotation)
    return list(found.values()), broken


def _read(path: Path, contours: bool) -> Annotation:
    pydicom = require_pydicom()
    try:
        with pydicom.config.disable_value_validation(), quiet_pydicom():
            header = pydicom.dcmread(path, stop_before_pixels=True)
            if contours and not _is_whole(path, header):
                raise HeaderError("the file is cut off; copy or export it again")
            uids = str(header.SOPInstanceUID), str(header.get("StudyInstanceUID", ""))
            read = _structure_set if contours else _segmentation
            return Annotation(path, *uids, contours, **read(header))
    except HeaderError:
        raise
    except Exception as error:  # pydicom raises many kinds for damaged files
        said = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise HeaderError(f"its header is damaged ({type(error).__name__}: {said}); copy or export it again") from error


def _is_whole(path: Path, header: Dataset) -> bool:
    """Whether an object without pixels ends where its last element does, which pydicom does not ask: an element put
    behind it must not become part of another one."""
    pydicom = require_pydicom()
    syntax = header.file_meta.TransferSyntaxUID
    if syntax.is_deflated:  # cannot be inflated when cut off
        return True
    order = "<" if syntax.is_little_endian else ">"
    last = struct.pack(f"{order}HH", LAST >> 16, LAST & 0xFFFF)
    last += struct.pack(f"{order}I", 0) if syntax.is_implicit_VR else b"UN" + bytes(6)
    return LAST in pydicom.dcmread(io.BytesIO(path.read_bytes() + last))


def _segmentation(header: Dataset) -> dict:
    segments = tuple(
        Segment(
            int(item.SegmentNumber),
            str(item.get("SegmentLabel", "")),
            tuple(_codes(item, "SegmentedPropertyTypeCodeSequence")),
        )
        for item in header.SegmentSequence
        if int(item.SegmentNumber) > 0  # 0 is the background of a label map
    )
    groups = [group for name in GROUPS for group in header.get(name, [])]
    derived = [item for group in groups for item in group.get("DerivationImageSequence", [])]
    sources: dict[str, set[int]] = {}
    for source in (source for item in derived for source in item.get("SourceImageSequence", [])):
        frames = source.get("ReferencedFrameNumber")
        listed = frames if isinstance(frames, Sequence) else [] if frames is None else [frames]
        sources.setdefault(str(source.ReferencedSOPInstanceUID), set()).update(map(int, listed))
    series = list(_inside(header, "ReferencedSeriesSequence"))
    instances = {
        str(image.ReferencedSOPInstanceUID) for item in series for image in item.get("ReferencedInstanceSequence", [])
    }
    place = str(header.get("FrameOfReferenceUID", ""))
    return {
        "segments": segments,
        "places": frozenset([place] if place else []),
        "series": frozenset(str(item.SeriesInstanceUID) for item in series),
        "instances": frozenset(instances | sources.keys()),
        "sources": {uid: frozenset(frames) for uid, frames in sources.items()},
    }


def _inside(header: Dataset, keyword: str) -> Iterator[Dataset]:
    """Items of a sequence of the object, and of the studies that it names beside its own."""
    for outer in (header, *header.get("StudiesContainingOtherReferencedInstancesSequence", [])):
        yield from outer.get(keyword, [])


def _codes(item: Dataset, keyword: str) -> Iterator[str]:
    for code in item.get(keyword, []):
        value = code.get("CodeValue") or code.get("LongCodeValue") or code.get("URNCodeValue")
        yield from filter(None, (code.get("CodeMeaning"), f"{code.get('CodingSchemeDesignator', '')}:{value}"))


def _structure_set(header: Dataset) -> dict:
    areas = {
        int(item.ReferencedROINumber)
        for item in header.get("ROIContourSequence", [])
        if any(contour.get("ContourGeometricType") in AREAS for contour in item.get("ContourSequence", []))
    }
    codes: dict[int, list[str]] = {}
    for item in header.get("RTROIObservationsSequence", []):
        codes.setdefault(int(item.ReferencedROINumber), []).extend(_codes(item, "RTROIIdentificationCodeSequence"))
    segments = tuple(
        Segment(int(item.ROINumber), str(item.get("ROIName", "")), tuple(codes.get(int(item.ROINumber), ())))
        for item in header.StructureSetROISequence
        if int(item.ROINumber) in areas
    )
    places = header.get("ReferencedFrameOfReferenceSequence", [])
    series = [
        item
        for place in places
        for study in place.get("RTReferencedStudySequence", [])
        for item in study.get("RTReferencedSeriesSequence", [])
    ]
    images = [image for item in series for image in item.get("ContourImageSequence", [])]
    return {
        "segments": segments,
        "places": frozenset(str(place.FrameOfReferenceUID) for place in places),
        "series": frozenset(str(item.SeriesInstanceUID) for item in series),
        "instances": frozenset(str(image.ReferencedSOPInstanceUID) for image in images),
    }


def plain_name(name: str) -> str:
    """A name as it is compared: lower case, words apart by one space."""
    return " ".join(re.split(r"[\s_\-]+", name.strip().lower()))


def class_numbers(annotation: Annotation, names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Numbers of the segments of each class that an object has: those called so, else those whose coded property type
    has that meaning, or that code (``SCT:10200004``)."""
    found = {}
    for name in names:
        wanted = plain_name(name)
        numbers = [segment.number for segment in annotation.segments if plain_name(segment.label) == wanted]
        if not numbers:
            numbers = [one.number for one in annotation.segments if wanted in map(plain_name, one.codes)]
        if numbers:
            found[name] = tuple(numbers)
    return found
