"""Chains of token-wise layers (norms, linear layers, activations) as one fused operator for CPUs."""

from __future__ import annotations

from .function import tokenwise

__all__ = ["tokenwise"]
