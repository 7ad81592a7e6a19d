"""One series of DICOM images becomes volumes and pictures; what makes neither is set aside with a reason."""

from __future__ import annotations

import os
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..readers.dicom_headers import DECODED
from ..readers.files import natural_key
from ..readers.functional_groups import frame_planes, frame_traits
from ..readers.split_stacks import FRAME_TRAITS, like_planes, split_stacks
from ..readers.stacks import Plane, plane_affine
from .headers import HeaderError, NoImageError, quiet_pydicom, require_pydicom
from .series import Instance, Series, SetAside
from .spacing import numbers

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["as_instance", "header_plane", "is_copy", "series_key", "sort_series", "without_place"]

STORAGE = "1.2.840.10008.5.1.4.1.1."
STACKED = {f"{STORAGE}{end}" for end in ("2", "4", "128")}  # CT, MR, PET: one slice an instance
NO_SOURCE = {  # with pixels, but no picture that a network starts from
    f"{STORAGE}66.4": "segmentation",
    f"{STORAGE}66.7": "segmentation",
    f"{STORAGE}30": "parametric map",
    f"{STORAGE}481.2": "radiotherapy dose",
    f"{STORAGE}77.1.6": "tiles of a whole slide",
}
TRAITS = (  # what tells stacks of one series apart, the one tried first in front
    *("EchoTime", "EchoNumbers", "TemporalPositionIdentifier", "DiffusionBValue", "ImageType", "AcquisitionNumber"),
    *("TriggerTime", "InversionTime", "ReconstructionDiameter", "AcquisitionTime", "SeriesTime"),
)


def _lost(instance: Instance, reason: str) -> SetAside:
    return SetAside(instance.path, reason, lost=True, uid=_text(instance.header, "SOPInstanceUID"))


def _text(header: Dataset, keyword: str) -> str:
    value = header.get(keyword)
    return "" if value is None else str(value).strip()


def as_instance(path: Path, header: Dataset) -> Instance:
    """An image that may be part of a series.

    Raises:
        NoImageError: a localizer, a segmentation and the like.
        HeaderError: pixels stored in a way that is not decoded.
    """
    what = NO_SOURCE.get(_text(header, "SOPClassUID"))
    if what is not None:
        raise NoImageError(f"a DICOM {what}, no image to start from")
    kinds = header.get("ImageType") or []
    if "LOCALIZER" in ([kinds] if isinstance(kinds, str) else list(kinds)):
        raise NoImageError("a localizer (ImageType)")
    syntax = header.file_meta.get("TransferSyntaxUID") if hasattr(header, "file_meta") else None
    if syntax is not None and str(syntax) not in DECODED:
        called = f"{getattr(syntax, 'name', '?')} ({syntax})"
        raise HeaderError(f"its pixels are stored as {called}, which is not decoded; export it again")
    frames = numbers(header, "NumberOfFrames", 1) or (1.0,)
    return Instance(path, header, max(int(frames[0]), 1))


def series_key(instance: Instance) -> tuple[str, ...]:
    """What the instances of one series share."""
    header = instance.header
    uids = (_text(header, "StudyInstanceUID"), _text(header, "SeriesInstanceUID"))
    return (*uids, _text(header, "SOPClassUID"), "" if all(uids) else str(instance.path.parent))


def _order(instance: Instance) -> tuple[float, list]:
    number = numbers(instance.header, "InstanceNumber", 1)
    return (number[0] if number else float("inf"), natural_key(str(instance.path)))


def header_plane(header: Dataset) -> Plane | None:
    """Where a single image lies; None where it does not say so, or not rightly."""
    position, orientation = numbers(header, "ImagePositionPatient", 3), numbers(header, "ImageOrientationPatient", 6)
    spacing = numbers(header, "PixelSpacing", 2)
    if position is None or orientation is None or spacing is None or min(spacing) <= 0:
        return None
    row, column = np.asarray(orientation[:3]), np.asarray(orientation[3:])
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if not np.allclose(lengths, 1, atol=0.01) or abs(row @ column) > 0.01:
        return None
    return Plane(position, orientation, spacing)


def without_place(series: Series) -> bool:
    """Whether these are several slices of CT, MR or PET that do not say where they lie, and so are read as pictures."""
    headers = [instance.header for instance in series.instances]
    sliced = len(headers) > 1 and all(_text(header, "SOPClassUID") in STACKED for header in headers)
    return sliced and series.spatial_dims == 2 and all(header_plane(header) is None for header in headers)


def _series(
    members: Sequence[Instance],
    what: str = "",
    affine: np.ndarray | None = None,
    frames: tuple[int, ...] | None = None,
    dims: int = 2,
) -> Series:
    header = members[0].header
    description = " ".join(filter(None, (_text(header, "SeriesDescription"), f"[{what}]" if what else "")))
    uids = _text(header, "StudyInstanceUID"), _text(header, "SeriesInstanceUID")
    return Series(*uids, _text(header, "Modality"), description, tuple(members), dims, affine, frames)


def _pictures(members: Sequence[Instance], what: str = "") -> Series:
    """Pictures of a series; a single one keeps its place in space."""
    affine = None
    if len(members) == 1 and members[0].frames == 1:
        plane = header_plane(members[0].header)
        if plane is not None:
            thick = numbers(members[0].header, "SliceThickness", 1) or (1.0,)
            affine = plane_affine(plane, plane.normal * (thick[0] if thick[0] > 0 else 1.0))
    return _series(members, what, affine)


def sort_series(instances: Sequence[Instance]) -> tuple[list[Series], list[SetAside]]:
    """Volumes and pictures of the instances of one series, and those of its files that make neither."""
    members = sorted(instances, key=_order)
    several = [instance for instance in members if instance.frames > 1]
    single = [instance for instance in members if instance.frames == 1]
    series: list[Series] = []
    left: list[SetAside] = []
    for instance in several:
        found, aside = _of_frames(instance)
        series += found
        left += aside
    if not single:
        return series, left
    if _text(single[0].header, "SOPClassUID") not in STACKED:
        return [*series, _pictures(single)], left
    found, aside = _of_slices(single)
    return [*series, *found], [*left, *aside]


def _of_slices(members: list[Instance]) -> tuple[list[Series], list[SetAside]]:
    """Slices of CT, MR or PET."""
    placed = [(instance, plane) for instance in members if (plane := header_plane(instance.header)) is not None]
    if not placed:
        return [_pictures(members, "no place in space (position, orientation, spacing): read as pictures")], []
    lost = [instance for instance in members if header_plane(instance.header) is None]
    left = [_lost(instance, "no valid position, orientation or pixel spacing") for instance in lost]
    slices, planes = [instance for instance, _ in placed], [plane for _, plane in placed]
    sizes = [(int(instance.header.Rows), int(instance.header.Columns)) for instance in slices]
    traits = [{name: _text(instance.header, name) for name in TRAITS} for instance in slices]
    groups = like_planes(planes, sizes)
    series = []
    for number, group in enumerate(groups):
        where = f"stack {number + 1} of {len(groups)}" if len(groups) > 1 else ""
        if len(group) == 1:
            series.append(_pictures([slices[group[0]]], where))
            continue
        found = split_stacks(planes, traits, TRAITS, group)
        if found.left:
            kept, copies = _without_copies(slices, planes, group)
            if copies:
                found = split_stacks(planes, traits, TRAITS, kept)
                left += copies
        for who, stack, what in found.stacks:
            what = ", ".join(filter(None, (where, what)))
            series.append(_series([slices[member] for member in who], what, stack.affine, dims=3))
        for who, why in found.left:
            left += [_lost(slices[member], f"makes no volume with {len(who)} slice(s): {why}") for member in who]
    return series, left


def _without_copies(
    slices: Sequence[Instance], planes: Sequence[Plane], group: Sequence[int]
) -> tuple[list[int], list[SetAside]]:
    """Members of a stack without those that repeat the pixels of another at the same place."""
    kept: list[int] = []
    copies: list[SetAside] = []
    places: dict[tuple[float, ...], list[int]] = {}
    for member in group:
        places.setdefault(tuple(np.round(planes[member].position, 3).tolist()), []).append(member)
    for others in places.values():
        seen: dict[bytes, int] = {}
        for member in others:
            digest = _digest(slices[member].path) if len(others) > 1 else b""
            if digest in seen:
                uid = _text(slices[member].header, "SOPInstanceUID")
                copies.append(SetAside(slices[member].path, "the same slice (place and pixels) as another", uid=uid))
            else:
                seen[digest] = member
                kept.append(member)
    return sorted(kept, key=list(group).index), copies


def _digest(path: Path) -> bytes:
    """Of the stored pixels; of a file that cannot be read one that no other has."""
    try:
        with quiet_pydicom():
            pixels = require_pydicom().dcmread(path, force=True, specific_tags=["PixelData"]).get("PixelData")
    except Exception:  # pydicom raises many kinds for damaged files; the prediction says it
        pixels = None
    return blake2b(pixels or os.fsencode(path)).digest()


def is_copy(one: Instance, other: Instance) -> bool:
    """Whether two files with one identifier hold the same image: the same place in the same series, and the same pixels
    (of other encodings it is taken for granted)."""
    same = ("StudyInstanceUID", "SeriesInstanceUID", "Rows", "Columns", "NumberOfFrames", "ImagePositionPatient")
    if any(_text(one.header, keyword) != _text(other.header, keyword) for keyword in same):
        return False
    encodings = {str(header.file_meta.get("TransferSyntaxUID")) for header in (one.header, other.header)}
    return len(encodings) > 1 or _digest(one.path) == _digest(other.path)


def _of_frames(instance: Instance) -> tuple[list[Series], list[SetAside]]:
    """A multi-frame object: volumes by its functional groups, else pictures."""
    try:
        planes = frame_planes(instance.header)
        traits = frame_traits(instance.header) if planes is not None else []
    except Exception as error:  # pydicom reads the items of sequences now, and raises many kinds for damaged ones
        return [], [_lost(instance, f"its functional groups are damaged ({type(error).__name__}); export it again")]
    if planes is None:
        return [_pictures([instance])], []
    groups = like_planes(planes, [(1, 1)] * len(planes))
    series, left = [], []
    for number, group in enumerate(groups):
        where = f"stack {number + 1} of {len(groups)}" if len(groups) > 1 else ""
        found = split_stacks(planes, traits, FRAME_TRAITS, group)
        for who, stack, what in found.stacks:
            what = ", ".join(filter(None, (where, what)))
            series.append(_series([instance], what, stack.affine, tuple(who), dims=3))
        for who, why in found.left:
            frames = ", ".join(str(member) for member in who[:8]) + (" ..." if len(who) > 8 else "")
            left.append(_lost(instance, f"frames {frames} make no volume: {why}"))
    return series, left
