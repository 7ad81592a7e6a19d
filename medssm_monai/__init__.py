"""medssm-monai: state-space (Mamba) and companion networks for medical images, as MONAI Bundles."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "get_network", "load", "register"]


def __getattr__(name: str) -> Any:
    if name in ("register", "get_network"):
        from . import registry

        return getattr(registry, name)
    if name == "load":
        from .bundle import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
