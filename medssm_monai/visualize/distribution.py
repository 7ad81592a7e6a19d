"""How the score of single images is distributed: a mean hides a few that failed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import IO

import numpy as np

from ..utils.text_files import printable
from .classification import _figure, _names
from .palette import curve_style

__all__ = ["plot_distribution"]

BINS = 20
LONGEST = 30  # letters of a name
MOST_POINTS = 400  # of a row


def plot_distribution(
    scores: Mapping[str, Sequence[float]],
    metric: str,
    path: str | os.PathLike[str] | IO[bytes],
    counted: str = "images",
) -> None:
    """Draw a histogram of one set of scores with its mean, or of several a row each: box (quartiles), mean and points.

    Args:
        scores: name -> one score per image; NaN is left out.
        metric: what the scores are, the name of the axis.
        path: picture file, or an open one.
        counted: what was scored.
    """
    from matplotlib.patches import Rectangle

    short = [name if len(name) <= LONGEST else f"{name[: LONGEST - 3]}..." for name in map(printable, scores)]
    named = list(zip(_names(short, len(short)), (_defined(values) for values in scores.values()), strict=True))
    figure = _figure(5.0, 3.2 if len(named) == 1 else 1.2 + 0.5 * len(named))
    axis = figure.subplots()
    blue, red = curve_style(0)["color"], curve_style(1)["color"]
    if len(named) == 1:
        ((_, values),) = named
        inside = len(values) > 0 and values.min() >= 0 and values.max() <= 1
        axis.hist(values, bins=BINS, range=(0, 1) if inside else None, color=blue, edgecolor="white")
        if len(values):
            axis.axvline(values.mean(), color=red, linestyle="--", label=f"mean {values.mean():.3f}")
            axis.legend(fontsize="small")
        axis.set_ylabel(counted)
    else:
        places = range(len(named), 0, -1)
        draw = np.random.default_rng(0)  # heights of the points; nothing else is random
        for place, (_, values) in zip(places, named, strict=True):
            shown = values[np.linspace(0, len(values) - 1, min(len(values), MOST_POINTS)).astype(int)]
            axis.plot(shown, place + draw.uniform(-0.15, 0.15, len(shown)), ".", color=blue, alpha=0.4, markersize=4)
            if len(values):
                low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
                axis.add_patch(Rectangle((low, place - 0.25), high - low, 0.5, fill=False, linewidth=1.2))
                axis.plot([median, median], [place - 0.25, place + 0.25], color="black", linewidth=2)
                axis.plot(values.mean(), place, "D", color=red, markersize=5)
        axis.set_ylim(0.4, len(named) + 0.6)
        axis.set_yticks(list(places), [name for name, _ in named])
    axis.set_xlabel(metric)
    axis.grid(alpha=0.3, axis="x")
    figure.savefig(path, dpi=120, format="png" if not isinstance(path, (str, os.PathLike)) else None)


def _defined(values: Sequence[float]) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    return array[np.isfinite(array)]
