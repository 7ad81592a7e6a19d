"""Where the frames of a multi-frame DICOM object lie, and to which of its stacks each belongs (functional groups).

Works on headers as pydicom reads them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .stacks import Plane

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["frame_planes", "frame_traits"]

PLACE = {
    "ImagePositionPatient": ("PlanePositionSequence", 3),
    "ImageOrientationPatient": ("PlaneOrientationSequence", 6),
    "PixelSpacing": ("PixelMeasuresSequence", 2),
}
TRAITS = {
    "StackID": "FrameContentSequence",
    "TemporalPositionIndex": "FrameContentSequence",
    "EffectiveEchoTime": "MREchoSequence",
    "DiffusionBValue": "MRDiffusionSequence",
    "DiffusionGradientOrientation": "DiffusionGradientDirectionSequence",
    "NominalCardiacTriggerDelayTime": "CardiacSynchronizationSequence",
    "FrameAcquisitionNumber": "FrameContentSequence",
    "FrameType": "FrameTypeSequence",
}
TYPES = ("MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence")


def _groups(header: Dataset) -> Iterator[tuple[Any, Any]]:
    """Groups of each frame, and those that all frames share."""
    shared = header.get("SharedFunctionalGroupsSequence") or [None]
    for frame in header.get("PerFrameFunctionalGroupsSequence") or []:
        yield frame, shared[0]


def _value(groups: tuple[Any, ...], sequence: str, keyword: str) -> Any:
    for group in groups:
        items = group.get(sequence) if group is not None else None
        if items and items[0].get(keyword) is not None:
            return items[0].get(keyword)
    return None


def frame_planes(header: Dataset) -> list[Plane] | None:
    """The plane of every frame; None where a frame has none (or the object has no such groups)."""
    planes = []
    for groups in _groups(header):
        found: list[tuple[float, ...]] = []
        for keyword, (sequence, count) in PLACE.items():
            try:
                values = tuple(float(part) for part in _value(groups, sequence, keyword) or ())
            except (TypeError, ValueError):
                return None
            if len(values) != count:
                return None
            found.append(values)
        planes.append(Plane(*found))
    return planes if planes and len(planes) == int(header.get("NumberOfFrames") or 1) else None


def frame_traits(header: Dataset) -> list[dict[str, str]]:
    """What tells the stacks of an object apart, for every frame: name of a trait to its value as text."""
    traits = []
    for groups in _groups(header):
        found = {}
        for keyword, sequence in TRAITS.items():
            for name in TYPES if sequence == "FrameTypeSequence" else (sequence,):
                value = _value(groups, name, keyword)
                if value is None and keyword == "DiffusionGradientOrientation":
                    value = _value(
                        tuple((group.get("MRDiffusionSequence") or [None])[0] for group in groups if group is not None),
                        name,
                        keyword,
                    )
                if value is not None:
                    found[keyword] = str(value)
        traits.append(found)
    return traits
