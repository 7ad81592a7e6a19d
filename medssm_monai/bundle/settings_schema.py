"""What the settings beside a checkpoint may be, whoever has written them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from .argument_rules import (
    Rule,
    either,
    names,
    number,
    numbers,
    plain,
    require_affordable,
    text,
    whole,
    wholes,
    word,
    wrong_argument,
)
from .conformal_rules import HELD_OUT_RULE, wrong_conformal
from .domain_rules import wrong_domain

__all__ = ["SETTING_RULES", "check_settings"]

MOST_PIXELS = 2**24
"""Pixels or voxels that images may be resized to, 4096 x 4096 or 256 x 256 x 256."""
SIDE = 16384
MOST_CHANNELS = 64
SIZES = ("image_size", "roi_size")


def _named(value: Any) -> bool:
    from ..data.labels import wrong_labels  # only here: commands that stop early need no MONAI

    return wrong_labels(value) is None and all(text().fits(name) for name in value)


def _is_intensity(value: Any) -> bool:
    from ..data.volume_plan import check_intensity  # only here, as above

    try:
        return len(check_intensity(value)) <= MOST_CHANNELS
    except ValueError:
        return False


def _are_segments(value: Any) -> bool:
    from ..data.coded import wrong_segments  # only here, as above

    return not wrong_segments(value)


def _are_colors(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(wholes(0, 255, 3, 3).fits(color) for color in value)


NOTHING = Rule(lambda value: value is None, "null")
SETTING_RULES: dict[str, Rule] = {
    "variant": word(),
    "spatial_dims": whole(2, 3),
    "in_channels": whole(1, MOST_CHANNELS),
    "channels": wholes(1, 64, 2, 2),
    "image_size": either(whole(1, SIDE), wholes(1, SIDE, 2, 3)),
    "roi_size": either(whole(1, SIDE), wholes(1, SIDE, 2, 3)),
    "patch_size": whole(1, 512),
    "mean": either(number(-1e9, 1e9), numbers(-1e9, 1e9, 1, 64)),
    "std": either(number(1e-9, 1e9), numbers(1e-9, 1e9, 1, 64)),
    "output": word(),
    "network_args": Rule(lambda value: isinstance(value, dict), "an object with the network's further arguments"),
    "class_names": names(2, 10_000),
    "labels": Rule(_named, "names with the values that masks have there, {liver: 1, tumor: [2, 3]}"),
    "label_colors": either(NOTHING, Rule(_are_colors, "a list of [red, green, blue] from 0 to 255")),
    "segments": either(
        NOTHING,
        Rule(_are_segments, "codes of classes, {liver: {category: [value, scheme, meaning], type: [...]}}"),
    ),
    "channel_names": either(NOTHING, names(1, MOST_CHANNELS)),
    "spacing": either(NOTHING, numbers(1e-6, 1e6, 3, 3)),
    "intensity": either(
        NOTHING,
        Rule(
            _is_intensity,
            "a list of {kind: zscore} or {kind: ct, low, high, mean, std}, one per channel",
        ),
    ),
    "sources": names(2, 2),
    "temperature": number(1e-6, 1e6),
    "weights_sha256": Rule(
        lambda value: isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None,
        "64 hexadecimal digits",
    ),
    "teacher": text(),
    "trained_on": either(Rule(lambda value: value is None, "null"), text()),
    "domain": Rule(lambda value: isinstance(value, dict), "an object with text and fingerprints"),
    "held_out": HELD_OUT_RULE,
    "conformal": Rule(lambda value: isinstance(value, dict), "an object with method, level and threshold"),
}
"""Setting -> what it may be. Other keys, of bundles of your own, may hold :data:`OTHER`."""
OTHER = either(plain(), names(0, 10_000))
SHOWN = 80
RESTORE = "Restore the file that belongs to the weights."


def check_settings(settings: Mapping[str, Any], file: object, remedy: str = RESTORE) -> None:
    """Refuse settings that no training would have written.

    Args:
        settings: content of the file.
        file: its name, for the error.
        remedy: what to do, for the error.

    Raises:
        ValueError: naming the file, the key, its value and what is expected there.
    """
    for key, value in settings.items():
        rule = SETTING_RULES.get(key, OTHER)
        if not rule.fits(value):
            raise ValueError(_message(file, key, value, rule.expected, remedy))
    for key in SIZES:
        _check_size(settings, key, file, remedy)
    found = wrong_domain(settings["domain"], settings.get("spatial_dims")) if "domain" in settings else None
    if found is None and "conformal" in settings:
        found = wrong_conformal(settings["conformal"])
    if found is not None:
        raise ValueError(_message(file, *found, remedy))
    wrong = wrong_argument(settings.get("variant", ""), settings.get("network_args", {}))
    if wrong is not None:
        raise ValueError(_message(file, f"network_args, {wrong[0]}", wrong[1], wrong[2], remedy))
    try:
        require_affordable(settings)
    except ValueError as error:
        raise ValueError(f"{file}: {error} {remedy}") from error


def _check_size(settings: Mapping[str, Any], key: str, file: object, remedy: str) -> None:
    size = settings.get(key)
    if size is None:
        return
    axes = settings.get("spatial_dims", 2)
    sides = [size] * axes if isinstance(size, int) else size
    if "spatial_dims" in settings and len(sides) != axes:
        raise ValueError(_message(file, key, size, f"{axes} whole numbers, as spatial_dims is {axes}", remedy))
    if math.prod(sides) > MOST_PIXELS:
        raise ValueError(_message(file, key, size, f"sides whose product is at most {MOST_PIXELS:,}", remedy))


def _message(file: object, key: str, value: Any, expected: str, remedy: str) -> str:
    shown = repr(value)
    shown = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}…"
    return f"{file}: {key} is {shown}; expected {expected}. {remedy}"
