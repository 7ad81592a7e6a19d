"""DICOM studies: what a folder of files holds, sorted into series; and results as DICOM objects: segmentations, derived
images, key pictures and structured reports. Needs the extra ``dicom`` (pydicom, highdicom).
"""

from __future__ import annotations

from ..data.studies import Found, Instance, PixelSize, Series, SetAside, find_series, pixel_size
from .codes import SegmentCode, segment_codes
from .deidentify import Deidentifier
from .facts import ModelFacts, model_facts

__all__ = [
    "Deidentifier",
    "Found",
    "Instance",
    "ModelFacts",
    "PixelSize",
    "SegmentCode",
    "Series",
    "SetAside",
    "find_series",
    "model_facts",
    "pixel_size",
    "segment_codes",
]
