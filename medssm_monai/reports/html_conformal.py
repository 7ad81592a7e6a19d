"""The section of a page on calibrated thresholds: what was promised, and what came of it on these images."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from ..metrics.conformal_words import as_percent, empty_means, full_means
from ..visualize.coverage import plot_promise
from .conformal import beside_promise, calibrated_on, stated_for
from .html_images import chart, png_source
from .html_markup import Html, element, stack, table
from .html_page import Section
from .page import format_interval, format_number

__all__ = ["conformal_sections"]

MANY = 12  # classes, above which a chart is as long as the table


def conformal_sections(summary: Mapping[str, Any]) -> list[Section]:
    """The section of the sets of a classification, or of the masks of a segmentation; none without a calibration.

    Args:
        summary: of the evaluation; ``conformal`` as :func:`~.conformal.summarize_sets` or
            :func:`~.conformal.summarize_risk` gives it.
    """
    found = summary.get("conformal")
    if found is None:
        return []
    parts = _sets(found, summary["name"]) if "coverage" in found else _risk(found, summary["name"])
    return [Section("uncertainty", "Uncertainty that holds", stack([element("p", calibrated_on(found)), *parts]))]


def _verdict(entry: Mapping[str, float], promised: float, broken: str, of: str = "") -> Html:
    """Whether the promise is kept, as far as the interval tells; in a box where it is surely not."""
    about = f"{of}: " if of else ""
    place = beside_promise(entry, promised)
    if place == broken:
        said = f"{about}Not kept: the whole interval lies {place} {as_percent(promised)}."
        return element("p", element("strong", said), class_="warning")
    if place == "not told apart":
        said = f"{about}Neither kept nor broken for sure: the interval holds {as_percent(promised)}."
    else:
        said = f"{about}Kept: the whole interval lies {place} {as_percent(promised)}."
    return element("p", element("strong", said))


def _share(entry: Mapping[str, float], key: str = "value") -> str:
    return f"{100 * entry[key]:.1f} %"


def _sets(found: Mapping[str, Any], part: str) -> list[Html]:
    level, percent = found["calibration"]["level"], f"{found['confidence']:.0%}"
    whole, classes = found["coverage"], found["per_class"]
    promised = (
        f"Promised: the set of classes of an image holds the true one in {as_percent(level)} of the images, "
        f"{stated_for(found).replace('`', '')}. Found on the {part} part: {_share(whole)} ({whole['covered']} of "
        f"{whole['images']} images; {percent} interval, Clopper-Pearson, {_share(whole, 'low')} to "
        f"{_share(whole, 'high')})."
    )
    rows = [("all classes", whole), *classes.items()]
    cells = [
        [
            name,
            entry["images"],
            format_number(entry["value"]),
            _interval(entry),
            beside_promise(entry, level),
        ]
        for name, entry in rows
    ]
    head = ["images of", "images", "coverage", f"{percent} interval", f"against {as_percent(level)}"]
    drawn = [(name, entry["value"], entry["low"], entry["high"]) for name, entry in rows]
    by_class = found["calibration"]["method"] == "lac_by_class"  # then each class has the promise, not their mean
    verdicts = [_verdict(entry, level, "below", name) for name, entry in classes.items() if entry["images"]]
    if not by_class:
        verdicts = [_verdict(whole, level, "below")]
    parts = [element("p", promised), *verdicts, table("Coverage of the sets", head, cells)]
    if len(classes) <= MANY:
        parts.append(_chart(drawn, level, True, "coverage of the sets"))
    images = max(1, whole["images"])
    sizes = [
        [_size(int(size), len(classes)), count, f"{100 * count / images:.1f} %"]
        for size, count in found["sizes"].items()
        if count or int(size) <= 1 or int(size) == len(classes)
    ]
    of_sizes = f"Sizes of the sets: {format_number(found['mean_size'])} classes on average"
    parts.append(table(of_sizes, ["classes in the set", "images", "share"], sizes))
    if found["single"]:
        right = f"A set of one class is right in {100 * found['single_accuracy']:.1f} % of the images that have one."
        parts.append(element("p", right))
    meaning = [("An empty set", empty_means()), ("A set of all classes", full_means())]
    lines = stack(element("li", element("strong", f"{what}: "), f"{says}.") for what, says in meaning)
    return [*parts, element("ul", lines)]


def _size(size: int, classes: int) -> str:
    return {0: "none (empty)", classes: f"{size} (all)"}.get(size, str(size))


def _risk(found: Mapping[str, Any], part: str) -> list[Html]:
    risk = found["risk"]
    promised = (
        f"Promised: masks at the calibrated threshold miss on average at most {as_percent(risk)} of an image's "
        f"foreground of a class, over the images that show it. Found on the {part} part:"
    )
    rows, drawn, verdicts = [], [], []
    for name, entry in found["classes"].items():
        missed = entry["missed"]
        share = {"value": missed["mean"], "low": missed["low"], "high": missed["high"]}
        verdicts.append(element("p", f"{name}: {_share(share)} missed."))
        verdicts.append(_verdict(share, risk, "above"))
        drawn.append((name, share["value"], share["low"], share["high"]))
        figures = [cell for key in ("missed", "marked") for cell in _figure(entry[key])]
        rows.append([name, f"{entry['threshold']:g}", entry["images"], *figures, beside_promise(share, risk)])
    head = ["class", "threshold", "images", "missed (1 - recall)", "95% interval", "marked / labeled", "95% interval"]
    wide = table("What the controlled masks miss", [*head, f"against {as_percent(risk)}"], rows, kind="wide")
    parts = [element("p", promised), *verdicts, wide]
    if len(rows) <= MANY:
        parts.append(_chart(drawn, risk, False, "share of the foreground that is missed"))
    said = (
        "The threshold is that of the probability, above which a pixel is marked. The mean is over images: a single "
        "one may miss more. Nothing is promised of what is marked wrongly; marked / labeled says how much larger than "
        "the labels these masks are. The figures above are those of the plain masks."
    )
    return [*parts, element("p", said)]


def _figure(entry: Mapping[str, float]) -> tuple[str, Html]:
    return format_number(entry["mean"]), _interval(entry)


def _interval(entry: Mapping[str, float]) -> Html:
    return element("span", format_interval(dict(entry)), class_="interval")


def _chart(shares: Sequence[tuple[str, float, float, float]], promised: float, at_least: bool, what: str) -> Html:
    stream = io.BytesIO()
    plot_promise(shares, promised, at_least, what, stream)
    side = "right" if at_least else "left"
    alt = f"{what[0].upper()}{what[1:]}: points with their intervals; the dashed line is the promise, kept {side} of it"
    return element("div", chart(png_source(stream.getvalue()), alt, alt), class_="charts")
