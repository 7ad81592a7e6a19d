"""The window of a DICOM file (VOI LUT): which measured values are black and which white (PS3.3 C.11.2.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["in_window"]

CENTER, WIDTH, FUNCTION = "0028|1050", "0028|1051", "0028|1056"


def _first(meta: Mapping[str, Any], tag: str) -> float | None:
    try:
        return float(str(meta.get(tag, "")).split("\\")[0].strip())
    except ValueError:
        return None


def in_window(values: np.ndarray, meta: Mapping[str, Any]) -> np.ndarray:
    """Measured values to [0, 1], float32, by the first window that a file states.

    Args:
        values: as measured, before MONOCHROME1 turns them over.
        meta: tags of the file as ITK names them.

    Raises:
        ValueError: no window, or a width that is none.
    """
    center, width = _first(meta, CENTER), _first(meta, WIDTH)
    function = str(meta.get(FUNCTION, "")).strip() or "LINEAR"
    if center is None or width is None or width <= 0 or (function == "LINEAR" and width < 1):
        raise ValueError("states no window (Window Center, Window Width)")
    values = np.asarray(values, dtype=np.float64)
    if function == "SIGMOID":
        shown = 1 / (1 + np.exp(-4 * (values - center) / width))
    elif function == "LINEAR_EXACT":
        shown = (values - center) / width + 0.5
    elif function == "LINEAR":
        shown = (values - (center - 0.5)) / (width - 1) + 0.5 if width > 1 else values > center - 0.5
    else:
        raise ValueError(f"has a window of an unknown kind ({function})")
    return np.clip(shown, 0, 1).astype(np.float32)
