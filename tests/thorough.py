"""Further cases of tests that take their time run where they are asked for; the longest files come first, and slow
tests have time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

__all__ = ["first_of", "left_out", "longest_first", "patient"]

MARK = "thorough"
LONGEST = (
    "test_from_nothing.py",
    "test_export.py",
    "test_docs.py",
    "test_readme.py",
    "test_flare.py",
    "test_torchrun.py",
    "test_interruptions.py",
    "test_export_classes.py",
    "test_resume.py",
    "test_viewer.py",
    "test_label_server.py",
)
"""Files of the slow set, those that take longest first."""
LIMIT = 1800
"""Seconds that a test of the slow set may take: before the first of a file, an environment may have to be made."""


def first_of(cases: Iterable[Any]) -> list[Any]:
    """The cases for ``parametrize``, all but the first marked ``thorough``: what is their own, other tests cover."""
    first, *others = cases
    return [first, *(pytest.param(case, marks=getattr(pytest.mark, MARK)) for case in others)]


def left_out(items: list[pytest.Item], markers: str) -> list[pytest.Item]:
    """Those of ``items`` that a run leaves out: the thorough ones, unless its ``-m`` names their mark."""
    return [] if MARK in markers else [item for item in items if item.get_closest_marker(MARK)]


def longest_first(items: list[pytest.Item]) -> list[pytest.Item]:
    """``items``, those of the longest files in front: a process that takes such a file last lets the others wait."""
    return sorted(items, key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def patient(items: list[pytest.Item]) -> None:
    """Give tests of the slow set their time limit, where they have none of their own."""
    for item in items:
        if item.get_closest_marker("integration") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(LIMIT))
