"""Engines and inferers in MONAI's style."""

from __future__ import annotations

from .bulk import BulkEvaluator
from .flipped_inferer import FlippedInferer

__all__ = ["BulkEvaluator", "FlippedInferer"]
