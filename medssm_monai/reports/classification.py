"""The evaluation of a classification: what is kept of an image, the figures of the data set, the files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..metrics.bootstrap import bootstrap_classification
from ..metrics.calibration import CALIBRATION_BINS
from ..metrics.classification import (
    PER_CLASS_METRICS,
    classification_metrics,
    confusion_matrix,
    per_class_metrics,
    undefined_metrics,
)
from ..metrics.predictions import as_predictions
from ..utils.files import replace_file
from ..utils.shown_names import shown_name
from ..utils.text_files import markdown_text
from .conformal import conformal_section
from .page import (
    closing_facts,
    format_interval,
    format_number,
    next_list,
    page_head,
    subgroup_tables,
    write_page,
)
from .sanity import Floors, classification_floors, sanity_section
from .summary import Resampling, common_groups

__all__ = [
    "ClassifiedImage",
    "classification_facts",
    "summarize_classification",
    "write_classification_report",
    "write_pictures",
]

SHOWN_ERRORS = 5


@dataclass
class ClassifiedImage:
    """What is kept of one image: its file, probabilities ``(K,)``, class number and, where known, patient or lesion."""

    name: str
    probabilities: np.ndarray
    label: int
    group: str | None = None


def summarize_classification(
    records: Sequence[ClassifiedImage],
    class_names: Sequence[str],
    n_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    bins: int = CALIBRATION_BINS,
    further_floors: Floors | None = None,
) -> dict[str, Any]:
    """All metrics of a data set with bootstrap intervals, and their floors.

    Args:
        records: one per image. When every record has a ``group``, whole groups are resampled.
        class_names: one per class.
        n_resamples, confidence, seed: of the bootstrap.
        bins: of the calibration error.
        further_floors: beside that of the commonest class.

    Returns:
        a dict that JSON can hold: ``images``, ``class_names``, ``metrics`` (value, low, high per name), ``per_class``
        (the same per class, with ``support``), ``confusion_matrix`` (rows are labels), ``undefined`` (reasons),
        ``mean_confidence``, ``confident_errors`` (the five wrong answers of highest confidence), ``floors``,
        ``bootstrap``.

    Raises:
        ValueError: no records, or probabilities of another number of classes.
    """
    if not records:
        raise ValueError("no images were evaluated, there is nothing to summarize; check the data list.")
    probabilities = np.stack([record.probabilities for record in records])
    data = as_predictions(probabilities, [record.label for record in records], class_names)
    groups = common_groups(records)
    bootstrap: Resampling = {"n_resamples": n_resamples, "confidence": confidence, "seed": seed}
    intervals = bootstrap_classification(*data, groups=groups, bins=bins, **bootstrap)

    def entry(key: Any, value: float) -> dict[str, float]:
        return {"value": float(value), "low": intervals[key].low, "high": intervals[key].high}

    table = per_class_metrics(*data)
    summary: dict[str, Any] = {
        "images": len(records),
        "class_names": list(class_names),
        "metrics": {name: entry(name, value) for name, value in classification_metrics(*data, bins=bins).items()},
        "per_class": {
            label: {
                "support": int(table["support"][number]),
                **{name: entry((name, number), table[name][number]) for name in PER_CLASS_METRICS},
            }
            for number, label in enumerate(class_names)
        },
        "mean_confidence": float(data.confidences.mean()),
        "confusion_matrix": confusion_matrix(*data).tolist(),
        "undefined": undefined_metrics(data.labels, class_names),
        "confident_errors": _confident_errors(records, class_names),
        "floors": {
            **classification_floors(data.labels, class_names, bootstrap, groups),
            **(further_floors or {}),
        },
        "calibration_bins": bins,
        "bootstrap": {**bootstrap, "method": "percentile", "unit": "image" if groups is None else "group"},
    }
    if groups is not None:
        summary["groups"] = len(set(groups))
    return summary


def _confident_errors(records: Sequence[ClassifiedImage], class_names: Sequence[str]) -> list[dict[str, Any]]:
    """The wrong answers that the network was surest of, the surest first."""
    wrong = [record for record in records if int(record.probabilities.argmax()) != record.label]
    wrong.sort(key=lambda record: (-record.probabilities.max(), record.name))
    return [
        {
            "image": record.name,
            "label": class_names[record.label],
            "predicted": class_names[int(record.probabilities.argmax())],
            "confidence": float(record.probabilities.max()),
        }
        for record in wrong[:SHOWN_ERRORS]
    ]


def write_pictures(
    probabilities: np.ndarray, labels: np.ndarray, class_names: Sequence[str], folder: Path, bins: int
) -> list[str]:
    """Draw confusion matrix, ROC and PR curves and reliability diagram into ``folder``; the names of the files."""
    from ..visualize import plot_confusion_matrix, plot_pr_curves, plot_reliability, plot_roc_curves

    pictures = {
        "confusion_matrix.png": lambda path: plot_confusion_matrix(probabilities, labels, path, class_names),
        "roc_curves.png": lambda path: plot_roc_curves(probabilities, labels, path, class_names),
        "pr_curves.png": lambda path: plot_pr_curves(probabilities, labels, path, class_names),
        "reliability.png": lambda path: plot_reliability(probabilities, labels, path, bins=bins),
    }
    for name, draw in pictures.items():
        with replace_file(folder / name) as temporary:
            draw(temporary)
    return list(pictures)


def _tables(summary: dict[str, Any]) -> list[str]:
    percent = f"{summary['bootstrap']['confidence']:.0%}"
    lines = [f"| metric | value | {percent} interval |", "|---|---|---|"]
    for name, entry in summary["metrics"].items():
        lines.append(f"| {name} | {format_number(entry['value'])} | {format_interval(entry)} |")
    names = [name for name in next(iter(summary["per_class"].values())) if name != "support"]
    lines += ["", f"| class against the rest ({percent} interval) | images | {' | '.join(names)} |"]
    lines.append("|---" * (len(names) + 2) + "|")
    for label, row in summary["per_class"].items():
        cells = [f"{format_number(row[name]['value'])} ({format_interval(row[name])})" for name in names]
        lines.append(f"| {markdown_text(label)} | {row['support']} | {' | '.join(cells)} |")
    lines += ["", f"| label \\ predicted | {' | '.join(map(markdown_text, summary['class_names']))} |"]
    lines.append("|---" * (len(summary["class_names"]) + 1) + "|")
    for label, counts in zip(summary["class_names"], summary["confusion_matrix"], strict=True):
        lines.append(f"| {markdown_text(label)} | {' | '.join(map(str, counts))} |")
    return lines


def classification_facts(summary: Mapping[str, Any]) -> dict[str, Any]:
    """What the figures mean."""
    positive = summary["class_names"][-1]
    areas = f"of {positive}" if len(summary["class_names"]) == 2 else "macro average of one class against the rest"
    return {
        "Predicted class": "the one of largest probability; confidence is that probability",
        "roc_auc, pr_auc": f"{areas}; pr_auc is the average precision",
        "macro, weighted": "mean over the classes among the labels, plain or weighted by their number of images",
        "ece": f"expected calibration error, {summary['calibration_bins']} bins of equal width; biased upwards in few "
        "images, and more so in resamples, so that its interval may lie above the value",
    }


def write_classification_report(summary: dict[str, Any], path: Path, pictures: Sequence[str] = ()) -> None:
    """The summary as a Markdown page, with the pictures that lie beside it."""
    lines = page_head(summary, "images")
    lines += ["", *_tables(summary), "", *sanity_section(summary, summary["metrics"])]
    lines += conformal_section(summary["conformal"]) if "conformal" in summary else []
    lines += [*next_list(summary), *subgroup_tables(summary)]
    facts = classification_facts(summary)
    lines += ["## Settings", "", *closing_facts(summary, "images", facts)]
    if summary["confident_errors"]:
        lines += ["", "Errors of highest confidence, the cases to look at first:", ""]
        lines += [
            f"- {markdown_text(shown_name(error['image']))}: {markdown_text(error['label'])} taken for "
            f"{markdown_text(error['predicted'])} ({error['confidence']:.3f})"
            for error in summary["confident_errors"]
        ]
    for picture in pictures:
        lines += ["", f"![{Path(picture).stem.replace('_', ' ')}]({picture})"]
    write_page(lines, path)
