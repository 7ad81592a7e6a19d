"""Shares with their intervals beside what was promised: whether a calibration holds, at a glance."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import IO

import numpy as np

from ..utils.text_files import printable
from .classification import _figure, _names
from .palette import curve_style

__all__ = ["plot_promise"]

LONGEST = 30  # letters of a name


def plot_promise(
    shares: Sequence[tuple[str, float, float, float]],
    promised: float,
    at_least: bool,
    what: str,
    path: str | os.PathLike[str] | IO[bytes],
) -> None:
    """Draw a row for each share: a point with its interval; the promise is a line, the side that keeps it hatched.

    Args:
        shares: name, value, and low and high of the interval; what is NaN is left out.
        promised: the share that was promised.
        at_least: whether larger shares keep the promise; else smaller ones.
        what: the share, the name of the axis.
        path: picture file, or an open one.
    """
    short = [
        name if len(name) <= LONGEST else f"{name[: LONGEST - 3]}..." for name in (printable(row[0]) for row in shares)
    ]
    figure = _figure(6.4, 1.3 + 0.4 * len(short))
    axis = figure.subplots()
    blue, red = curve_style(0)["color"], curve_style(1)["color"]
    values = np.array([row[1:] for row in shares], dtype=np.float64).reshape(-1, 3)
    seen = np.append(values[np.isfinite(values)], promised)
    edge = max(0.03, 0.1 * float(np.ptp(seen)))
    lowest, highest = max(0.0, float(seen.min()) - edge), min(1.0, float(seen.max()) + edge)
    kept = (promised, highest) if at_least else (lowest, promised)
    axis.axvspan(*kept, facecolor="none", edgecolor="0.75", hatch="//", linewidth=0, label="promise kept")
    axis.axvline(promised, color=red, linestyle="--", label=f"promised {promised:g}")
    places = list(range(len(short), 0, -1))
    for place, (value, low, high) in zip(places, values, strict=True):
        if np.isfinite(low) and np.isfinite(high):
            axis.plot([low, high], [place, place], color=blue, linewidth=2, marker="|", markersize=9)
        if np.isfinite(value):
            axis.plot(value, place, "o", color=blue, markersize=6)
    axis.set_ylim(0.4, len(short) + 0.6)
    axis.set_xlim(lowest, highest)
    axis.set_yticks(places, _names(short, len(short)))
    axis.set_xlabel(what)
    axis.grid(alpha=0.3, axis="x")
    figure.legend(loc="outside upper center", ncols=2, fontsize="small")
    figure.savefig(path, dpi=120, format="png" if not isinstance(path, (str, os.PathLike)) else None)
