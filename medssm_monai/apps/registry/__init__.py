"""The MLflow registry: weights as versions of a model that MLflow loads and serves, and which of them is the champion."""

from __future__ import annotations

from .main import main

__all__ = ["main"]
