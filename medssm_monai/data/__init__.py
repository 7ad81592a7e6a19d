"""Datalists, split files, the demo sets and the 2D image reader."""

from __future__ import annotations

from .class_demo import CLASS_DEMO_COUNTS, CLASS_DEMO_SIZE, class_demo_sample, prepare_class_demo
from .class_splits import write_split
from .classification import classification_datalists
from .demo import DEMO, DEMO_COUNTS, DEMO_SIZE, demo_sample, prepare_demo
from .errors import DatalistError, Problem
from .fusion import fusion_datalists
from .fusion_demo import (
    FUSION_DEMO_COUNTS,
    FUSION_DEMO_SIZE,
    FUSION_DEMO_SOURCES,
    fusion_demo_sample,
    prepare_fusion_demo,
)
from .image_fit import require_fitting_images
from .image_reader import ImageReadError, Reader2D
from .images import image_datalist
from .limits import TooLargeError
from .mask import MaskValuesError
from .naming import dataset_name
from .pairs import pair_datalist
from .root import is_demo
from .samples import ClassificationDatalists
from .segmentation import segmentation_datalists
from .splits import make_split, read_split
from .tolerant import TolerantDataset, keep_items
from .when_used import WhenUsed

__all__ = [
    "CLASS_DEMO_COUNTS",
    "CLASS_DEMO_SIZE",
    "ClassificationDatalists",
    "class_demo_sample",
    "classification_datalists",
    "prepare_class_demo",
    "write_split",
    "DEMO",
    "DEMO_COUNTS",
    "DEMO_SIZE",
    "DatalistError",
    "FUSION_DEMO_COUNTS",
    "FUSION_DEMO_SIZE",
    "FUSION_DEMO_SOURCES",
    "ImageReadError",
    "MaskValuesError",
    "Problem",
    "Reader2D",
    "TolerantDataset",
    "TooLargeError",
    "WhenUsed",
    "dataset_name",
    "demo_sample",
    "fusion_datalists",
    "fusion_demo_sample",
    "image_datalist",
    "is_demo",
    "keep_items",
    "make_split",
    "pair_datalist",
    "prepare_demo",
    "prepare_fusion_demo",
    "read_split",
    "require_fitting_images",
    "segmentation_datalists",
]
