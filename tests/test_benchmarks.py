"""The benchmarks run, on shapes of a few numbers: what they print is their columns, not their figures."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import loss_curves, networks, scan
from benchmarks.timing import high_water, timed

SCAN = {"device": "cpu", "dtype": "float32", "directions": 1, "discretization": "euler", "repeats": 2, "memory": False}


@pytest.mark.parametrize("kind", [scan.FORWARD, scan.TRAINING])
def test_scan_measures_every_candidate_in_every_round(monkeypatch, kind):
    monkeypatch.setitem(scan.SHAPES, "a", scan.Shape(2, 8, 4))
    monkeypatch.setattr(scan, "WARM_UP", 0.0)
    options = argparse.Namespace(**SCAN, candidates=["native", "blocked", "loop", "parallel"])
    rows = scan.measure("a", 1, kind, options, (1e9, 1e9))
    expected = ["native", "blocked", "loop", "parallel"] if kind == scan.FORWARD else ["native", "blocked", "parallel"]
    assert [row["candidate"] for row in rows] == expected
    assert all(row["repeats"] == 2 and 0 < row["ms_min"] <= row["ms"] for row in rows)
    assert rows[-1]["x_parallel"] == 1.0


def test_candidates_of_the_scan_agree():
    options = argparse.Namespace(**SCAN)
    arguments = scan.make_arguments(scan.Shape(3, 10, 4), 2, options)
    results = {}
    for name in ("blocked", "loop", "parallel"):
        function, given = scan.CANDIDATES[name].build(arguments)
        results[name] = function(*given) if name != "parallel" else function(*given).transpose(1, 2)
    torch.testing.assert_close(results["blocked"], results["loop"])
    torch.testing.assert_close(results["parallel"], results["loop"])


def test_networks_makes_a_row_for_each_and_a_table():
    options = argparse.Namespace(
        names=["mamba_mis_s"],
        compare=["MONAI U-Net"],
        loop=False,
        size=32,
        batch=2,
        repeats=1,
        device="cpu",
        passes=[networks.INFERENCE],
        memory=False,
    )
    rows = networks.measure(options)
    assert [row["network"] for row in rows] == ["mamba_mis_s", "MONAI U-Net"]
    assert rows[0]["times_the_first"] == 1.0 and 0 < rows[0]["scan_share"] < 1
    assert len(networks.table(rows).splitlines()) == 4


def test_loss_curves_give_a_loss_for_each_step(monkeypatch):
    for name, value in {"IMAGES": 2, "BATCH": 2, "SIZE": 32}.items():
        monkeypatch.setattr(loss_curves, name, value)
    images, masks = torch.rand(2, 3, 32, 32), torch.rand(2, 1, 32, 32).gt(0.5).float()
    losses = loss_curves.losses(images, masks, 1, "blocked", torch.float32, 0.0)
    assert losses.shape == (1,) and losses.isfinite().all()


def test_time_and_memory_are_positive():
    assert timed(lambda: sum(range(1000)), "cpu") > 0
    assert high_water() > 1 << 20


def test_an_unknown_shape_is_refused():
    command = [sys.executable, "-m", "benchmarks.scan", "--shapes", "z"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).resolve().parents[1])
    assert done.returncode == 2 and "invalid choice: 'z'" in done.stderr
