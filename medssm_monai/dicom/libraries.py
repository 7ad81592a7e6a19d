"""The libraries that read headers and write objects: optional, with one message where they are missing."""

from __future__ import annotations

from typing import Any

from monai.utils import optional_import

__all__ = ["require_highdicom"]


def require_highdicom() -> Any:
    """The module highdicom.

    Raises:
        ImportError: it, or the pydicom that it works with, is not installed.
    """
    module, there = optional_import("highdicom")
    if not there:
        raise ImportError('DICOM results need highdicom; install it with: pip install "medssm-monai[dicom]"')
    return module
