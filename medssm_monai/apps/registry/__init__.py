"""The MLflow registry: weights as versions of a model that MLflow loads and serves, and the champion among them."""

from __future__ import annotations

from .main import main

__all__ = ["main"]
