"""Tests of many minutes for one case of several: the others run where they are asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

__all__ = ["first_of", "left_out"]

MARK = "thorough"


def first_of(cases: Iterable[Any]) -> list[Any]:
    """The cases for ``parametrize``, all but the first marked ``thorough``: what is their own, other tests cover."""
    first, *others = cases
    return [first, *(pytest.param(case, marks=getattr(pytest.mark, MARK)) for case in others)]


def left_out(items: list[pytest.Item], markers: str) -> list[pytest.Item]:
    """Those of ``items`` that a run leaves out: the thorough ones, unless its ``-m`` names their mark."""
    return [] if MARK in markers else [item for item in items if item.get_closest_marker(MARK)]
