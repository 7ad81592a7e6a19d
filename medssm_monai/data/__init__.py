"""Datalists, split files, the demo sets and the readers of images."""

from __future__ import annotations

from .cache import cached_dataset
from .datalists.classification import classification_datalists
from .datalists.classification_split_rules import write_split
from .datalists.dataset_json import dataset_channels, dataset_labels
from .datalists.fusion import fusion_datalists
from .datalists.inference import image_datalist, pair_datalist
from .datalists.samples import ClassificationDatalists
from .datalists.segmentation import segmentation_datalists
from .datalists.split_files import read_split
from .datalists.split_rules import make_split
from .demo.classification import CLASS_DEMO_COUNTS, CLASS_DEMO_SIZE, class_demo_sample, prepare_class_demo
from .demo.fusion import (
    FUSION_DEMO_COUNTS,
    FUSION_DEMO_SIZE,
    FUSION_DEMO_SOURCES,
    fusion_demo_sample,
    prepare_fusion_demo,
)
from .demo.segmentation import DEMO, DEMO_COUNTS, DEMO_SIZE, demo_sample, prepare_demo
from .demo.structures import (
    STRUCTURES_DEMO_COUNTS,
    STRUCTURES_DEMO_LABELS,
    STRUCTURES_DEMO_SIZE,
    prepare_structures_demo,
    structures_demo_sample,
)
from .errors import DatalistError, ImageReadError, Problem
from .held_out import choosing_part, held_out_part, held_out_record
from .labels import LabelSet
from .process_parts import BatchPartSampler, PartSampler, part_of_batch
from .readers.image import Reader2D
from .readers.limits import TooLargeError
from .readers.mask import MaskValuesError
from .root import dataset_name, is_demo
from .seeded import SeededDataset
from .tolerant import TolerantDataset, keep_items
from .volume_plan import given_spacing, plan_volumes
from .when_used import WhenUsed

__all__ = [
    "CLASS_DEMO_COUNTS",
    "CLASS_DEMO_SIZE",
    "DEMO",
    "DEMO_COUNTS",
    "DEMO_SIZE",
    "FUSION_DEMO_COUNTS",
    "FUSION_DEMO_SIZE",
    "FUSION_DEMO_SOURCES",
    "STRUCTURES_DEMO_COUNTS",
    "STRUCTURES_DEMO_LABELS",
    "STRUCTURES_DEMO_SIZE",
    "BatchPartSampler",
    "ClassificationDatalists",
    "DatalistError",
    "ImageReadError",
    "LabelSet",
    "MaskValuesError",
    "PartSampler",
    "Problem",
    "Reader2D",
    "SeededDataset",
    "TolerantDataset",
    "TooLargeError",
    "WhenUsed",
    "cached_dataset",
    "choosing_part",
    "class_demo_sample",
    "classification_datalists",
    "dataset_channels",
    "dataset_labels",
    "dataset_name",
    "demo_sample",
    "fusion_datalists",
    "fusion_demo_sample",
    "given_spacing",
    "held_out_part",
    "held_out_record",
    "image_datalist",
    "is_demo",
    "keep_items",
    "make_split",
    "pair_datalist",
    "part_of_batch",
    "plan_volumes",
    "prepare_class_demo",
    "prepare_demo",
    "prepare_fusion_demo",
    "prepare_structures_demo",
    "read_split",
    "segmentation_datalists",
    "structures_demo_sample",
    "write_split",
]
