"""Helpers that bundle configs call: where the bundle lies, and folders that are safe to write to."""

from __future__ import annotations

from .bundle_root import find_bundle_root
from .folders import keep_previous, require_file, writable_folder

__all__ = ["find_bundle_root", "keep_previous", "require_file", "writable_folder"]
