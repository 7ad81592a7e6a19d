"""Bulk inference: an archive of any size through one bundle, on one machine or many, restartable at any moment."""

from __future__ import annotations

from .main import main

__all__ = ["main"]
