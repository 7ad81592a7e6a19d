"""A learnt filter on the Fourier transform of every channel, in two dimensions or three."""

from __future__ import annotations

from .function import spectral_filter

__all__ = ["spectral_filter"]
