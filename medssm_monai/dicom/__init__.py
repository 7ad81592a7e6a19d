"""Results as DICOM objects: segmentations, derived images, key pictures and structured reports (extra ``dicom``)."""

from __future__ import annotations

from .codes import SegmentCode, segment_codes
from .deidentify import Deidentifier
from .facts import ModelFacts, model_facts

__all__ = ["Deidentifier", "ModelFacts", "SegmentCode", "model_facts", "segment_codes"]
