"""Engines and inferers in MONAI's style."""

from __future__ import annotations

from .autocast_inferer import AutocastInferer
from .bulk import BulkEvaluator

__all__ = ["AutocastInferer", "BulkEvaluator"]
