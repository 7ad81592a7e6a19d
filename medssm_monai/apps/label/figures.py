"""Figures of a training, as answers of the server hold them."""

from __future__ import annotations

import math
from pathlib import Path

from ...handlers import read_history

__all__ = ["last_figures"]


def last_figures(history: Path) -> dict[str, float | None]:
    """Figures of the last epoch of a training.

    Args:
        history: its ``history.csv``.

    Returns:
        By the names of the columns, without empty cells (no validation in that epoch); None where a figure is undefined
        (the precision of a class that was predicted nowhere), since JSON has no NaN. Empty for a table without epochs.
    """
    rows = read_history(history)
    return {key: value if math.isfinite(value) else None for key, value in rows[-1].items()} if rows else {}
