"""Floors beside the figures of an evaluation, and what a reader of the figures must be warned of.

A floor is what an answer that looks at no image reaches on the same images. One mechanism for all tasks: a report puts
``floors`` and ``warnings`` into its summary, and :func:`sanity_section` writes both onto its page.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ..metrics.bootstrap import bootstrap_interval
from ..metrics.overlap import overlap_scores
from ..utils.text_files import markdown_text
from .page import format_interval, format_number
from .summary import Resampling, score_table

__all__ = [
    "FEWEST_CASES",
    "FLOORS_SAY",
    "LEAST_SPREAD",
    "LEAST_VARIATION",
    "SHARE_FACTOR",
    "Floors",
    "beside_floors",
    "classification_floors",
    "classification_warnings",
    "describe_floors",
    "few_cases",
    "floor_rows",
    "fusion_floors",
    "fusion_warnings",
    "sanity_section",
    "segmentation_floors",
    "segmentation_warnings",
]

FEWEST_CASES = 20
"""Images or pairs below which a report warns."""
LEAST_SPREAD = 0.01
"""Largest minus smallest probability, over everything evaluated, below which the output counts as constant."""
SHARE_FACTOR = 2.0
"""How many times larger, or smaller, than the labels' the mean predicted share of foreground may be."""
LEAST_VARIATION = 1 / 255
"""Largest minus smallest value of an image, of a range of [0, 1], below which it shows nothing: one step of 8 bits."""

OF_CLASSES = ("accuracy", "balanced_accuracy", "roc_auc")
OF_MASKS = ("dice", "iou")
OWN_ROW = "this evaluation"

Floors = dict[str, dict[str, dict[str, float]]]
"""Name of the floor -> metric -> ``value``, ``low``, ``high``."""


class _Segmented(Protocol):
    counts: np.ndarray
    probability_range: tuple[float, float]


class _Fused(Protocol):
    flat: bool


def few_cases(count: int, counted: str) -> list[str]:
    """A warning below :data:`FEWEST_CASES` ``counted`` ("images", "pairs")."""
    noun = counted[:-1] if count == 1 else counted
    few = f"only {count} {noun}: the figures are uncertain, and so are their intervals"
    return [few] if count < FEWEST_CASES else []


def classification_floors(
    labels: np.ndarray, class_names: Sequence[str], bootstrap: Resampling, groups: Sequence | None = None
) -> Floors:
    """What naming the commonest class of these labels for every image reaches.

    Accuracy is that class' share (with bootstrap interval), balanced accuracy one over the number of classes among the
    labels, ROC-AUC 0.5 (NaN where the labels hold one class only): the last two do not depend on the sample.

    Args:
        labels: class numbers ``(N,)``, N at least 1; the first of equally common classes counts.
        class_names: one per class.
        bootstrap: keyword arguments of ``medssm_monai.metrics.bootstrap_interval``.
        groups: one per image; whole groups are resampled.
    """
    support = np.bincount(labels, minlength=len(class_names))
    commonest, present = int(support.argmax()), int((support > 0).sum())
    accuracy = bootstrap_interval((labels == commonest).astype(np.float64), groups=groups, **bootstrap)
    entries = {"accuracy": {"value": accuracy.estimate, "low": accuracy.low, "high": accuracy.high}}
    for name, value in (("balanced_accuracy", 1 / present), ("roc_auc", 0.5 if present > 1 else float("nan"))):
        entries[name] = dict.fromkeys(("value", "low", "high"), value)
    return {f"majority class ({class_names[commonest]})": entries}


def classification_warnings(probabilities: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> list[str]:
    """Sentences about an output that does not depend on the image; none for a single image.

    Args:
        probabilities: ``(N, K)``.
        labels: ``(N,)``; where they hold one class only, naming it every time is no fault.
        class_names: one per class.
    """
    if len(labels) < 2:
        return []
    warnings = []
    answers = probabilities.argmax(axis=1)
    if (answers == answers[0]).all() and len(set(labels.tolist())) > 1:
        warnings.append(f"constant output: all {len(labels)} images get the class {class_names[int(answers[0])]}")
    spread = float(np.ptp(probabilities, axis=0).max())
    if spread < LEAST_SPREAD:
        warnings.append(
            f"constant output: the probabilities of a class differ by {spread:.2g} at most between images (bound "
            f"{LEAST_SPREAD}): the network hardly looks at them"
        )
    return warnings


def segmentation_floors(records: Sequence[_Segmented], bootstrap: Resampling, groups: Sequence | None = None) -> Floors:
    """Mean Dice and IoU per image of masks that are all foreground, and of masks that are all background.

    Empty masks count as in :func:`medssm_monai.metrics.overlap_scores`: an empty label and an empty prediction give 1.
    """
    counts = np.stack([record.counts for record in records])
    foreground, background = counts[:, 0] + counts[:, 2], counts[:, 1] + counts[:, 3]
    none = np.zeros_like(foreground)
    masks = {  # TP, FP, FN, TN
        "all foreground": np.stack([foreground, background, none, none], axis=1),
        "all background": np.stack([none, none, foreground, background], axis=1),
    }
    floors: Floors = {}
    for name, counted in masks.items():
        scores = overlap_scores(counted)
        each = [{metric: float(scores[metric][row]) for metric in OF_MASKS} for row in range(len(counts))]
        floors[name] = {metric: _entry(figure) for metric, figure in score_table(each, bootstrap, groups).items()}
    return floors


def segmentation_warnings(records: Sequence[_Segmented]) -> list[str]:
    """Sentences about masks that are all empty or all full, constant probabilities, and a wrong share of foreground.

    Nothing is said of empty masks where no label has any foreground, nor of full ones where every label is full.
    """
    counts = np.stack([record.counts for record in records]).astype(np.float64)
    tp, fp, fn, _ = counts.T
    size = counts.sum(axis=1)
    predicted, labeled = (tp + fp) / size, (tp + fn) / size
    many = "the mask is" if len(records) == 1 else f"all {len(records)} masks are"
    empty, full = (predicted == 0).all() and labeled.any(), (predicted == 1).all() and (labeled < 1).any()
    warnings = [f"constant output: {many} {kind}" for kind, found in (("empty", empty), ("full", full)) if found]
    lows, highs = zip(*(record.probability_range for record in records), strict=True)
    spread = max(highs) - min(lows)
    if spread < LEAST_SPREAD:
        warnings.append(
            f"constant output: the probabilities of all pixels lie within {spread:.2g} of one another (bound "
            f"{LEAST_SPREAD}): the network hardly looks at the images"
        )
    shares = predicted.mean(), labeled.mean()
    if not warnings and labeled.any() and not 1 / SHARE_FACTOR <= shares[0] / shares[1] <= SHARE_FACTOR:
        warnings.append(
            f"share of foreground: {shares[0]:.2%} predicted on average, {shares[1]:.2%} in the labels, more than a "
            f"factor of {SHARE_FACTOR:g} apart"
        )
    return warnings


def fusion_floors(rows: Mapping[str, Mapping[str, Mapping[str, float]]], fused: str, metric: str) -> Floors:
    """The plain fusions of a fusion's table, by the metric that ranks the cases; rows of the table hold them all."""
    return {row: {metric: _entry(figures[metric])} for row, figures in rows.items() if row != fused}


def fusion_warnings(pairs: Sequence[_Fused]) -> list[str]:
    """A sentence where fused images show nothing though their sources do."""
    flat = sum(pair.flat for pair in pairs)
    if not flat:
        return []
    return [
        f"constant output: {flat} of {len(pairs)} fused images vary by less than 1/255 of the range, their sources by "
        "more"
    ]


def _entry(figure: Mapping[str, float]) -> dict[str, float]:
    """``value``, ``low`` and ``high`` of a figure of any summary."""
    return {
        "value": figure["value"] if "value" in figure else figure["mean"],
        "low": figure["low"],
        "high": figure["high"],
    }


def beside_floors(
    figures: Mapping[str, Mapping[str, float]],
    floors: Floors,
    leads: Mapping[str, Mapping[str, Mapping[str, float]]] | None = None,
) -> list[str]:
    """A sentence for each figure that the evidence does not put above every floor.

    Args:
        figures: metric -> ``value`` or ``mean``, ``low``, ``high``. A figure without an interval (a single image) is
            compared with nothing.
        floors: of the same images.
        leads: floor -> metric -> interval of the paired difference figure minus floor, where it is known: then this
            interval has to lie above 0; else the figure's own interval above the floor's value.
    """
    sentences = []
    for metric in _metrics(floors):
        if metric not in figures:
            continue
        reached = []
        for floor, entries in floors.items():
            if leads is None:
                low, bound = figures[metric]["low"], entries[metric]["value"]
                shown = f"{floor} ({format_number(bound)})"
            else:
                low, bound = leads[floor][metric]["low"], 0.0
                shown = f"{floor} (difference {format_interval(dict(leads[floor][metric]))})"
            if low <= bound:  # not where either is undefined
                reached.append(shown)
        if reached:
            what = (
                f"the interval {format_interval(dict(figures[metric]))}" if leads is None else "the paired difference"
            )
            floor = "floors" if len(reached) > 1 else "floor"
            above = f"above the {floor}" if leads is None else f"above 0 for the {floor}"
            sentences.append(f"{metric}: {what} does not lie {above}, {', '.join(reached)}")
    return sentences


def _metrics(floors: Floors) -> list[str]:
    """All metrics of the floors, in their order."""
    return list(dict.fromkeys(metric for entries in floors.values() for metric in entries))


def describe_floors(floors: Floors) -> Iterable[str]:
    """Each floor on one line, for the log."""
    for floor, entries in floors.items():
        yield f"{floor}: " + ", ".join(f"{metric} {format_number(entry['value'])}" for metric, entry in entries.items())


FLOORS_SAY = "A floor is what an answer that looks at no image, or a plain fusion, reaches on the same images."


def floor_rows(
    summary: Mapping[str, Any], figures: Mapping[str, Mapping[str, float]]
) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table of floors, this evaluation first; no rows where there are no floors."""
    floors: Floors = summary["floors"]
    metrics = _metrics(floors)
    head = [f"({summary['bootstrap']['confidence']:.0%} interval)", *metrics]
    own = {metric: _entry(figures[metric]) for metric in metrics if metric in figures}
    rows = [
        [name, *(_cell(entries[metric]) if metric in entries else "not evaluated" for metric in metrics)]
        for name, entries in {OWN_ROW: own, **floors}.items()
    ]
    return head, rows if floors else []


def sanity_section(summary: Mapping[str, Any], figures: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The section "Sanity" of a page: floors beside the figures, and how many warnings stand at its head."""
    lines = ["## Sanity", ""]
    head, rows = floor_rows(summary, figures)
    if rows:
        lines += [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
        for name, *cells in rows:
            shown = f"**{name}**" if name == OWN_ROW else markdown_text(name)
            lines.append(f"| {shown} | {' | '.join(cells)} |")
        lines.append("")
    count = len(summary["warnings"])
    said = "No warning." if not count else f"{count} warning{'s' if count > 1 else ''}, at the head of this page."
    return [*lines, said, ""]


def _cell(entry: Mapping[str, float]) -> str:
    if entry["low"] == entry["high"] or np.isnan(entry["value"]):
        return format_number(entry["value"])
    return f"{format_number(entry['value'])} ({format_interval(dict(entry))})"
