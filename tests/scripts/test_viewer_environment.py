"""The environment of the viewer: what is installed into it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .test_constraints import PYTHONS, pinned_version, pins, tomllib

OTHERS = {"pillow"}
"""Packages of which the viewer takes another version than the tests."""


@pytest.mark.parametrize("python", PYTHONS)
def test_pins_are_those_of_the_tests_but_for_pillow(repository_root: Path, python: str) -> None:
    tested = pins(repository_root, python)
    viewer = pins(repository_root, python, "constraints-viewer.txt")
    shared = tested.keys() & viewer.keys() - OTHERS
    assert len(shared) > 100
    assert [name for name in sorted(shared) if str(tested[name].specifier) != str(viewer[name].specifier)] == []
    assert pinned_version(viewer["pillow"]).major == 12  # what Gradio allows; equal pins would need no environment
    if python != "3.10":
        assert pinned_version(tested["pillow"]).major == 13


@pytest.mark.parametrize("python", PYTHONS)
def test_pins_are_what_the_project_and_its_viewer_extra_want(repository_root: Path, python: str) -> None:
    project = tomllib.loads((repository_root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    viewer = pins(repository_root, python, "constraints-viewer.txt")
    for text in [*project["dependencies"], *project["optional-dependencies"]["viewer"]]:
        wanted = Requirement(text)
        version = pinned_version(viewer[canonicalize_name(wanted.name)])
        assert version.local is None
        assert version in wanted.specifier, text


def test_dry_run_shows_the_commands_and_changes_nothing(repository_root: Path, tmp_path: Path) -> None:
    script = repository_root / "scripts" / "viewer_environment.py"
    done = subprocess.run(
        [sys.executable, str(script), "--dry-run", "--venv", str(tmp_path / "venv"), "--pip-option=--no-index"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    make, install = [line for line in done.stdout.splitlines() if "] $ " in line]
    assert "-m venv" in make
    assert "[viewer]" in install and "constraints-viewer.txt" in install and "--no-index" in install
    assert not (tmp_path / "venv").exists()
