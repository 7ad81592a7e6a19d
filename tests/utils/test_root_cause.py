from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from medssm_monai.utils import root_cause

FAILING = """
from medssm_monai.utils import show_root_cause
show_root_cause()
show_root_cause()
try:
    int("seven")
except ValueError as error:
    raise RuntimeError("wrapped") from error
"""


def test_root_of_a_chain():
    first, second = ValueError("first"), RuntimeError("second")
    second.__cause__ = first
    assert root_cause(second) is first
    assert root_cause(first) is first


def test_traceback_ends_with_the_cause_once():
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", FAILING], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("What went wrong") == 1
    assert done.stderr.rstrip().endswith("What went wrong: ValueError: invalid literal for int() with base 10: 'seven'")
