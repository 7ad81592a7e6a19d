"""Networks: images ``(B, C, *spatial)`` in, logits or images out."""

from __future__ import annotations

from .mamba_mis import MambaMIS, mamba_mis_b, mamba_mis_l, mamba_mis_s

__all__ = ["MambaMIS", "mamba_mis_b", "mamba_mis_l", "mamba_mis_s"]
