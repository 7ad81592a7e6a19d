"""The bill of materials of this environment, by the command itself, run from an environment of its own."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = r"[-_.]+"

pytestmark = pytest.mark.integration


@pytest.fixture
def tool(tmp_path: Path) -> Path:
    """Interpreter of an environment that has cyclonedx-bom and what that needs, and nothing of ours."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    install = ["-m", "pip", "install", "-q", "cyclonedx-bom", "-c", str(ROOT / "constraints.txt")]
    done = subprocess.run([python, *install], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return python


def plain(name: str) -> str:
    return re.sub(PARTS, "-", name).lower()


def test_it_lists_every_installed_package_with_its_version_and_no_folder_of_this_machine(
    tmp_path: Path, tool: Path
) -> None:
    options = ["--python", sys.executable, "--output", str(tmp_path / "out")]
    command = [tool, str(ROOT / "scripts" / "sbom.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "pylibjpeg-libjpeg" in done.stdout  # GPL, of the extra dev: said at once
    text = (tmp_path / "out" / "sbom.json").read_text(encoding="utf-8")
    made = json.loads(text)
    assert (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.6")
    listed = {plain(one["name"]): one["version"] for one in made["components"]}
    root = made["metadata"]["component"]
    assert root["name"] == "medssm-monai"
    there = {(plain(one.metadata["Name"]), one.version) for one in importlib.metadata.distributions()}
    assert {name for name, _ in there} - {"medssm-monai"} <= listed.keys()
    assert set(listed.items()) <= there
    assert all(one["purl"].startswith("pkg:pypi/") for one in made["components"])
    direct = next(one for one in made["dependencies"] if one["ref"] == root["bom-ref"])["dependsOn"]
    assert any(ref.startswith("torch==") for ref in direct)
    assert str(ROOT) not in text and sys.prefix not in text
    page = (tmp_path / "out" / "licenses.md").read_text(encoding="utf-8")
    assert page.index("| pylibjpeg-libjpeg |") < page.index("| certifi |") < page.index("| numpy |")
