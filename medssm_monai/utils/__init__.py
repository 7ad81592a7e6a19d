"""Helpers that bundle configs call: where the bundle lies, folders that are safe to write to, settings of a
model, errors that end with their cause. :mod:`.complexity` (a network's cost) is imported by its own name."""

from __future__ import annotations

from .bundle_root import find_bundle_root
from .bundles import BUNDLES_VARIABLE, bundle_config, bundle_places, find_bundle, list_bundles
from .checkpoint import load_weights, read_weights, require_fitting_weights, require_same_classes, start_from
from .checkpoint_choice import choose_checkpoint
from .console import tidy_console
from .device import as_device, require_device
from .file_hash import file_sha256
from .folders import keep_previous, require_file, shown_path, writable_folder
from .interruption import end_on_signals, was_interrupted
from .known_keys import require_known_keys, unknown_keys
from .model_settings import read_model_settings, update_model_settings, write_model_settings
from .publish import publish_weights
from .root_cause import root_cause, show_root_cause, unwrapped
from .run_claim import claim_run, release_run
from .site_name import site_run_name
from .sizes import per_axis
from .weights_in_use import describe_weights, other_weights, require_weights, weights_hint
from .whole_file import DiskFullError, replace_file

__all__ = [
    "BUNDLES_VARIABLE",
    "DiskFullError",
    "as_device",
    "bundle_config",
    "bundle_places",
    "choose_checkpoint",
    "claim_run",
    "describe_weights",
    "end_on_signals",
    "file_sha256",
    "find_bundle",
    "find_bundle_root",
    "keep_previous",
    "list_bundles",
    "load_weights",
    "other_weights",
    "per_axis",
    "publish_weights",
    "read_model_settings",
    "read_weights",
    "release_run",
    "replace_file",
    "require_device",
    "require_file",
    "require_fitting_weights",
    "require_known_keys",
    "require_same_classes",
    "require_weights",
    "root_cause",
    "show_root_cause",
    "shown_path",
    "site_run_name",
    "start_from",
    "tidy_console",
    "unknown_keys",
    "unwrapped",
    "update_model_settings",
    "was_interrupted",
    "weights_hint",
    "writable_folder",
    "write_model_settings",
]
