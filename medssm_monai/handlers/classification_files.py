"""The page and the pictures of a classification's evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medssm_monai.handlers.report_page import closing_facts, format_interval, format_number, page_head, write_page
from medssm_monai.utils.shown_names import shown_name
from medssm_monai.utils.text_files import markdown_text
from medssm_monai.utils.whole_file import replace_file

__all__ = ["write_classification_report", "write_pictures"]


def write_pictures(
    probabilities: np.ndarray, labels: np.ndarray, class_names: Sequence[str], folder: Path, bins: int
) -> list[str]:
    """Draw confusion matrix, ROC and PR curves and reliability diagram into `folder`; the names of the files."""
    from medssm_monai.visualize import plot_confusion_matrix, plot_pr_curves, plot_reliability, plot_roc_curves

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


def write_classification_report(summary: dict[str, Any], path: Path, pictures: Sequence[str] = ()) -> None:
    """The summary as a Markdown page, with the pictures that lie beside it."""
    lines = page_head(summary, "images")
    lines += ["", *_tables(summary), ""]
    positive = summary["class_names"][-1]
    areas = f"of {positive}" if len(summary["class_names"]) == 2 else "macro average of one class against the rest"
    facts = {
        "Predicted class": "the one of largest probability; confidence is that probability",
        "roc_auc, pr_auc": f"{areas}; pr_auc is the average precision",
        "macro, weighted": "mean over the classes among the labels, plain or weighted by their number of images",
        "ece": f"expected calibration error, {summary['calibration_bins']} bins of equal width; biased upwards in few "
        "images, and more so in resamples, so that its interval may lie above the value",
    }
    lines += ["", *closing_facts(summary, "images", facts)]
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
