"""Folders of DICOM files, sorted by their headers into studies and series, volumes and pictures. Needs pydicom."""

from __future__ import annotations

from .find import find_series
from .series import Found, Instance, Series, SetAside
from .spacing import PixelSize, pixel_size

__all__ = ["Found", "Instance", "PixelSize", "Series", "SetAside", "find_series", "pixel_size"]
