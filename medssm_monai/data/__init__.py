"""Datalists, split files, the demo set and the 2D image reader."""

from __future__ import annotations

from .demo import DEMO, DEMO_COUNTS, DEMO_SIZE, demo_sample, prepare_demo
from .errors import DatalistError, Problem
from .image_reader import ImageReadError, Reader2D
from .images import image_datalist
from .naming import dataset_name
from .segmentation import is_demo, segmentation_datalists
from .splits import make_split, read_split

__all__ = [
    "DEMO",
    "DEMO_COUNTS",
    "DEMO_SIZE",
    "DatalistError",
    "ImageReadError",
    "Problem",
    "Reader2D",
    "dataset_name",
    "demo_sample",
    "image_datalist",
    "is_demo",
    "make_split",
    "prepare_demo",
    "read_split",
    "segmentation_datalists",
]
