"""The ground floor: files, folders, names and words that every room uses; it imports nothing else of this package."""

from __future__ import annotations

from .device import as_device, require_device
from .errors import root_cause, unwrapped
from .files import DiskFullError, file_sha256, keep_previous, replace_file, require_file, shown_path, writable_folder
from .kept_memory import keep_freed_memory
from .precision import chosen_precision
from .process import prepare_process
from .process_failures import join_processes
from .processes import process_rank, require_one_process, whole_batch, world_size
from .sizes import per_axis, require_axes
from .waiting_threads import sleep_while_waiting

__all__ = [
    "DiskFullError",
    "as_device",
    "chosen_precision",
    "file_sha256",
    "join_processes",
    "keep_freed_memory",
    "keep_previous",
    "per_axis",
    "prepare_process",
    "process_rank",
    "replace_file",
    "require_axes",
    "require_device",
    "require_file",
    "require_one_process",
    "root_cause",
    "shown_path",
    "sleep_while_waiting",
    "unwrapped",
    "whole_batch",
    "world_size",
    "writable_folder",
]
