"""Codes of classes in settings, ``segments``: what a segment shows, as DICOM says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["CODED_FORM", "wrong_segments"]

CODED_FORM = (
    "for each {category: [value, scheme, meaning], type: [value, scheme, meaning]}, and anatomy where it is known"
)
NEEDED, KEYS = ("category", "type"), ("category", "type", "anatomy")
LONGEST_VALUE, LONGEST_SCHEME, LONGEST_MEANING = 16, 16, 64  # characters: VR SH, SH, LO


def wrong_segments(segments: Any, names: Sequence[str] | None = None) -> list[str]:
    """What is wrong with codes of classes, all of it; empty when nothing is.

    Args:
        segments: ``{name: {"category": [value, scheme, meaning], "type": [...], "anatomy": [...]}}``.
        names: of the classes that there are; None leaves them open.
    """
    if not isinstance(segments, Mapping):
        return [f"{segments!r} is no mapping of classes"]
    problems = [f"{name!r} is no class" for name in segments if names is not None and name not in names]
    return problems + [problem for name, code in segments.items() for problem in _problems(name, code)]


def _problems(name: str, code: Any) -> list[str]:
    if not isinstance(code, Mapping) or not set(NEEDED) <= set(code) <= set(KEYS):
        return [f"{name!r} has {code!r}"]
    return [f"{key} of {name!r} is {value!r}" for key, value in code.items() if not _is_coded(value)]


def _is_coded(value: Any) -> bool:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 3:
        return False
    sizes = (LONGEST_VALUE, LONGEST_SCHEME, LONGEST_MEANING)
    return all(isinstance(v, str) and 0 < len(v.strip()) <= most for v, most in zip(value, sizes, strict=True))
