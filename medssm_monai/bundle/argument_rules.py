"""What the values of a settings file may be, and the arguments of this package's networks that come from one."""

from __future__ import annotations

import inspect
import json
import math
import re
import typing
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

__all__ = [
    "ARGUMENT_RULES",
    "MOST_PARAMETERS",
    "Rule",
    "either",
    "flag",
    "names",
    "network_arguments",
    "number",
    "numbers",
    "plain",
    "require_affordable",
    "settings_arguments",
    "text",
    "whole",
    "wholes",
    "word",
    "wrong_argument",
]

WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
LONGEST_TEXT = 300
TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # show a text in another order than it has


@dataclass(frozen=True)
class Rule:
    """What a value may be.

    Attributes:
        fits: whether a value is that.
        expected: the same in words, for the error.
    """

    fits: Callable[[Any], bool]
    expected: str


def _is_whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_number(value: Any, low: float, high: float) -> bool:
    real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return real and low <= value <= high and math.isfinite(value)


def whole(low: int, high: int) -> Rule:
    """A whole number within the bounds."""
    return Rule(lambda value: _is_whole(value, low, high), f"a whole number from {low} to {high}")


def wholes(low: int, high: int, fewest: int, most: int) -> Rule:
    """A list of whole numbers within the bounds."""
    return _listed(whole(low, high), f"whole numbers from {low} to {high}", fewest, most)


def number(low: float, high: float) -> Rule:
    """A finite number within the bounds."""
    return Rule(lambda value: _is_number(value, low, high), f"a number from {low:g} to {high:g}")


def numbers(low: float, high: float, fewest: int, most: int) -> Rule:
    """A list of finite numbers within the bounds."""
    return _listed(number(low, high), f"numbers from {low:g} to {high:g}", fewest, most)


def _listed(rule: Rule, kind: str, fewest: int, most: int) -> Rule:
    return Rule(
        lambda value: isinstance(value, (list, tuple)) and fewest <= len(value) <= most and all(map(rule.fits, value)),
        f"a list of {_span(fewest, most)} {kind}",
    )


def _span(fewest: int, most: int) -> str:
    return str(fewest) if fewest == most else f"{fewest} to {most}"


def flag() -> Rule:
    """True or false."""
    return Rule(lambda value: isinstance(value, bool), "true or false")


def word() -> Rule:
    """A name as programs have them, which no config parser takes for an expression, a reference or a macro."""
    return Rule(
        lambda value: isinstance(value, str) and WORD.fullmatch(value) is not None,
        "a word of letters, digits, _, . and - that starts with a letter or digit",
    )


def _is_text(value: Any) -> bool:
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST_TEXT:
        return False
    return not any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") or letter in TURNING for letter in value)


def text() -> Rule:
    """A text that a person reads on one line."""
    return Rule(_is_text, f"a text of 1 to {LONGEST_TEXT} characters without control characters")


def names(fewest: int, most: int) -> Rule:
    """A list of different texts."""

    def fits(value: Any) -> bool:
        if not isinstance(value, (list, tuple)) or not fewest <= len(value) <= most:
            return False
        different = {unicodedata.normalize("NFC", entry) for entry in value if _is_text(entry)}
        return len(different) == len(value)

    return Rule(fits, f"a list of {_span(fewest, most)} different texts without control characters, none empty")


def either(*rules: Rule) -> Rule:
    """A value that fits one of the rules."""
    return Rule(lambda value: any(rule.fits(value) for rule in rules), " or ".join(rule.expected for rule in rules))


def plain() -> Rule:
    """A word, true or false, null, a number of sane size, or a list of numbers."""
    size = 1_000_000
    rule = either(word(), flag(), Rule(lambda value: value is None, "null"), number(-size, size))
    return either(rule, numbers(-size, size, 0, 64))


MOST_PARAMETERS = 2**29
"""Parameters of a network that settings may ask for; 2 GiB in float32."""
NOTHING = Rule(lambda value: value is None, "null")
ARGUMENT_RULES: dict[str, Rule] = {
    "spatial_dims": whole(2, 3),
    "out_channels": whole(1, 256),
    "depth": whole(0, 64),
    "depths": wholes(0, 64, 1, 8),
    "decoder_depth": either(whole(0, 64), NOTHING),
    "decoder_depths": wholes(0, 64, 1, 8),
    "layers": wholes(0, 64, 1, 8),
    "exchange_rounds": whole(0, 64),
    "base_dim": whole(1, 256),
    "embed_dim": whole(1, 2048),
    "d_state": whole(1, 256),
    "expand": whole(1, 16),
    "kernel_size": whole(1, 31),
    "groups": whole(1, 512),
    "overlap": flag(),
    "spectral_gate": flag(),
    "attention_bridge": flag(),
    "fusion_bridge": flag(),
    "spectral_flow1": flag(),
    "spectral_flow2": flag(),
    "context_gate": flag(),
    "dropout": number(0, 0.99),
    "drop_path": number(0, 0.99),
    "deep_supervision": flag(),
    "instance_norm": flag(),
    "discretization": word(),
    "scan": word(),
    "block": word(),
    "init": word(),
    "fusion": word(),
    "stem": word(),
    "orders": either(word(), NOTHING),
    "strides": _listed(
        either(whole(1, 16), wholes(1, 16, 2, 3)), "whole numbers from 1 to 16, or lists of one per axis", 4, 4
    ),
    "spectral_grid": either(whole(1, 4096), NOTHING),
}
"""Argument -> what it may be. The bounds are far above what the networks are built with, and far below what stops a
computer."""
APART = {"img_size", "in_channels", "num_classes", "output", "patch_size", "pretrained_path"}
"""Arguments that have settings of their own, or name files: they have no place in ``network_args``."""
OF_SETTINGS = {"image_size": "img_size", "class_names": "num_classes", "labels": "out_channels"}
LARGE = 4
USUAL_SIZE = {2: 256, 3: 64}
"""Sides of the images for networks that take them by the number of dimensions."""
USUAL_GRID = 16
"""Places along an axis that spectral weights are stored for where ``spectral_grid`` is None in volumes."""
OWN = ("spatial_dims", "in_channels", "patch_size", "image_size", "class_names", "labels", "output")


def _channels(labels: Mapping[str, Any]) -> int:
    from ..data.labels import LabelSet  # only here: commands that stop early need no MONAI

    return LabelSet.of(labels).out_channels


COUNTED: dict[str, Callable[[Any], int]] = {"class_names": len, "labels": _channels}
"""Settings of which an argument is a number."""


@lru_cache
def network_arguments(variant: str) -> Mapping[str, Any] | None:
    """Names and defaults of the arguments that a registered network takes; None for other networks."""
    from ..registry import register  # only here, since the networks need this package

    known = register()
    if variant not in known:
        return None
    constructor: Callable[..., Any] = getattr(known, variant)
    preset = not inspect.isclass(constructor)
    cls = typing.get_type_hints(constructor)["return"] if preset else constructor
    return {name: parameter.default for name, parameter in inspect.signature(cls).parameters.items()}


def wrong_argument(variant: str, arguments: Mapping[str, Any]) -> tuple[str, Any, str] | None:
    """The first of a network's further arguments that it does not take, or not so: name, value, what is expected.

    Args:
        variant: name of the network; one that this package does not have takes any name, with plain values.
        arguments: what settings call ``network_args``.
    """
    known = network_arguments(variant)
    taken = None if known is None else sorted(set(known) - APART)
    for name, value in arguments.items():
        if not word().fits(name) or (taken is not None and name not in taken):
            return name, value, "one of the arguments " + ", ".join(taken or ()) if taken else word().expected
        rule = ARGUMENT_RULES.get(name) or plain()
        if not rule.fits(value):
            return name, value, rule.expected
    return None


def settings_arguments(variant: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a network that have settings of their own, by the names of the arguments.

    Args:
        variant: name of the network; of one that this package does not have every such setting is an argument.
        settings: of them ``spatial_dims``, ``in_channels``, ``patch_size``, ``image_size``, ``class_names``, ``labels``
            and ``output``, where they are there and the network takes them.
    """
    known = network_arguments(variant)
    given = {key: COUNTED.get(key, lambda value: value)(settings[key]) for key in OWN if key in settings}
    named = {OF_SETTINGS.get(key, key): value for key, value in given.items()}
    return {name: value for name, value in named.items() if known is None or name in known}


def require_affordable(settings: Mapping[str, Any]) -> None:
    """Refuse a network with more than :data:`MOST_PARAMETERS` parameters, counted without building it in memory.

    Counted only where a setting asks for several times as much as the network has by default.

    Args:
        settings: checked ones, ``variant``, ``network_args`` and those that become arguments.

    Raises:
        ValueError: so many parameters, or arguments that do not make a network.
    """
    variant, given = settings.get("variant"), dict(settings.get("network_args") or {})
    defaults = network_arguments(variant) if isinstance(variant, str) else None
    if not isinstance(variant, str) or defaults is None:
        return
    given |= settings_arguments(variant, settings)
    if "img_size" in defaults:
        dims = given.get("spatial_dims", defaults.get("spatial_dims", 2))
        defaults = {**defaults, "img_size": [defaults["img_size"] or USUAL_SIZE[dims]] * dims}
    if "spectral_grid" in defaults:  # None: bounded in volumes, and in pictures larger than any bound
        defaults = {**defaults, "spectral_grid": defaults["spectral_grid"] or USUAL_GRID}
    large = any(_size(given[name]) > LARGE * max(_size(defaults[name]), 1) for name in given)
    if not large and given.get("fusion", "gap") == "gap":  # other fusions have weights for every token
        return
    try:
        count = _parameters(variant, json.dumps(given, sort_keys=True))
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"no network {variant} can be built ({error}).") from error
    if count > MOST_PARAMETERS:
        raise ValueError(f"the network would have {count:,} parameters; at most {MOST_PARAMETERS:,} are built.")


@lru_cache(maxsize=32)  # the same settings are read several times in a run
def _parameters(variant: str, arguments: str) -> int:
    """How many a network has, built without memory for them; ``arguments`` as JSON."""
    import torch

    from ..registry import get_network

    with torch.device("meta"):
        return sum(parameter.numel() for parameter in get_network(variant, **json.loads(arguments)).parameters())


def _size(value: Any) -> float:
    """How much an argument asks for: a number, or the product of several."""
    if isinstance(value, (list, tuple)) and all(isinstance(entry, int) for entry in value):
        return math.prod(max(entry, 1) for entry in value)
    return float(value) if isinstance(value, (int, float)) else 0.0
