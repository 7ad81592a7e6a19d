"""Reports of evaluations: what is kept of each item, the figures of the data set, and the files and pages to read.

Free of Ignite; :mod:`medssm_monai.handlers` fills them during an evaluation.
"""

from __future__ import annotations

from .cases import KeptPicture, case_label, case_panel, choose_cases, write_case_pictures
from .classification import ClassifiedImage, summarize_classification, write_classification_report, write_pictures
from .fusion import FusedPair, summarize_fusion, write_fusion_report, write_per_pair
from .predictions_table import prediction_row, write_predictions
from .sanity import FEWEST_CASES, Floors
from .segmentation import ImageRecord, summarize, write_per_image, write_report
from .segmentation_classes import ClassesRecord, summarize_classes, write_classes_per_image, write_classes_report
from .subgroups import SubgroupTable
from .summary import write_summary

__all__ = [
    "FEWEST_CASES",
    "ClassesRecord",
    "ClassifiedImage",
    "Floors",
    "FusedPair",
    "ImageRecord",
    "KeptPicture",
    "SubgroupTable",
    "case_label",
    "case_panel",
    "choose_cases",
    "prediction_row",
    "summarize",
    "summarize_classes",
    "summarize_classification",
    "summarize_fusion",
    "write_case_pictures",
    "write_classes_per_image",
    "write_classes_report",
    "write_classification_report",
    "write_fusion_report",
    "write_per_image",
    "write_per_pair",
    "write_pictures",
    "write_predictions",
    "write_report",
    "write_summary",
]
