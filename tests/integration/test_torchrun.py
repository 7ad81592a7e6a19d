"""Trainings in two processes (gloo) beside the same in one: weights, figures, resuming, failures, two machines."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys

import pytest
import torch

from medssm_monai.handlers import read_history

from ..bundles.bundle_runs import BUNDLES, MAMBA_MIS, REPOSITORY, command_line, every_bundle, give_store
from ..waiting import wait_for

pytestmark = pytest.mark.integration

TORCHRUN = ["-m", "torch.distributed.run"]
TWO = [*TORCHRUN, "--standalone", "--nproc_per_node", "2"]
TRAIN, SEVERAL = MAMBA_MIS.config("train.yaml"), MAMBA_MIS.config("train.yaml", "multi_gpu_train.yaml")
OPTIONS = {**MAMBA_MIS.tiny, "datalists#demo_counts": [8, 3, 4], "fingerprint_data": False, "patience": 9}
STEP = "tests/integration/torchrun_step.py"


def start(words, **more):
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", **more}
    env.pop("MLFLOW_TRACKING_URI", None)
    return subprocess.Popen(
        [sys.executable, *map(str, words)],
        cwd=REPOSITORY,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def ended(process, seconds=300):
    """Exit code and everything that was shown; nothing is left running."""
    try:
        text, _ = process.communicate(timeout=seconds)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, text


def training(configs, out, **options):
    given = {**OPTIONS, **options}
    return ["-m", "monai.bundle", "run", "training", "--config_file", str(configs), *command_line(given, out)]


def ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    found = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return found


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    """One step of every bundle in one process, and in two."""
    out = tmp_path_factory.mktemp("steps")
    for words in ([STEP, out / "one"], [*TWO, STEP, out / "two", *ports(len(BUNDLES))]):
        code, text = ended(start(words))
        assert code == 0, text[-4000:]
    return out


@every_bundle
def test_one_step_of_two_processes_is_that_of_one(steps, bundle):
    """Weights with the bundle's own optimizer and augmentations (of MedSpectralNet CutMix too), batch statistics, and
    the figures of a validation part of five images and, of the fusion, of one."""
    one, first, second = (
        torch.load(steps / where / bundle.name / f"rank{rank}.pt", weights_only=True)
        for where, rank in (("one", 0), ("two", 0), ("two", 1))
    )
    assert len(one["losses"]) == 1
    for other in (first, second):
        torch.testing.assert_close(other["weights"], one["weights"], rtol=0, atol=1e-5)
        assert other["losses"] == pytest.approx(one["losses"], rel=1e-6)
        assert other["metrics"] == pytest.approx(one["metrics"], rel=1e-5, abs=1e-6, nan_ok=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Two epochs in two processes as programs, with everything that they write, and what they show."""
    out = tmp_path_factory.mktemp("whole") / "out"
    give_store(out)
    code, text = ended(start([*TWO, *training(SEVERAL, out, max_epochs=2, run_name="two")]))
    assert code == 0, text[-4000:]
    return out, text


def test_one_process_writes_and_speaks(whole):
    out, text = whole
    assert len(re.findall(r"^Trained: ", text, re.MULTILINE)) == 1
    assert text.count("is 'demo': synthetic demo images") == 1
    assert text.count("only 3 images") == 1
    assert sorted(path.name for path in (out / "two").glob("checkpoint_epoch=*.pt")) == [
        "checkpoint_epoch=1.pt",
        "checkpoint_epoch=2.pt",
    ]
    rows = (out / "two" / "validation" / "per_image.csv").read_text().splitlines()[1:]
    assert len(rows) == len({row.split(",")[0] for row in rows}) == 3
    _, (run,) = MAMBA_MIS.mlflow_runs(out)
    assert run.info.status == "FINISHED" and run.data.params["batch_size"] == "4"
    assert [path.name for path in out.glob("mamba_mis_s_*")] == []  # no folder of the other process


def test_another_number_of_processes_goes_on_alike(whole, tmp_path):
    """From the first epoch of two processes: one process reaches their second epoch; and two do, from one's first."""
    out, _ = whole
    given = {"max_epochs": 2, "resume_from": out / "two" / "checkpoint_epoch=1.pt", "run_name": "one"}
    give_store(tmp_path / "a")
    code, text = ended(start(training(TRAIN, tmp_path / "a", **given)))
    assert code == 0, text[-4000:]
    one, two = (read_history(folder / "history.csv") for folder in (tmp_path / "a" / "one", out / "two"))
    assert [row["epoch"] for row in one] == [1, 2]
    for row, other in zip(one, two, strict=True):
        assert row["lr"] == other["lr"]
        assert row["train_loss"] == pytest.approx(other["train_loss"], abs=1e-5)
        assert row["val_mean_dice"] == pytest.approx(other["val_mean_dice"], abs=1e-4)
    last = (torch.load(f / "checkpoint_epoch=2.pt", weights_only=True) for f in (tmp_path / "a" / "one", out / "two"))
    states = [one["model"] for one in last]
    different = torch.cat([(states[0][name] - states[1][name]).abs().flatten() for name in states[0]])
    assert float((different > 1e-5).double().mean()) < 1e-3  # Adam makes whole steps of gradients that are rounding
    given = {"max_epochs": 3, "resume_from": tmp_path / "a" / "one", "run_name": "again"}
    give_store(tmp_path / "b")
    code, text = ended(start([*TWO, *training(SEVERAL, tmp_path / "b", **given)]))
    assert code == 0, text[-4000:]
    again = read_history(tmp_path / "b" / "again" / "history.csv")
    assert [row["epoch"] for row in again] == [1, 2, 3] and again[:2] == one


def test_the_failure_of_one_process_ends_all_and_is_named(tmp_path):
    give_store(tmp_path)
    broken = tmp_path / "broken.yaml"
    broken.write_text(
        "+train#handlers:\n  - _target_: tests.integration.torchrun_failure.FailingProcess\n    rank: 1\n    epoch: 2\n"
    )
    words = [*TWO, *training([*SEVERAL, str(broken)], tmp_path, max_epochs=50, run_name="fails")]
    code, text = ended(start(words), seconds=200)  # the other process would wait for it half an hour
    assert code != 0
    assert "What went wrong: ValueError: no such scanner" in text
    assert "Connection closed" not in re.sub(r"(?m)^\[rank\d\].*$", "", text)
    _, (run,) = MAMBA_MIS.mlflow_runs(tmp_path)
    assert run.info.status == "FAILED"
    assert run.data.tags["error"] == "process 1 failed: ValueError: no such scanner"
    assert (tmp_path / "fails" / "checkpoint_epoch=1.pt").is_file()


def test_a_killed_process_ends_all(tmp_path):
    give_store(tmp_path)
    process = start([*TWO, *training(SEVERAL, tmp_path, max_epochs=500, run_name="killed")])
    first = tmp_path / "killed" / "checkpoint_epoch=1.pt"
    wait_for("checkpoint of the first epoch", first.is_file, show=lambda: ended(process)[1][-4000:], process=process)
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True).stdout
    os.kill(max(map(int, children.split())), signal.SIGKILL)  # started last: rank 1
    code, text = ended(process)
    assert code != 0 and "SIGKILL" in text
    _, (run,) = MAMBA_MIS.mlflow_runs(tmp_path)
    assert run.info.status in ("FAILED", "KILLED")


def test_two_machines_with_the_documented_command(tmp_path):
    """Two launchers on one machine, which meet at an address, with one process each."""
    give_store(tmp_path)
    (port,) = ports(1)
    meet = ["--nnodes", "2", "--nproc_per_node", "1", "--rdzv_id", "mamba", "--rdzv_backend", "c10d"]
    meet += ["--rdzv_endpoint", f"127.0.0.1:{port}"]
    words = training(SEVERAL, tmp_path, max_epochs=1, run_name="machines")
    both = [start([*TORCHRUN, *meet, *words]) for _ in range(2)]
    results = [ended(process) for process in both]
    assert [code for code, _ in results] == [0, 0], "".join(text[-3000:] for _, text in results)
    assert sum(text.count("Trained: ") for _, text in results) == 1
    (row,) = read_history(tmp_path / "machines" / "history.csv")
    assert row["epoch"] == 1 and (tmp_path / "models" / "model.pt").is_file()


def test_what_cannot_be_shared_is_refused(tmp_path):
    words = training(SEVERAL, tmp_path, max_epochs=1, batch_size=3)
    code, text = ended(start([*TWO, *words]))
    assert code != 0 and "3 images cannot be shared evenly among 2 of them" in text and "--batch_size 4" in text
    code, text = ended(start([*TWO, *training(TRAIN, tmp_path, max_epochs=1)]))
    assert code != 0 and "this command runs in one process, and torchrun has started 2" in text
