"""Helpers that bundle configs call: where the bundle lies, folders that are safe to write to, settings of a
model, errors that end with their cause. :mod:`.complexity` (a network's cost) is imported by its own name."""

from __future__ import annotations

from .bundle_root import find_bundle_root
from .checkpoint import load_weights, read_weights, require_fitting_weights, require_same_classes, start_from
from .checkpoint_choice import choose_checkpoint
from .console import tidy_console
from .device import as_device, require_device
from .folders import keep_previous, require_file, shown_path, writable_folder
from .interruption import end_on_signals, was_interrupted
from .model_settings import read_model_settings, update_model_settings, write_model_settings
from .root_cause import root_cause, show_root_cause, unwrapped
from .sizes import per_axis
from .user_cache import user_cache
from .whole_file import replace_file

__all__ = [
    "was_interrupted",
    "user_cache",
    "tidy_console",
    "shown_path",
    "require_device",
    "per_axis",
    "end_on_signals",
    "as_device",
    "choose_checkpoint",
    "find_bundle_root",
    "keep_previous",
    "load_weights",
    "read_model_settings",
    "read_weights",
    "replace_file",
    "require_file",
    "require_fitting_weights",
    "require_same_classes",
    "root_cause",
    "show_root_cause",
    "start_from",
    "unwrapped",
    "update_model_settings",
    "writable_folder",
    "write_model_settings",
]
