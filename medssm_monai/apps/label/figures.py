"""Figures of a training, as answers of the server hold them."""

from __future__ import annotations

import csv
import math
from pathlib import Path

__all__ = ["last_figures"]


def last_figures(history: Path) -> dict[str, float | str | None]:
    """Figures of the last epoch of a training.

    Args:
        history: its ``history.csv``.

    Returns:
        By the names of the columns; None where a figure is undefined (the precision of a class that was predicted
        nowhere), since JSON has no NaN. Empty for a table without an epoch.
    """
    with open(history, newline="", encoding="utf8") as stream:
        rows = list(csv.DictReader(stream))
    return {key: _number(value) for key, value in rows[-1].items()} if rows else {}


def _number(text: str) -> float | str | None:
    try:
        value = float(text)
    except ValueError:
        return text
    return value if math.isfinite(value) else None
