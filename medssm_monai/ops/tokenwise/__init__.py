"""Chains of token-wise layers (norms, linear layers, activations) as one fused operator for CPUs."""

from __future__ import annotations

from .function import is_hooked, tokenwise

__all__ = ["is_hooked", "tokenwise"]
