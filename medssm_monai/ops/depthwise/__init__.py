"""Depthwise convolutions over neighbors that a table names, as one fused operator for CPUs."""

from __future__ import annotations

from .function import Neighbors, depthwise

__all__ = ["Neighbors", "depthwise"]
