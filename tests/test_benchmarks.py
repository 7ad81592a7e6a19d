"""The benchmarks run, on shapes of a few numbers: what they print is their columns, not their figures."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import (
    differences,
    floors,
    gpu,
    kill_training,
    kinds_of_work,
    loss_curves,
    network_sizes,
    networks,
    parts,
    pipe,
    precision,
    profile,
    scan,
    scan_peers,
    system,
)
from benchmarks.timing import high_water, timed
from medssm_monai.networks.complexity import Complexity

ROOT = Path(__file__).resolve().parents[1]
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


@pytest.mark.parametrize(("dtype", "rounding"), [("float32", 1e-5), ("bfloat16", 2e-2)])
def test_candidates_of_the_scan_agree(dtype, rounding):
    options = argparse.Namespace(**SCAN | {"dtype": dtype})
    arguments = scan.make_arguments(scan.Shape(3, 10, 4), 2, options)
    results = {}
    for name in ("blocked", "loop", "parallel"):
        function, given = scan.CANDIDATES[name].build(arguments)
        results[name] = function(*given) if name != "parallel" else function(*given).transpose(1, 2)
    for name in ("blocked", "parallel"):
        torch.testing.assert_close(results[name], results["loop"], rtol=rounding, atol=rounding)


@pytest.mark.integration
def test_networks_makes_a_row_for_each_and_compares_with_before_first():
    words = [
        "--names",
        "mamba_mis_s",
        "--size",
        "32",
        "--batch",
        "2",
        "--compare",
        "MONAI U-Net",
        "--before",
        str(ROOT),
    ]
    options = networks.parse([*words, "--repeats", "1", "--no-memory", "--passes", networks.TRAINING])
    (group,) = networks.groups_of(options)
    with networks.Side.all(options, ROOT, options.before) as sides:
        rows = networks.measure(group, options, sides)
    assert [row["network"] for row in rows] == ["mamba_mis_s", "mamba_mis_s (before)", "MONAI U-Net"]
    assert rows[0]["times_the_first"] == 1.0 and 0 < rows[0]["scan_share"] < 1
    assert rows[0]["difference"] < 1e-3 and rows[0]["times_before"] > 0
    assert "times_before" not in rows[1] and len(networks.table(rows).splitlines()) == 5


def test_documented_networks_are_all_there_at_their_sizes():
    groups = networks.groups_of(networks.parse(["--documented"]))
    found = {(name, group.size) for group in groups for name in group.names}
    assert {("medconvmamba_t", 224), ("medspectralnet", 224), ("medspectralnet", 96)} < found
    assert {(f"mamba_mis_{size}", side) for size in "sbl" for side in (128, 256)} < found
    assert {("clinical_fmamba_2d", 256), ("clinical_fmamba_3d", 64), ("mamba_mis_3d_s", 64)} < found
    assert network_sizes.image_shape("mamba_mis_3d_s", 64) == (1, 64, 64, 64)
    assert network_sizes.image_shape("clinical_fmamba_3d", 64) == (2, 64, 64, 64)
    assert network_sizes.build("clinical_fmamba_3d", 64).spatial_dims == 3
    (alone,) = networks.groups_of(networks.parse(["--documented", "--names", "medspectralnet", "--size", "96"]))
    assert (alone.names, alone.size) == (["medspectralnet"], 96)


def test_a_folder_without_the_package_is_no_checkout(tmp_path):
    with pytest.raises(pipe.ChildError, match="holds no package medssm_monai"):
        networks.Side(tmp_path, " (before)", networks.parse([]))


def test_without_a_side_nothing_is_measured(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(networks, "ROOT", tmp_path)
    assert networks.main(["--documented"]) == 1
    assert capsys.readouterr().err.count("holds no package medssm_monai") == 1


def test_differences_are_of_all_together_and_of_the_worst_tensor():
    theirs = {"large": torch.tensor([3.0, 4.0]), "zero": torch.tensor([1e-12])}
    ours = {"large": torch.tensor([3.0, 4.4]), "zero": torch.tensor([3e-12])}
    whole, worst, name = differences.difference(ours, theirs)
    assert (whole, worst, name) == (pytest.approx(0.08), pytest.approx(0.1), "large")
    assert differences.difference(theirs, theirs)[:2] == (0.0, 0.0)
    whole, worst, name = differences.difference({"large": theirs["large"]}, {**theirs, "lost": torch.ones(1)})
    assert (worst, name) == (1.0, "lost")
    with pytest.raises(ValueError, match="shapes"):
        differences.difference({"large": torch.ones(3)}, theirs)


CHILD = """
from pipe import serve

def double(x):
    print("a word for the reader, not for the pipe")
    return 2 * x

def leave():
    raise SystemExit(3)

serve({"double": double, "leave": leave, "fail": lambda: 1 / 0})
"""


def test_a_child_answers_and_its_errors_arrive_with_their_text(tmp_path):
    program = tmp_path / "child.py"
    program.write_text(CHILD)
    with pipe.Child("the child", program, environment={"PYTHONPATH": str(ROOT / "benchmarks")}) as child:
        assert child.ask("double", x=21) == 42
        with pytest.raises(pipe.ChildError, match=r"(?s)the child, fail:.*ZeroDivisionError"):
            child.ask("fail")
        assert child.ask("double", x=1) == 2
        with pytest.raises(pipe.ChildError, match=r"ended with status 3:\n.*a word for the reader"):
            child.ask("leave")
    with pytest.raises(pipe.ChildError, match="cannot be started"):
        pipe.Child("nobody", program, python=tmp_path / "python")


def test_a_brief_call_is_warm_when_it_is_timed():
    calls = []
    assert 0 < pipe.seconds(lambda: calls.append(0), warm_up=0.01) < 1 and len(calls) > 2


def test_the_heading_names_command_versions_threads_and_repeats():
    text = system.heading(system.describe(2, 9, command=["python -m benchmarks.x", "--compare", "MONAI U-Net"]))
    assert '- command: python -m benchmarks.x --compare "MONAI U-Net"' in text
    assert f"torch {torch.__version__}" in text and "- threads: 2\n- repeats: 9 interleaved" in text


@pytest.mark.parametrize(
    ("operator", "kind"),
    [
        ("medssm::native_scan_backward", "scan"),
        ("medssm::norm_linear", "fused token-wise"),
        ("aten::addmm", "products"),
        ("aten::linear", "dispatch"),
        ("aten::convolution_backward", "convolution"),
        ("aten::convolution", "dispatch"),
        ("aten::native_layer_norm_backward", "normalization"),
        ("aten::normal_", "pointwise, sums"),
        ("aten::_fft_r2c", "FFT"),
        ("aten::copy_", "copies"),
        ("aten::replication_pad2d", "copies"),
        ("aten::upsample_bilinear2d_backward", "pooling, resampling"),
        ("aten::silu", "pointwise, sums"),
        ("aten::permute", "dispatch"),
        ("autograd::engine::evaluate_function: AddmmBackward0", "dispatch"),
    ],
)
def test_operators_by_kind_of_work(operator, kind):
    assert kinds_of_work.kind_of(operator) == kind


def test_profile_shares_out_the_time_of_a_batch():
    options = profile.parse(["--names", "mamba_mis_s", "--size", "32", "--batch", "1", "--repeats", "1"])
    (group,) = profile.groups_of(options)
    rows = profile.measure("mamba_mis_s", group, options, floors.Rates(1e9, 1e9, 1e9))
    assert [row["pass"] for row in rows] == [networks.INFERENCE, networks.TRAINING]
    for row in rows:
        assert min(row["work_ms"][kind] for kind in ("scan", "fused token-wise", "convolution", "FFT")) > 0
        assert sum(row["work_ms"].values()) >= row["ms"] * 0.999 and row["floors"] > 0
    assert rows[1]["floor_ms"]["products"] == pytest.approx(3 * rows[0]["floor_ms"]["products"])
    text = profile.table(rows)
    assert "mamba_mis_s, 32, batch 1" in text and "dispatch" in text
    assert "| `aten::" in profile.longest(rows[0], 5)


def test_floors_of_one_layer():
    layer, x = torch.nn.Linear(8, 4), torch.ones(2, 8)
    assert floors.module_bytes(layer, x) == 4 * (2 * 8 + 2 * 4 + 8 * 4 + 4)
    cost = Complexity(parameters=36, convolutions=0, token_convolutions=0, products=32, scan_flops=9 * 10)
    floor = floors.Floor.of(cost, 2, 60, floors.Rates(1e3, 1e3, 1e3), training=True)
    assert (floor.products, floor.exponentials, floor.memory) == (192.0, 40.0, 180.0)
    assert floor.milliseconds == 232.0


class Peer:
    """Stands for a live peer; answers with our own results, changed by ``spoil``."""

    def __init__(self, spoil):
        self.spoil, self.asked = spoil, []

    def ask(self, command, **given):
        self.asked.append(command)
        if command == "load":
            with np.load(given["path"]) as file:
                self.arguments = {name: torch.from_numpy(file[name]) for name in file}
        if command == "results":
            np.savez(given["path"], **self.spoil(scan_peers.expected(self.arguments)))
        return 0.25


def test_a_wrong_peer_is_named_and_not_timed(monkeypatch):
    monkeypatch.setitem(scan.SHAPES, "a", scan.Shape(2, 8, 4))
    peers = {
        "ours": Peer(lambda right: right),
        "mambapy": Peer(lambda right: {**right, "dA": 1.01 * right["dA"]}),
        "jax-scan": Peer(lambda right: {**right, "y": np.full_like(right["y"], np.nan)}),
        "jax-associative": Peer(lambda right: {**right, "y": right["y"].swapaxes(1, 2)}),
    }
    rows = scan_peers.measure("a", 1, scan.TRAINING, peers, 3)
    assert rows[0]["ms"] == 250.0 and rows[0]["x_ours"] == 1.0
    assert "dA is 1.0e-02 from float64" in rows[1]["not_timed"]
    assert "y is nan" in rows[2]["not_timed"] and "y has shape (1, 8, 2)" in rows[3]["not_timed"]
    assert [peer.asked.count("time") for peer in peers.values()] == [4, 0, 0, 0]
    assert "| not timed: dA is" in scan_peers.lines_of(rows)


def test_our_side_of_the_peers_agrees_and_a_missing_peer_is_left_out(monkeypatch, tmp_path):
    monkeypatch.setitem(scan.SHAPES, "a", scan.Shape(2, 8, 4))
    with ExitStack() as stack:
        peers, about, training = scan_peers.start({"jax-scan": str(tmp_path / "python")}, 1, stack)
        rows = scan_peers.measure("a", 1, scan.TRAINING, peers, 1)
    assert training == {"ours"} and "cannot be started" in about["jax-scan"]
    assert f"torch {torch.__version__}" in about["ours"] and rows[0]["ms"] > 0


def test_a_peer_is_given_as_name_and_python():
    assert scan_peers.parse(["--peer", "intel=/a/python"]).peer == [("intel", "/a/python")]
    with pytest.raises(SystemExit):
        scan_peers.parse(["--peer", "intel"])


def part(name, program, limit=60.0, **more):
    return parts.Part(name, [sys.executable, "-c", program], limit, **more)


def test_a_failing_part_does_not_stop_the_others():
    def disappointed():
        raise AssertionError("no epoch was completed")

    waiting = (
        "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(143)); print('on', flush=True); time.sleep(60)"
    )
    given = [
        part("good", "print('a table')", judge=lambda: "two epochs"),
        part("bad", "raise SystemError('no such kernel')"),
        part("endless", "import time; time.sleep(60)", limit=1.0),
        part("asked to stop", waiting, stop_after=3.0),
        part("nothing left", "pass", judge=disappointed),
        parts.Part("nobody", ["/no/such/program"], 1.0),
    ]
    good, bad, endless, asked, nothing, nobody = parts.run_parts(given)
    assert (good.output, good.failure, good.note) == ("a table", None, "two epochs")
    assert bad.failure.startswith("exit status 1") and "no such kernel" in bad.failure
    assert endless.failure.startswith("not done after 1 s") and endless.seconds < 30
    assert asked.failure is None and asked.output == "on"
    assert "no epoch was completed" in nothing.failure and "cannot be started" in nobody.failure
    text = gpu.page({"time": "2026-01-02 03:04 UTC", "card": "Some GPU, 8 GiB"}, [good, bad])
    assert "# 2026-01-02, Some GPU" in text and "Failed: bad." in text and "| good | two epochs |" in text
    assert "no such kernel" in text


def test_without_a_gpu_it_says_so_and_runs_nothing(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(gpu, "run", None)
    assert gpu.main([]) == 2
    assert "PyTorch finds no NVIDIA GPU" in (said := capsys.readouterr().err) and "--rehearse" in said


def test_the_check_of_a_gpu_fits_eight_minutes():
    limits = gpu.GPU.limits
    assert limits["tests"] + 2 * limits["scan"] + 2 * limits["networks"] + limits["training"] < 480
    assert gpu.GPU.stop_after < limits["training"]


def test_a_rehearsal_writes_page_and_numbers_and_its_status_tells_of_failures(monkeypatch, tmp_path, capsys):
    failed = parts.Result("Scan, float32", "python", 1.0, "", "exit status 1")
    monkeypatch.setattr(gpu, "run", lambda plan, folder: [failed])
    assert gpu.main(["--rehearse", "--out", str(tmp_path)]) == 1
    assert "failed: Scan, float32" in capsys.readouterr().out
    (page,), (numbers,) = tmp_path.glob("*_none.md"), tmp_path.glob("*_none.json")
    assert "says nothing about a GPU" in page.read_text(encoding="utf-8") or "say nothing" in page.read_text()
    assert json.loads(numbers.read_text())["parts"][0]["failure"] == "exit status 1"


def test_a_training_is_judged_by_its_table(tmp_path):
    judge = gpu.training_part("mamba_mis", gpu.REHEARSAL, tmp_path).judge
    with pytest.raises(AssertionError, match="no epoch was completed"):
        judge()
    run = tmp_path / "mamba_mis" / "run"
    run.mkdir(parents=True)
    (run / "history.csv").write_text("epoch,seconds,lr,train_loss\n1,2.0,0.1,0.9\n2,4.0,0.1,0.5\n")
    assert judge() == "2 epochs in 4 s, 2.00 s an epoch; training loss 0.9000 in the first and 0.5000 in the last"
    (run / "history.csv").write_text("epoch,seconds,lr,train_loss\n1,2.0,0.1,nan\n")
    with pytest.raises(AssertionError, match="losses that are no numbers"):
        judge()


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
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2 and "invalid choice: 'z'" in done.stderr


def test_precision_times_both_and_says_how_far_they_are_apart():
    line = precision.row("mamba_mis_s", size=32, batch=1, repeats=1)
    _, name, *times, difference, _ = (cell.strip() for cell in line.split("|"))
    assert name == "mamba_mis_s, 32, batch 1"
    assert all(float(cell.split(" ")[0]) > 0 for cell in times) and len(times) == 2
    assert 0 < float(difference) < 0.2  # bfloat16 keeps three digits; equal outputs would mean that nothing ran in it


def test_moments_of_kills_are_those_of_the_seed_over_the_whole_life_and_every_fourth_is_a_write():
    moments = list(kill_training.drawn(200, 3, 10.0))
    assert moments == list(kill_training.drawn(200, 3, 10.0)) != list(kill_training.drawn(200, 4, 10.0))
    assert [number for number, moment in enumerate(moments, 1) if moment is None] == list(range(4, 201, 4))
    drawn = [moment for moment in moments if moment is not None]
    assert 0 <= min(drawn) < 1 and 9 < max(drawn) <= 10


def test_a_training_is_killed_with_all_its_processes_or_has_ended(monkeypatch, tmp_path):
    monkeypatch.setattr(kill_training.sys, "executable", "/bin/sleep")  # which refuses the words, at once
    ended = kill_training.Training("mamba_mis", tmp_path / "ended", [])
    assert ended.wait() != 0 and not ended.killed(0.0)
    script = tmp_path / "sleeper"
    script.write_text("#!/bin/sh\nsleep 100 & echo $! > child; exec sleep 100\n")
    script.chmod(0o755)
    monkeypatch.setattr(kill_training.sys, "executable", str(script))
    monkeypatch.setattr(kill_training, "ROOT", tmp_path)
    training = kill_training.Training("mamba_mis", tmp_path / "killed", [])
    while not (tmp_path / "child").is_file() or not (tmp_path / "child").read_text().strip():
        time.sleep(0.01)
    assert kill_training.where(training) == "start-up"
    assert training.killed(0.0) and training.process.returncode == -9
    child, end = int((tmp_path / "child").read_text()), time.monotonic() + 30
    while _runs(child) and time.monotonic() < end:  # a busy system takes a moment over it
        time.sleep(0.01)
    assert not _runs(child)


def _runs(process: int) -> bool:
    """Whether a process is there and no zombie, which nobody may have asked for its status yet."""
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True).stdout
    return bool(shown.strip()) and not shown.strip().startswith("Z")


def test_what_kills_cost_is_a_row():
    outcome = kill_training.Outcome("mamba_mis", kill_training.Counter({"start-up": 2, "checkpoint write": 1}), 2)
    assert kill_training.table([outcome]).splitlines()[-1] == (
        "| mamba_mis | 3 | checkpoint write 1, start-up 2 | 2 | nothing |"
    )
    outcome.faults.append("history.csv differs")
    assert kill_training.table([outcome]).endswith("| 1 |")
