"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real image sets, from the environment variable ``MEDSSM_DATA``."""
    named = os.environ.get("MEDSSM_DATA")
    if not named:
        pytest.skip("MEDSSM_DATA is not set; it names the folder of the real image sets")
    if not Path(named).is_dir():
        pytest.skip(f"no real image sets at {named}, which MEDSSM_DATA names")
    return Path(named)
