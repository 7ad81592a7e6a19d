"""Fixtures shared by all tests."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .thorough import left_out, longest_first, patient


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only ``-m thorough`` runs; the longest files come first; slow tests have time."""
    out = set(left_out(items, config.option.markexpr))
    if out:
        config.hook.pytest_deselected(items=[item for item in items if item in out])
    items[:] = longest_first([item for item in items if item not in out])
    patient(items)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real image sets, from the environment variable ``MEDSSM_DATA``."""
    named = os.environ.get("MEDSSM_DATA")
    if not named:
        pytest.skip("MEDSSM_DATA is not set; it names the folder of the real image sets")
    if not Path(named).is_dir():
        pytest.skip(f"no real image sets at {named}, which MEDSSM_DATA names")
    return Path(named)


@pytest.fixture(scope="module", autouse=True)
def _freed_memory_goes_back() -> Iterator[None]:
    """After each module: a process keeps freed memory for its next network (``medssm_monai.utils.kept_memory``), in
    every heap; after thousands of tests in one process that was 6 GB."""
    yield
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None  # GNU's
    if trim is not None:
        trim(0)
