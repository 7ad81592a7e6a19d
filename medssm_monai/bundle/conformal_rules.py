"""What the ``conformal`` of a settings file may be: thresholds calibrated on images, and on how many of which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .argument_rules import Rule, either, flag, number, numbers, plain, text, whole

__all__ = ["HELD_OUT_RULE", "wrong_conformal"]

SETS, RISK = ("lac", "lac_by_class", "aps", "raps"), "crc"
NOTHING = Rule(lambda value: value is None, "null")
COUNT = whole(1, 2**53)


def _are_thresholds(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(text().fits(name) and number(0, 1).fits(threshold) for name, threshold in value.items())
    )


def _are_conditions(value: Any) -> bool:
    axes = numbers(-1e9, 1e9, 0, 8)
    return isinstance(value, Mapping) and all(
        text().fits(name) and (plain().fits(entry) or (isinstance(entry, list) and all(map(axes.fits, entry))))
        for name, entry in value.items()
    )


THRESHOLDS = Rule(_are_thresholds, "an object with a number from 0 to 1 for each class")
EVERY: dict[str, Rule] = {
    "method": Rule(lambda value: value in (*SETS, RISK), f"one of {', '.join((*SETS, RISK))}"),
    "level": number(0.5, 1),
    "images": COUNT,
    "one_per_group": flag(),
    "groups": either(NOTHING, COUNT),
    "data": either(NOTHING, text()),
    "part": text(),
    "conditions": Rule(_are_conditions, "an object with settings that the thresholds hold for"),
}
OF_SETS: dict[str, Rule] = {"threshold": number(0, 1e6), "classes": whole(2, 10_000)}
OF_CLASSES: dict[str, Rule] = {**OF_SETS, "threshold": numbers(0, 1e6, 2, 10_000)}
OF_RAPS: dict[str, Rule] = {"penalty": number(0, 1e6), "free": whole(0, 10_000)}
OF_RISK: dict[str, Rule] = {"thresholds": THRESHOLDS}


def _is_record(value: Any) -> bool:
    rules = {"share": number(0, 1), "validation": COUNT, "images": COUNT}
    return isinstance(value, Mapping) and set(value) == set(rules) and all(r.fits(value[k]) for k, r in rules.items())


HELD_OUT_RULE = Rule(_is_record, "an object with share, validation and images")


def wrong_conformal(conformal: Any) -> tuple[str, Any, str] | None:
    """The first part of a ``conformal`` that is not as a calibration writes it: its name, its value, and what is
    expected there; None when there is none."""
    if not isinstance(conformal, Mapping) or not EVERY["method"].fits(conformal.get("method")):
        return "conformal", conformal, f"an object whose method is {EVERY['method'].expected}"
    method = conformal["method"]
    own = {RISK: OF_RISK, "lac_by_class": OF_CLASSES, "raps": OF_SETS | OF_RAPS}.get(method, OF_SETS)
    rules = EVERY | own
    if set(conformal) != set(rules):
        return "conformal", conformal, f"an object with exactly {', '.join(rules)}"
    for key, rule in rules.items():
        if not rule.fits(conformal[key]):
            return f"conformal, {key}", conformal[key], rule.expected
    if method == "lac_by_class" and len(conformal["threshold"]) != conformal["classes"]:
        return "conformal, threshold", conformal["threshold"], f"a number for each of {conformal['classes']} classes"
    return None
