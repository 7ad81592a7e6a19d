"""Processes that are killed: every study has exactly one complete result in the end."""

from __future__ import annotations

import csv
import json
import sys

import pytest

from medssm_monai.apps.bulk import main

from ...bundle.tiny_bundles import MAMBA_MIS, copy_bundle
from ...bundles.bundle_runs import program
from .pictures import contents, known_secret, write_pictures

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are forked and killed by signals")


def lives(what, *words):
    done = program(["-m", "tests.apps.bulk.lives", what, *map(str, words)], words[0].parent, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def bundle(tmp_path):
    return copy_bundle(MAMBA_MIS, tmp_path)


def test_three_kills_leave_one_whole_result_for_each_study(bundle, tmp_path):
    images, out = write_pictures(tmp_path / "in", 40), known_secret(tmp_path / "killed")
    found = lives("three_kills", bundle, images, out, "--workers", "1")
    assert found["killed"] == [-9, -9, -9] and 3 <= found["left"] < 40 and found["last"] == 0
    quiet = known_secret(tmp_path / "quiet")
    assert main([str(bundle), str(images), str(quiet), "--workers", "1"]) == 0
    assert contents(out) == contents(quiet)
    assert len(list(out.glob("results/*/*/result.json"))) == 40
    assert json.loads((out / "bulk.json").read_text())["studies"]["done"] == 40


@pytest.mark.integration
def test_a_study_that_ends_its_process_three_times_is_passed_over_and_named(bundle, tmp_path):
    images, out = write_pictures(tmp_path / "in", 6), tmp_path / "out"
    found = lives("poisoned", bundle, images, out, "--workers", "1", "--names")
    assert found["ended"] == [-9, -9, -9, 3, 3]
    with open(out / "failures.csv", newline="", encoding="utf8") as stream:
        (row,) = csv.DictReader(stream)
    assert row["name"] == "Anna 1/image 3.png" and row["deaths"] == "3"
    assert row["reason"] == "its worker died 3 times (out of memory, or killed by a signal)"
    assert json.loads((out / "bulk.json").read_text())["studies"] | {"waiting": 0} == {
        **{"waiting": 0, "running": 0, "done": 5, "failed": 1, "passed": 0, "gone": 0}
    }
