"""Trainings as real programs: killed, out of disk space, and in two processes; resumed, they end as if nothing was."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ..bundles.bundle_runs import MAMBA_MIS, REPOSITORY, command_line, program
from ..waiting import wait_for

pytestmark = pytest.mark.integration

EPOCHS = 3
OPTIONS = {**MAMBA_MIS.tiny, "max_epochs": EPOCHS, "learning_rate": 0.02}
CONFIG = ["--config_file", *MAMBA_MIS.config("train.yaml")]


def training(out: Path, **options: object) -> list[str]:
    """The command of a training, without the interpreter."""
    words = ["-m", "monai.bundle", "run", "training", *CONFIG, *command_line(OPTIONS, out)]
    return words + [word for key, value in options.items() for word in (f"--{key}", str(value))]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}


def table(run: Path) -> list[dict[str, str]]:
    with open(run / "history.csv", newline="") as stream:
        return [{key: cell for key, cell in row.items() if key != "seconds"} for row in csv.DictReader(stream)]


def assert_equal(resumed: Path, straight: Path) -> None:
    assert table(resumed) == table(straight)
    assert (resumed / "model.pt").read_bytes() == (straight / "model.pt").read_bytes()
    last = [torch.load(run / f"checkpoint_epoch={EPOCHS}.pt", weights_only=True) for run in (resumed, straight)]
    for part in ("model", "average", "optimizer", "lr_scheduler", "early_stop"):
        torch.testing.assert_close(last[0][part], last[1][part], rtol=0, atol=0)


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> Path:
    """Folder of a training that was not interrupted."""
    out = tmp_path_factory.mktemp("straight")
    done = program(training(out, run_name="run"), out, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stdout + done.stderr
    return out / "run"


def test_a_killed_training_is_resumed_as_if_nothing_was(straight, tmp_path):
    process = subprocess.Popen(
        [sys.executable, *training(tmp_path, run_name="run")],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    first, second = (tmp_path / "run" / f"checkpoint_epoch={epoch}.pt" for epoch in (1, 2))
    wait_for("checkpoint of the first epoch", first.is_file, 400, pause=0.02, process=process)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert first.is_file() and not second.is_file()
    done = program(training(tmp_path, resume_from=tmp_path / "run"), tmp_path, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert_equal(tmp_path / "run", straight)


FULL = """
mount -t tmpfs -o size=10m none "$RUN"
"$PYTHON" "$@" > "$OUT/full.log" 2>&1
echo $? > "$OUT/full.rc"
cp -r "$RUN" "$OUT/full"
ls "$OUT/out/models" > "$OUT/full.models"
mount -o remount,size=200m "$RUN"
"$PYTHON" "$@" --resume_from "$RUN" > "$OUT/resumed.log" 2>&1
echo $? > "$OUT/resumed.rc"
cp -r "$RUN" "$OUT/resumed"
"""


def test_a_full_disk_ends_a_training_and_more_space_lets_it_go_on(straight, tmp_path):
    """A file system of 10 MB holds the best weights and one checkpoint (1.3 and 6.7 MB), not a second one."""
    namespace = ["unshare", "-rm"]
    if not shutil.which("unshare") or subprocess.run([*namespace, "true"], capture_output=True).returncode:
        pytest.skip("needs a mount namespace of its own (unshare -rm) for a small file system")
    run = tmp_path / "run"
    run.mkdir()
    words = training(tmp_path / "out", run_dir=run, run_name="run")
    env = {**environment(), "RUN": str(run), "OUT": str(tmp_path), "PYTHON": sys.executable}
    subprocess.run([*namespace, "sh", "-c", FULL, "sh", *words], env=env, check=True, timeout=900)
    log = (tmp_path / "full.log").read_text()
    assert (tmp_path / "full.rc").read_text() != "0\n"
    assert "checkpoint_epoch=2.pt" in log and "the disk is full" in log and f"--resume_from {run}" in log
    torch.load(tmp_path / "full" / "checkpoint_epoch=1.pt", weights_only=True)
    assert "model.pt" not in (tmp_path / "full.models").read_text()
    assert (tmp_path / "resumed.rc").read_text() == "0\n", (tmp_path / "resumed.log").read_text()[-3000:]
    assert_equal(tmp_path / "resumed", straight)


@pytest.mark.thorough
def test_two_processes_resume_and_stop_alike(tmp_path):
    """The second and last start resumes at epoch 1; both end where their early stopping, or the last epoch, says."""
    configs = [*MAMBA_MIS.config("train.yaml", "multi_gpu_train.yaml")]
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "monai.bundle", "run"]
    words = [*launch, "training", "--config_file", str(configs), *command_line(OPTIONS, tmp_path), "--patience", "1"]
    done = program([*words, "--run_name", "straight"], REPOSITORY, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stdout + done.stderr
    straight = tmp_path / "straight"
    last = len(table(straight))
    start = straight / f"checkpoint_epoch={last - 1}.pt"
    done = program([*words, "--run_name", "resumed", "--resume_from", str(start)], REPOSITORY, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stdout + done.stderr
    resumed = tmp_path / "resumed"
    assert table(resumed) == table(straight)
    assert (resumed / "model.pt").read_bytes() == (straight / "model.pt").read_bytes()
    models = [
        torch.load(run / f"checkpoint_epoch={last}.pt", weights_only=True)["model"] for run in (resumed, straight)
    ]
    torch.testing.assert_close(*models, rtol=0, atol=0)
    assert not any(name.startswith("module.") for name in models[0])
