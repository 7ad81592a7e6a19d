"""Curves of losses and metrics over epochs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

__all__ = ["plot_curves"]

_MOST_CURVES = 6


def _is_loss(name: str) -> bool:
    return "loss" in name.lower()


def plot_curves(
    rows: Sequence[Mapping[str, float]], path: str | os.PathLike[str], metrics: Sequence[str] | None = None
) -> None:
    """
    Draw losses (left) and metrics (right) over epochs and save them as a picture.

    Uses matplotlib's Agg canvas directly: no display, and the process-wide backend stays as it is.

    Args:
        rows: one mapping per epoch with `epoch` and any numbers; a row without a number leaves it out of that curve.
        path: picture file; the suffix (`.png`, `.svg`, ...) chooses the format.
        metrics: names on the right; `None` takes the first six that are no loss, nor `lr`, `seconds`, `epoch`.

    Raises:
        ValueError: no rows, or no numbers to draw.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    names = list({name: None for row in rows for name in row if name not in ("epoch", "seconds", "lr")})
    left = [name for name in names if _is_loss(name)]
    others = [name for name in names if not _is_loss(name)]
    right = others[:_MOST_CURVES] if metrics is None else [name for name in metrics if name in others]
    panels = [(title, group) for title, group in (("loss", left), ("metric", right)) if group]
    if not panels:
        raise ValueError("nothing to draw: the history holds no losses and no metrics yet.")
    figure = Figure(figsize=(5.5 * len(panels), 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    for axis, (title, group) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for name in group:
            points = [(row["epoch"], row[name]) for row in rows if name in row]
            if points:
                axis.plot(
                    *zip(*points, strict=True), label=name, marker="o" if len(points) < 30 else None, markersize=3
                )
        axis.set_xlabel("epoch")
        axis.set_ylabel(title)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
        axis.legend(fontsize="small")
    figure.savefig(path, dpi=120)
