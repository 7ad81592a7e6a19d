"""Runs that were kept because a tracking server was lost: which there are, and sending them."""

from __future__ import annotations

from .main import main

__all__ = ["main"]
