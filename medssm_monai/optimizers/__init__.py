"""What the optimizers of PyTorch are given: parameters in groups."""

from __future__ import annotations

from .parameter_groups import parameter_groups, require_same_groups

__all__ = ["parameter_groups", "require_same_groups"]
