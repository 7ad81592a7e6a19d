"""What a built wheel and a source archive hold (built by setuptools alone, from a copy, without a network)."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

BUILD = """
import sys
from setuptools import build_meta
getattr(build_meta, "build_" + sys.argv[1])(sys.argv[2])
"""


@pytest.fixture(scope="module")
def source_copy(repository_root: Path, tracked_files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tracked files in a folder of their own."""
    target = tmp_path_factory.mktemp("source")
    for path in tracked_files:
        copy = target / path.relative_to(repository_root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    return target


def leave_results(source: Path) -> None:
    """What trainings and exports leave in a bundle of a checkout, which no archive may take along."""
    for name in ("models/trained/model.pt", "models/model.ts", "models/own.pt", "eval/run/report.md", "outputs/x.db"):
        path = source / "bundles" / "mamba_mis" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a result")


def build(source: Path, kind: str, out: Path) -> Path:
    done = subprocess.run([sys.executable, "-c", BUILD, kind, str(out)], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (archive,) = out.iterdir()
    return archive


def test_the_wheel_holds_the_whole_package_and_nothing_else(
    source_copy: Path, repository_root: Path, tracked_files: list[Path], tmp_path: Path
) -> None:
    leave_results(source_copy)
    wheel = build(source_copy, "wheel", tmp_path)
    assert wheel.name == "medssm_monai-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = archive.read("medssm_monai-0.1.0.dist-info/METADATA").decode()
    relative = {path.relative_to(repository_root).as_posix() for path in tracked_files}
    modules = {name for name in relative if name.startswith("medssm_monai/") and name.endswith(".py")}
    bundles = {f"medssm_monai/{name}" for name in relative if name.startswith("bundles/")}
    others = {name for name in names if ".dist-info/" not in name}
    assert others == modules | bundles | {"medssm_monai/py.typed"}
    assert {name.split("/")[0] for name in names} == {"medssm_monai", "medssm_monai-0.1.0.dist-info"}
    assert "medssm_monai-0.1.0.dist-info/licenses/LICENSE" in names
    assert "License-Expression: Apache-2.0" in metadata
    assert "Requires-Python: >=3.10" in metadata


def test_the_source_archive_holds_every_tracked_file(
    source_copy: Path, repository_root: Path, tracked_files: list[Path], tmp_path: Path
) -> None:
    archive = build(source_copy, "sdist", tmp_path)
    with tarfile.open(archive) as content:
        names = {member.name.partition("/")[2] for member in content.getmembers() if member.isfile()}
    tracked = {path.relative_to(repository_root).as_posix() for path in tracked_files}
    assert tracked - names == set()
