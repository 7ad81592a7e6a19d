"""DICOM studies: what a folder of files holds, sorted into series. Needs the extra ``dicom`` (pydicom, highdicom)."""

from __future__ import annotations

from .spacing import PixelSize, pixel_size
from .studies import Found, Instance, Series, SetAside, find_series

__all__ = ["Found", "Instance", "PixelSize", "Series", "SetAside", "find_series", "pixel_size"]
