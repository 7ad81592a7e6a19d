"""Bundles: finding one, its config, settings, weights and runs, what its commands show, and prediction from Python."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .checkpoint import load_weights, read_weights, require_fitting_weights, require_same_classes, start_from
from .console import show_root_cause, tidy_console
from .copies import copy_bundle
from .find import BUNDLES_VARIABLE, bundle_config, bundle_places, find_bundle, find_bundle_root, list_bundles
from .interruption import end_on_signals, was_interrupted
from .known_keys import require_known_keys, unknown_keys
from .publish import publish_weights
from .run_records import newest_run, note_run
from .runs import claim_run, release_run, site_run_name
from .settings import (
    read_conformal,
    read_domain,
    read_held_out,
    read_model_settings,
    update_model_settings,
    write_model_settings,
)
from .shipped import verify_shipped
from .weights import (
    bundle_weights,
    choose_checkpoint,
    describe_weights,
    other_weights,
    require_weights,
    weights_file,
    weights_hint,
)
from .work_place import work_folder

if TYPE_CHECKING:
    from .archive import pack_bundle
    from .archive_check import verify_archive
    from .autocast_inferer import AutocastInferer
    from .image_fit import require_fitting_images
    from .label_fit import require_labels_of_data
    from .network import build_network
    from .predictions import ClassificationPrediction, FusionPrediction, SegmentationPrediction
    from .predictor import Predictor, load
    from .processes import data_parallel
    from .tasks import ClassificationTask, FusionTask, SegmentationTask
    from .teacher import Teacher, load_teacher

__all__ = [
    "BUNDLES_VARIABLE",
    "AutocastInferer",
    "ClassificationPrediction",
    "ClassificationTask",
    "FusionPrediction",
    "FusionTask",
    "Predictor",
    "SegmentationPrediction",
    "SegmentationTask",
    "Teacher",
    "build_network",
    "bundle_config",
    "bundle_places",
    "bundle_weights",
    "choose_checkpoint",
    "claim_run",
    "copy_bundle",
    "data_parallel",
    "describe_weights",
    "end_on_signals",
    "find_bundle",
    "find_bundle_root",
    "list_bundles",
    "load",
    "load_teacher",
    "load_weights",
    "newest_run",
    "note_run",
    "other_weights",
    "pack_bundle",
    "publish_weights",
    "read_conformal",
    "read_domain",
    "read_held_out",
    "read_model_settings",
    "read_weights",
    "release_run",
    "require_fitting_images",
    "require_fitting_weights",
    "require_known_keys",
    "require_labels_of_data",
    "require_same_classes",
    "require_weights",
    "show_root_cause",
    "site_run_name",
    "start_from",
    "tidy_console",
    "unknown_keys",
    "update_model_settings",
    "verify_archive",
    "verify_shipped",
    "was_interrupted",
    "weights_file",
    "weights_hint",
    "work_folder",
    "write_model_settings",
]

_LATER = {
    "archive": ("pack_bundle",),
    "archive_check": ("verify_archive",),
    "autocast_inferer": ("AutocastInferer",),
    "processes": ("data_parallel",),
    "image_fit": ("require_fitting_images",),
    "label_fit": ("require_labels_of_data",),
    "network": ("build_network",),
    "predictions": ("ClassificationPrediction", "FusionPrediction", "SegmentationPrediction"),
    "predictor": ("Predictor", "load"),
    "tasks": ("ClassificationTask", "FusionTask", "SegmentationTask"),
    "teacher": ("Teacher", "load_teacher"),
}
"""Module -> names that need MONAI's transforms or networks, which take seconds to import: looked up when asked for."""


def __getattr__(name: str) -> Any:
    for module, names in _LATER.items():
        if name in names:
            return getattr(import_module(f".{module}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
