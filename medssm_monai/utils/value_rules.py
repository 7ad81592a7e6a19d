"""Rules for single values of a file that may come from anywhere: a kind and a range, in words too."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Rule", "either", "flag", "names", "number", "numbers", "plain", "text", "whole", "wholes", "word"]

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
