"""A learnt filter on the two-dimensional Fourier transform of every channel."""

from __future__ import annotations

from .function import spectral_filter

__all__ = ["spectral_filter"]
