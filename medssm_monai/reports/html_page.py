"""The page of an evaluation as one HTML file with everything inside: what all kinds of evaluations share."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..utils.files import replace_file
from ..utils.shown_names import shown_name
from ..utils.text_files import write_text
from .html_images import PATIENT, patient_picture
from .html_markup import Html, element, plain, stack, table
from .html_style import STYLE
from .page import WEIGHTS, format_interval, format_number, page_facts
from .sanity import FLOORS_SAY, floor_rows

__all__ = ["Section", "add_section", "case_figures", "figure_of", "interval_cell", "without_pictures", "write_html"]

PAGE = "report.html"
_HERE = "<!-- further sections -->"  # where add_section puts them
_LINKS = "<!-- further links -->"
_LEFT_OUT = element("p", "(a picture of a patient, which is in the folder of the run alone)")


class Section(NamedTuple):
    """A part of a page: anchor, title, content."""

    key: str
    title: str
    content: Html


def interval_cell(entry: Mapping[str, float], key: str = "value") -> Html:
    """A figure with its interval, where it has one."""
    shown = plain(format_number(entry[key]))
    if math.isnan(entry["low"]):
        return shown
    return Html(f"{shown} {element('span', f'({format_interval(dict(entry))})', class_='interval')}")


def figure_of(summary: Mapping[str, Any]) -> tuple[str, Mapping[str, float]]:
    """Name of the figure that an evaluation goes by, and its entry with ``value``, ``low`` and ``high``."""
    if "confusion_matrix" in summary:
        return "accuracy", summary["metrics"]["accuracy"]
    name = summary["cases_by"]
    entry = (summary["rows"]["fused"] if "rows" in summary else summary["per_image"])[name]
    return name, {**entry, "value": entry["mean"]}


def case_figures(cases: Sequence[Mapping[str, Any]], metric: str, sources: Sequence[str], seen: str) -> Html:
    """The worst, median and best cases, each with its picture.

    Args:
        cases: of ``choose_cases``.
        metric: what chose them.
        sources: the address of a picture for each case.
        seen: what the pictures show, for readers who do not see them.
    """
    figures = []
    for case, source in zip(cases, sources, strict=True):
        caption = f"{case['kind']}: {metric} {format_number(case['score'])}, {shown_name(case['image'])}"
        figures.append(patient_picture(source, f"{seen}; {caption}", caption))
    return stack(figures)


def _head(summary: Mapping[str, Any], counted: str) -> list[Html]:
    metric, entry = figure_of(summary)
    percent = f"{summary['bootstrap']['confidence']:.0%}"
    interval = f"{percent} interval {format_interval(dict(entry))}" if not math.isnan(entry["low"]) else "no interval"
    many = f"{summary['images']} {counted if summary['images'] != 1 else counted[:-1]}"
    many += f" in {summary['groups']} groups" if "groups" in summary else ""
    tiles = {metric: (format_number(entry["value"]), interval), "evaluated": (many, f"part: {summary['name']}")}
    shown = [
        element("div", element("dt", name), element("dd", value, element("small", note)))
        for name, (value, note) in tiles.items()
    ]
    lines = [element("h1", f"Evaluation: {summary['name']}")]
    lines.append(element("p", "Data: ", element("strong", summary["data"]), f". Written {summary['written']}."))
    if summary["details"].get(WEIGHTS):
        lines.append(element("p", f"Weights: {summary['details'][WEIGHTS]}"))
    return [*lines, element("dl", stack(shown), class_="key")]


def _sanity(summary: Mapping[str, Any], figures: Mapping[str, Mapping[str, float]]) -> Html:
    warnings = [
        element("p", element("strong", "Warning: "), f"{said}.", class_="warning") for said in summary["warnings"]
    ]
    parts = warnings or [element("p", "No warning.")]
    head, rows = floor_rows(summary, figures)
    if rows:
        parts += [table("This evaluation beside its floors", head, rows), element("p", FLOORS_SAY)]
    return stack(parts)


def _next(summary: Mapping[str, Any]) -> Html:
    return element("ol", stack(element("li", step) for step in summary["next_steps"]))


def _subgroups(summary: Mapping[str, Any]) -> list[Section]:
    found = summary.get("subgroups")
    if not found:
        return []
    percent, unit = f"{summary['bootstrap']['confidence']:.0%}", found["unit"]
    parts = []
    for column, values in found["columns"].items():
        rows = []
        for value, entry in values.items():
            interval = f"too few (under {found['fewest']} {unit}s)" if entry["too_few"] else format_interval(entry)
            counts = [entry["images"], *([entry["units"]] if unit == "group" else [])]
            rows.append([value, *counts, format_number(entry["mean"]), interval])
        head = [column, "images", *(["groups"] if unit == "group" else []), f"mean {found['metric']}"]
        parts.append(table(f"{found['metric']} by {column}", [*head, f"{percent} interval"], rows))
    said = f"Intervals resample {unit}s of the subgroup."
    if found["without_row"]:
        said += f" The table does not name {found['without_row']} of {summary['images']}; they are left out here."
    return [Section("subgroups", "Subgroups", stack([*parts, element("p", said)]))]


def _facts(facts: Mapping[str, Any], caption: str) -> Html:
    return table(caption, ["what", "value"], facts.items(), "facts")


def write_html(
    path: Path,
    summary: Mapping[str, Any],
    counted: str,
    figures: Mapping[str, Mapping[str, float]],
    sections: Sequence[Section],
    facts: Mapping[str, Any],
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write the page, whole or not at all.

    Args:
        path: the file.
        summary: of the evaluation, with ``next_steps`` and, where there are any, ``subgroups``.
        counted: what was evaluated ("images", "pairs").
        figures: beside which the floors stand.
        sections: of this kind of evaluation.
        facts: the settings of this kind.
        provenance: what was run with what, by name.
    """
    ran = dict(provenance or {}) or {"Versions": page_facts(summary, counted, {})["Versions"]}
    settings = {key: value for key, value in page_facts(summary, counted, facts).items() if key != "Versions"}
    every = [
        Section("sanity", "Warnings and floors", _sanity(summary, figures)),
        Section("next", "What to do next", _next(summary)),
        *sections,
        *_subgroups(summary),
        Section("settings", "Settings", _facts(settings, "How the figures were made")),
        Section("provenance", "Provenance", _facts(ran, "What ran, on what")),
    ]
    lines = []
    for section in every:
        if section.key == "settings":
            lines.append(Html(_HERE))
        lines.append(_markup(section))
    links = [Html(f"{_LINKS if section.key == 'settings' else ''}{_link(section)}") for section in every]
    title = f"Evaluation: {summary['name']} of {summary['data']}"
    head = [
        Html('<meta charset="utf-8">'),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("title", title),
        Html(f"<style>\n{STYLE}\n</style>"),
    ]
    body = [
        element("header", stack(_head(summary, counted)), element("nav", element("ul", *links), aria_label="Contents")),
        element("main", stack(lines)),
        element("footer", element("p", "Made by medssm-monai: research software, not a medical device.")),
    ]
    page = (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n{stack(head)}\n</head>\n<body>\n{stack(body)}\n</body>\n</html>\n'
    )
    with replace_file(path) as temporary:
        write_text(temporary, page)


_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def _link(section: Section) -> Html:
    return element("li", element("a", section.title, href=f"#{section.key}"))


def _markup(section: Section) -> Html:
    title = element("h2", section.title, id=f"{section.key}-title")
    return element("section", title, section.content, id=section.key, aria_labelledby=f"{section.key}-title")


def add_section(path: Path, section: Section) -> None:
    """Put a further section before the settings of a page that :func:`write_html` has written.

    Raises:
        FileNotFoundError: no such page.
        ValueError: another page.
    """
    text = path.read_text(encoding="utf-8")
    if _HERE not in text:
        raise ValueError(f"{path.name} is no page of an evaluation; evaluate again, which writes one.")
    text = text.replace(_LINKS, f"{_link(section)}{_LINKS}", 1).replace(_HERE, f"{_markup(section)}\n{_HERE}", 1)
    with replace_file(path) as temporary:
        write_text(temporary, text)


def without_pictures(text: str) -> str:
    """A page without the figures in which a patient is seen."""
    return re.sub(rf'<figure class="{PATIENT}">.*?</figure>', plain(_LEFT_OUT), text, flags=re.DOTALL)
