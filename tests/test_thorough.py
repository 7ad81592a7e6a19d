"""Which cases a run of the slow tests takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TESTS = """
import pytest
from tests.thorough import first_of

@pytest.mark.integration
@pytest.mark.parametrize("case", first_of(["one", "two", "three"]))
def test_case(case): pass
"""
CONFTEST = "from tests.conftest import pytest_collection_modifyitems\n"


@pytest.mark.parametrize(
    ("markers", "cases"),
    [("integration", ["one"]), ("thorough", ["two", "three"]), ("integration or thorough", ["one", "two", "three"])],
)
def test_further_cases_run_where_their_mark_is_named(tmp_path: Path, markers, cases):
    (tmp_path / "test_cases.py").write_text(TESTS)
    (tmp_path / "conftest.py").write_text(CONFTEST)
    settings = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(tmp_path), "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *settings, "--collect-only", "-q", "-m", markers, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = [line.partition("[")[2][:-1] for line in done.stdout.splitlines() if "::" in line]
    assert found == cases
