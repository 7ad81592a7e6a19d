"""A tracking server that a file plays."""

from __future__ import annotations

from pathlib import Path

import pytest
from monai.utils import path_to_sqlite_uri

from ..tracking_stores import play_server


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose SQLite file plays the server: the tracker takes no address but its own file for local."""
    folder = tmp_path / "server"
    folder.mkdir()
    play_server(monkeypatch, path_to_sqlite_uri(folder / "mlruns.db"))
    return folder
