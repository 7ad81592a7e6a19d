"""Transforms for 2D images in MONAI's style, array and dictionary versions."""

from __future__ import annotations

from .load2d import LoadImage2D, LoadImage2DD, LoadImage2Dd, LoadImage2DDict
from .meta import CopyMetaD, CopyMetad, CopyMetaDict
from .save2d import SaveSegmentation, SaveSegmentationD, SaveSegmentationd, SaveSegmentationDict

__all__ = [
    "CopyMetaD",
    "CopyMetaDict",
    "CopyMetad",
    "LoadImage2D",
    "LoadImage2DD",
    "LoadImage2DDict",
    "LoadImage2Dd",
    "SaveSegmentation",
    "SaveSegmentationD",
    "SaveSegmentationDict",
    "SaveSegmentationd",
]
