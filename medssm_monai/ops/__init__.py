"""The selective scan: one call, several backends. Knows torch, and nothing of images."""

from __future__ import annotations

from .projected_scan import projected_scan
from .scan import selective_scan
from .selection import BACKEND_ENV, available_backends, backend_for, use_backend
from .small_maps import SmallMapsInFloat32

__all__ = [
    "BACKEND_ENV",
    "SmallMapsInFloat32",
    "available_backends",
    "backend_for",
    "projected_scan",
    "selective_scan",
    "use_backend",
]
