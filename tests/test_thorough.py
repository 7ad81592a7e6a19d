"""Which cases a run of the slow tests takes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from .thorough import LONGEST

ROOT = Path(__file__).resolve().parents[1]
TESTS = """
import pytest
from tests.thorough import first_of

@pytest.mark.integration
@pytest.mark.parametrize("case", first_of(["one", "two", "three"]))
def test_case(case): pass
"""
CONFTEST = "from tests.conftest import pytest_collection_modifyitems\n"


def run(folder: Path, markers: str, *words: str) -> subprocess.CompletedProcess[str]:
    """pytest on the tests in ``folder``, with the settings and the collection of this project."""
    (folder / "conftest.py").write_text(CONFTEST)
    settings = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(folder), "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *settings, "-m", markers, *words, str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def collected(folder: Path, markers: str) -> list[str]:
    """Names of the tests in ``folder`` that a run with these markers takes, in its order."""
    done = run(folder, markers, "--collect-only", "-q")
    assert done.returncode == 0, done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if "::" in line]


@pytest.mark.parametrize(
    ("markers", "cases"),
    [("integration", ["one"]), ("thorough", ["two", "three"]), ("integration or thorough", ["one", "two", "three"])],
)
def test_further_cases_run_where_their_mark_is_named(tmp_path: Path, markers, cases):
    (tmp_path / "test_cases.py").write_text(TESTS)
    assert [line.partition("[")[2][:-1] for line in collected(tmp_path, markers)] == cases


def test_the_longest_files_come_first(tmp_path: Path):
    for name in ("test_a.py", LONGEST[1], LONGEST[0], "test_z.py"):
        (tmp_path / name).write_text(TESTS)
    found = [line.partition("::")[0] for line in collected(tmp_path, "integration")]
    assert found == [LONGEST[0], LONGEST[1], "test_a.py", "test_z.py"]


def test_the_longest_files_are_there():
    there = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    assert [name for name in LONGEST if name not in there] == []


OWN_LIMITS = """
import time
import pytest

@pytest.mark.integration
def test_slow(): time.sleep(3)

@pytest.mark.integration
@pytest.mark.timeout(1)
def test_own_limit(): time.sleep(60)

def test_quick(): time.sleep(60)
"""


def test_slow_tests_have_a_time_limit_of_their_own(tmp_path: Path):
    """Tests of the default set have the one of the settings, here a second."""
    (tmp_path / "test_limits.py").write_text(OWN_LIMITS)
    done = run(tmp_path, "", "-o", "timeout=1", "-v")
    ended = dict(re.findall(r"::(test_\w+) (PASSED|FAILED)", done.stdout))
    assert ended == {"test_slow": "PASSED", "test_own_limit": "FAILED", "test_quick": "FAILED"}, done.stdout
    assert done.stdout.count("Timeout (>1.0s)") >= 2
