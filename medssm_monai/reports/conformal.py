"""How calibrated thresholds do on the images of an evaluation: the part of a summary, and the section of its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..metrics.bootstrap import bootstrap_interval
from ..metrics.conformal import PredictionSets, set_figures
from ..metrics.conformal_risk import RiskThresholds
from ..utils.text_files import markdown_text
from .page import format_interval, format_number
from .summary import Resampling

__all__ = [
    "beside_promise",
    "calibrated_on",
    "conformal_headline",
    "conformal_section",
    "conformal_warnings",
    "coverage_warnings",
    "stated_for",
    "summarize_risk",
    "summarize_sets",
]

OF_EACH = "for the images of each class"
OF_ALL = "for all images together, not for those of each class, for which `lac_by_class` states it"
OF_CALIBRATION = ("method", "level", "threshold", "thresholds", "penalty", "free", "images", "groups", "data", "part")


def _calibration(conformal: Mapping[str, Any]) -> dict[str, Any]:
    return {key: conformal[key] for key in OF_CALIBRATION if conformal.get(key) is not None}


def summarize_sets(
    conformal: Mapping[str, Any], probabilities: np.ndarray, labels: np.ndarray, class_names: Sequence[str]
) -> dict[str, Any]:
    """Figures of the prediction sets (:func:`~medssm_monai.metrics.set_figures`) under ``calibration``, the threshold
    and where it comes from.

    Args:
        conformal: as stored with the weights.
        probabilities: ``(N, K)``.
        labels: ``(N,)``.
        class_names: K names.
    """
    sets = PredictionSets.of(conformal, class_names)
    return {"calibration": _calibration(conformal), **set_figures(sets, probabilities, labels, class_names)}


def summarize_risk(
    conformal: Mapping[str, Any],
    missed: Sequence[Mapping[str, float]],
    marked: Sequence[Mapping[str, float]],
    bootstrap: Resampling,
    groups: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Risk of the controlled masks, by class.

    Args:
        conformal: as stored with the weights.
        missed: of each image, the share of the foreground that is missed, by class; NaN where it shows none.
        marked: of each image, the pixels that are marked over those that the label has, by class; NaN as above.
        bootstrap: of the intervals.
        groups: one per image; whole groups are resampled.
    """

    def entry(values: Sequence[float]) -> dict[str, Any]:
        found = bootstrap_interval(values, groups=groups, **bootstrap)
        return {"mean": found.estimate, "low": found.low, "high": found.high}

    names = RiskThresholds.of(conformal, list(conformal["thresholds"])).thresholds
    classes = {
        name: {
            "threshold": threshold,
            "missed": entry([one[name] for one in missed]),
            "marked": entry([one[name] for one in marked]),
            "images": int(sum(not np.isnan(one[name]) for one in missed)),
        }
        for name, threshold in names.items()
    }
    return {"calibration": _calibration(conformal), "risk": round(1 - conformal["level"], 9), "classes": classes}


def conformal_warnings(conformal: Mapping[str, Any], data_name: str, part: str) -> list[str]:
    """That the images are those of the calibration, where figures say nothing of other ones."""
    if (conformal.get("data"), conformal.get("part")) != (data_name, part):
        return []
    return [f"the conformal threshold was calibrated on the {part} part of {data_name}: its figures here test nothing"]


def coverage_warnings(found: Mapping[str, Any]) -> list[str]:
    """What is surely worse than the level: coverage over all images, and of classes, for which it may not be stated;
    what masks miss of a class."""
    level = found["calibration"]["level"]
    if "classes" in found:
        return [
            f"masks whose risk is controlled miss {row['missed']['mean']:.1%} of {name} (95% interval "
            f"{row['missed']['low']:.1%} to {row['missed']['high']:.1%}), more than {found['risk']:.1%}"
            for name, row in found["classes"].items()
            if row["missed"]["low"] > found["risk"]
        ]
    rows = {"all images": found["coverage"], **{f"the class {name}": row for name, row in found["per_class"].items()}}
    return [
        f"prediction sets hold the true class in {row['value']:.1%} of {name} (95% interval {row['low']:.1%} to "
        f"{row['high']:.1%}), less than the {level:.1%} that they were calibrated for"
        for name, row in rows.items()
        if row["images"] and row["high"] < level
    ]


def conformal_headline(found: Mapping[str, Any]) -> str:
    """One line for the log."""
    level = found["calibration"]["level"]
    if "coverage" in found:
        share = found["coverage"]
        interval = f"{share['value']:.4f} (95 % interval {share['low']:.4f} to {share['high']:.4f})"
        return f"prediction sets at {level:g}: coverage {interval}, {found['mean_size']:.2f} classes on average"
    missed = ", ".join(
        f"{name} {entry['missed']['mean']:.4f} ({format_interval(entry['missed'])})"
        for name, entry in found["classes"].items()
    )
    return f"masks with at most {found['risk']:g} missed: {missed} missed"


def calibrated_on(found: Mapping[str, Any]) -> str:
    """Where the thresholds come from, as a sentence."""
    calibration = found["calibration"]
    where = f"the {calibration['part']} part of {calibration.get('data') or 'data without a name'}"
    of_groups = f" of as many groups ({calibration['groups']})" if "groups" in calibration else ""
    return f"Calibrated by {calibration['method']} on {calibration['images']} images{of_groups}, {where}."


def stated_for(found: Mapping[str, Any]) -> str:
    """For which images a coverage is stated, in words."""
    return OF_EACH if found["calibration"]["method"] == "lac_by_class" else OF_ALL


def beside_promise(entry: Mapping[str, float], promised: float) -> str:
    """Where a share lies by its interval: ``"below"``, ``"above"``, or ``"not told apart"`` from what was promised.

    Args:
        entry: ``low`` and ``high``; NaN tells nothing.
        promised: the share.
    """
    if entry["high"] < promised:
        return "below"
    return "above" if entry["low"] > promised else "not told apart"


def conformal_section(found: Mapping[str, Any]) -> list[str]:
    """The section of a page in Markdown."""
    lines = _sets(found) if "coverage" in found else _risk(found)
    return ["## Conformal prediction", "", markdown_text(calibrated_on(found)), "", *lines, ""]


def _sets(found: Mapping[str, Any]) -> list[str]:
    percent = f"{found['confidence']:.0%}"
    lines = [
        f"Sets are to hold the true class in {found['calibration']['level']:.1%} of the images.",
        "",
        f"| images of | images | coverage | {percent} interval (Clopper-Pearson) |",
        "|---|---|---|---|",
    ]
    for name, entry in {"**all classes**": found["coverage"], **_marked(found["per_class"])}.items():
        lines.append(f"| {name} | {entry['images']} | {format_number(entry['value'])} | {format_interval(entry)} |")
    sizes = ", ".join(f"{size}: {count}" for size, count in found["sizes"].items() if count)
    return [
        *lines,
        "",
        f"- Mean set size: {format_number(found['mean_size'])} (images by size: {sizes})",
        f"- Empty sets: {found['empty']:.1%}; sets with all classes: {found['full']:.1%}",
        f"- Sets with one class: {found['single']:.1%}, which is right in {format_number(found['single_accuracy'])}",
        f"- The coverage is stated {stated_for(found)}",
    ]


def _risk(found: Mapping[str, Any]) -> list[str]:
    lines = [
        f"Masks are to miss at most {found['risk']:.1%} of an image's foreground on average, over the images that show "
        "the class.",
        "",
        "| class | threshold | images | missed (1 - recall) | 95% interval | marked / labeled | 95% interval |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, entry in _marked(found["classes"]).items():
        cells = [
            f"{entry['threshold']:g}",
            str(entry["images"]),
            *(text for key in ("missed", "marked") for text in _figure(entry[key])),
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _figure(entry: Mapping[str, float]) -> tuple[str, str]:
    return format_number(entry["mean"]), format_interval(dict(entry))


def _marked(entries: Mapping[str, Any]) -> dict[str, Any]:
    return {markdown_text(name): entry for name, entry in entries.items()}
