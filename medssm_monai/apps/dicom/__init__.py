"""DICOM studies in, DICOM results out: the command for folders."""

from __future__ import annotations

from .main import main

__all__ = ["main"]
