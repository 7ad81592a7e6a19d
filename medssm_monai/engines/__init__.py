"""Engines and inferers in MONAI's style."""

from __future__ import annotations

from .bulk import BulkEvaluator

__all__ = ["BulkEvaluator"]
