"""The scripts that make environments of their own say what they would do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("script", "parts"),
    [
        ("label_environment.py", ("-m venv", "torch==", "--no-deps", "--editable")),
        ("federated_environment.py", ("-m venv", "[federated]", "--no-deps")),
    ],
)
def test_dry_run_shows_the_commands_and_changes_nothing(
    repository_root: Path, tmp_path: Path, script: str, parts: tuple[str, ...]
) -> None:
    place = str(tmp_path / "venv")
    done = subprocess.run(
        [
            sys.executable,
            str(repository_root / "scripts" / script),
            "--dry-run",
            "--venv",
            place,
            "--pip-option=--no-index",
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    commands = [line for line in done.stdout.splitlines() if "] $ " in line]
    assert [part in line for part, line in zip(parts, commands, strict=True)] == [True] * len(parts)
    assert all("--no-index" in line for line in commands[1:])
    assert not Path(place).exists()
