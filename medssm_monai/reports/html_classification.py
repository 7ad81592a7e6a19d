"""The page of a classification: figures, curves, confusion, calibration and cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..utils.shown_names import shown_name
from .cases import CASE_KINDS
from .classification import classification_facts
from .html_conformal import conformal_sections
from .html_images import chart, file_source, jpeg_source, patient_picture
from .html_markup import Html, element, stack, table
from .html_page import Section, interval_cell, write_html
from .page import format_interval, format_number

__all__ = ["write_classification_html"]

MANY = 6  # classes, above which a table is wide
_SEEN = {
    "confusion_matrix.png": "Confusion matrix; its numbers are in the table above",
    "roc_curves.png": "ROC curves, sensitivity over 1 - specificity; the areas are in the tables (roc_auc)",
    "pr_curves.png": "Precision over sensitivity; the average precision is in the tables (pr_auc)",
    "reliability.png": "Reliability diagram, accuracy over confidence, and how many images each bin holds",
}
_CASES_SAY = {
    "worst": "the lowest probability of the true class",
    "median": "the middle one",
    "best": "the highest",
}


def write_classification_html(
    summary: Mapping[str, Any],
    path: Path,
    charts: Sequence[str],
    pictures: Mapping[str, bytes],
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write the page.

    Args:
        summary: of ``summarize_classification``, with its cases and next steps.
        path: the file; the charts lie beside it.
        charts: file names of those that were drawn.
        pictures: image of each case as JPEG; those that have none are named alone.
        provenance: see :func:`~.html_page.write_html`.
    """
    sections = [Section("figures", "Figures", stack([_metrics(summary), _classes(summary)]))]
    answers = stack([_confusion(summary), _calibration(summary), _charts(path, charts)])
    sections.append(Section("answers", "Labels, answers and calibration", answers))
    sections += conformal_sections(summary)
    sections.append(Section("cases", "Cases", _cases(summary, pictures)))
    write_html(path, summary, "images", summary["metrics"], sections, classification_facts(summary), provenance)


def _metrics(summary: Mapping[str, Any]) -> Html:
    percent = f"{summary['bootstrap']['confidence']:.0%}"
    rows = [[name, format_number(entry["value"]), format_interval(entry)] for name, entry in summary["metrics"].items()]
    return table("All images", ["metric", "value", f"{percent} interval"], rows)


def _classes(summary: Mapping[str, Any]) -> Html:
    percent = f"{summary['bootstrap']['confidence']:.0%}"
    names = [name for name in next(iter(summary["per_class"].values())) if name != "support"]
    rows = [
        [label, row["support"], *(interval_cell(row[name]) for name in names)]
        for label, row in summary["per_class"].items()
    ]
    return table(f"Each class against the rest ({percent} interval)", ["class", "images", *names], rows, kind="wide")


def _confusion(summary: Mapping[str, Any]) -> Html:
    names = summary["class_names"]
    rows = [[name, *counts] for name, counts in zip(names, summary["confusion_matrix"], strict=True)]
    return table(
        "Confusion matrix: labels down, predicted classes across",
        ["label", *names],
        rows,
        "wide" if len(names) > MANY else None,
    )


def _charts(path: Path, charts: Sequence[str]) -> Html:
    shown = [chart(file_source(path.with_name(name)), _SEEN[name]) for name in charts if name in _SEEN]
    return element("div", stack(shown), class_="charts")


def _calibration(summary: Mapping[str, Any]) -> Html:
    ece, accuracy = summary["metrics"]["ece"], summary["metrics"]["accuracy"]
    return element(
        "p",
        f"Calibration: mean confidence {format_number(summary['mean_confidence'])}, accuracy ",
        *(interval_cell(accuracy), "; expected calibration error ", interval_cell(ece)),
        f", {summary['calibration_bins']} bins (mean distance of accuracy and confidence in a bin; 0 is calibrated).",
    )


def _cases(summary: Mapping[str, Any], pictures: Mapping[str, bytes]) -> Html:
    parts: list[Html] = []
    for kind in CASE_KINDS:
        figures = []
        for case in (case for case in summary["cases"] if case["kind"] == kind):
            said = (
                f"label: {case['label']}; answer: {case['predicted']}; probability of the label: {case['score']:.3f}; "
            )
            said += shown_name(case["image"])
            if case["image"] in pictures:
                source = jpeg_source(pictures[case["image"]])
                figures.append(patient_picture(source, f"Image of the {kind} case, {said}", said))
            else:
                figures.append(element("p", said))
        if figures:
            parts.append(element("h3", f"{kind}: {_CASES_SAY[kind]}"))
            parts.append(element("div", stack(figures), class_="small"))
    rows = [
        [shown_name(error["image"]), error["label"], error["predicted"], f"{error['confidence']:.3f}"]
        for error in summary["confident_errors"]
    ]
    if rows:
        parts.append(table("Errors of highest confidence", ["image", "label", "predicted", "confidence"], rows))
    return stack(parts or [element("p", "No case was chosen, and no answer is wrong.")])
