"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real image sets: environment variable MEDSSM_DATA, else ../shared/data beside the repository."""
    folder = Path(os.environ.get("MEDSSM_DATA") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real image sets at {folder}; set MEDSSM_DATA to their folder")
    return folder
