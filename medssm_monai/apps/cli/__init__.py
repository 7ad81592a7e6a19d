"""The command ``medssm``: one word for each thing that the package does, thin over the modules that do it."""

from __future__ import annotations

from .main import main

__all__ = ["main"]
