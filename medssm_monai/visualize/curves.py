"""Curves of losses and metrics over epochs."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .palette import curve_style

__all__ = ["best_epoch", "plot_curves"]

Rows = Sequence[Mapping[str, float]]

_MOST_CURVES = 6
_NO_CURVES = ("epoch", "seconds", "lr", "temperature", "nll", "nll_calibrated")  # of another kind or scale than scores
_SAME = 1e-5  # relative; one score computed in float32 and in float64
_LONGEST_LEGEND = 60
_FEW = 30  # epochs up to which every one gets a marker


def best_epoch(
    rows: Rows, key_metric: str, is_better: Callable[[float, float], bool] = lambda new, best: new > best
) -> tuple[int, float] | None:
    """The epoch that a training keeps, and its key metric: the first of equal ones; ``None`` without a validated epoch.

    Args:
        rows: one mapping per epoch with ``epoch`` and numbers.
        key_metric: name of the metric that decides.
        is_better: compares a new value with the best so far, as ``metric_cmp_fn`` of a MONAI evaluator.
    """
    found: tuple[int, float] | None = None
    for row in rows:
        value = row.get(key_metric, math.nan)
        if not math.isnan(value) and (found is None or is_better(value, found[1])):
            found = int(row["epoch"]), value
    return found


def _is_loss(name: str) -> bool:
    return "loss" in name.lower()


def _points(rows: Rows, name: str) -> dict[int, float]:
    return {int(row["epoch"]): row[name] for row in rows if name in row}


def _distinct(rows: Rows, names: Sequence[str]) -> dict[str, list[str]]:
    """The names whose curves differ, each with those whose curve is the same at every epoch of both."""
    groups: dict[str, list[str]] = {}
    for name in names:
        points = _points(rows, name)
        for first in groups:
            other = _points(rows, first)
            if points.keys() == other.keys() and all(
                math.isclose(value, other[epoch], rel_tol=_SAME, abs_tol=_SAME) for epoch, value in points.items()
            ):
                groups[first].append(name)
                break
        else:
            groups[name] = []
    return groups


def plot_curves(
    rows: Rows,
    path: str | os.PathLike[str],
    metrics: Sequence[str] | None = None,
    key_metric: str | None = None,
    best: tuple[int, float] | None = None,
    title: str | None = None,
) -> None:
    """Draw losses (left) and metrics (right) over epochs and save them as a picture.

    A curve that runs on another one is not drawn twice: the legend names both, or says how many are alike. Uses
    matplotlib's Agg canvas directly: no display, and the process-wide backend stays as it is.

    Args:
        rows: one mapping per epoch with ``epoch`` and any numbers; a row without a number leaves it out of that curve.
        path: picture file; the suffix (``.png``, ``.svg``, ...) chooses the format.
        metrics: names on the right; ``None`` takes the key metric and others that are neither losses nor of another
            scale (``lr``, ``seconds``, ``temperature``, ``nll``), six curves in all.
        key_metric: name of the metric that chooses the checkpoint: drawn first, and thicker.
        best: epoch and key metric of the kept checkpoint (``best_epoch``), marked in both panels.
        title: above both panels.

    Raises:
        ValueError: no rows, or no numbers to draw.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list({name: None for row in rows for name in row})
    losses = _distinct(rows, [name for name in names if _is_loss(name)])
    others = [name for name in names if name not in _NO_CURVES and not _is_loss(name)] if metrics is None else metrics
    others = sorted((name for name in others if name in names), key=lambda name: name != key_metric)
    scores = dict(list(_distinct(rows, others).items())[: _MOST_CURVES if metrics is None else None])
    panels = [panel for panel in (("loss", losses), ("metric", scores)) if panel[1]]
    if not panels:
        raise ValueError("nothing to draw: the history holds no losses and no metrics yet.")
    figure = Figure(figsize=(5.5 * len(panels), 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    if title:
        figure.suptitle(title, fontsize="medium")
    for axis, (label, curves) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for number, (name, same) in enumerate(curves.items()):
            _draw(axis, _points(rows, name), _legend(name, same), number, thick=name == key_metric)
        if best is not None:
            text = f"best epoch: {best[0]} ({key_metric} {best[1]:.4g})" if key_metric else f"best epoch: {best[0]}"
            axis.axvline(best[0], color="0.35", linestyle=(0, (1, 2)), linewidth=1.2, label=text, zorder=1)
            if key_metric in curves:
                axis.plot(*best, marker="*", color="black", markersize=12, linestyle="none", zorder=4)
        _finish(axis, label, [int(row["epoch"]) for row in rows])
    figure.savefig(path, dpi=120)


def _legend(name: str, same: Sequence[str]) -> str:
    """The curve's name with those that it also stands for, or their number where the names would not fit."""
    text = " = ".join([name, *same])
    return text if len(text) <= _LONGEST_LEGEND else f"{name} = {len(same)} other{'s' if len(same) > 1 else ''}"


def _draw(axis: Any, points: Mapping[int, float], label: str, number: int, thick: bool) -> None:
    few = len(points) < _FEW
    style = curve_style(number) | ({"marker": "o", "markersize": 4} if few else {})
    width = (2.2 if few else 1.6) if thick else 1.2
    axis.plot(list(points), list(points.values()), label=label, linewidth=width, **style)


def _finish(axis: Any, label: str, epochs: Sequence[int]) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_xlabel("epoch")
    axis.set_ylabel(label)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    room = max(0.5, 0.02 * (max(epochs) - min(epochs)))
    axis.set_xlim(min(epochs) - room, max(epochs) + room)
    axis.grid(alpha=0.3)
    axis.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.16))  # below: it hides no curve
