"""The same command again, ``--resume true``: after signals, in several processes; and where nothing can be written."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from glob import glob
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from monai.utils import path_to_sqlite_uri

from benchmarks.training_traces import differences, run_folders

from ..bundles.bundle_runs import MAMBA_MIS, REPOSITORY, program
from ..waiting import wait_for

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.name != "posix", reason="signals of POSIX"),
]

EPOCHS = 6
OPTIONS = {**MAMBA_MIS.tiny, "max_epochs": EPOCHS, "learning_rate": 0.02, "resume": "true"}


def command(place: Path, *configs: str, **options: object) -> list[str]:
    """The command of a training below a folder, without the interpreter."""
    files = MAMBA_MIS.config("train.yaml", *configs)
    words = ["-m", "monai.bundle", "run", "training", "--config_file", str(files) if configs else files[0]]
    places = {"output_dir": place / "eval", "ckpt_dir": place / "models"}
    return words + [
        word for key, value in {**places, **OPTIONS, **options}.items() for word in (f"--{key}", str(value))
    ]


def whole(words: list[str]) -> str:
    """Run a command to its good end; returns what it said."""
    done = program(words, REPOSITORY, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("straight")
    whole(command(place))
    return place


def test_two_programs_with_one_seed_leave_the_same_to_the_bit(straight, tmp_path):
    whole(command(tmp_path))
    assert differences(tmp_path, straight, "mamba_mis") == []


def tracked(place: Path) -> list:
    client = MlflowClient(path_to_sqlite_uri(place / "eval" / "mlruns.db"))
    return client.search_runs([client.get_experiment_by_name("mamba_mis").experiment_id])


def test_signals_end_a_run_in_order_and_the_same_command_goes_on(straight, tmp_path):
    ends = ((signal.SIGTERM, "SIGTERM", 143), (signal.SIGINT, "Ctrl-C", 130))
    for epoch, (number, name, expected) in enumerate(ends, start=1):
        process = subprocess.Popen(
            [sys.executable, *command(tmp_path)],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # which a shell may have switched off
        )
        checkpoint = f"eval/*/checkpoint_epoch={epoch}.pt"
        wait_for(checkpoint, partial(glob, checkpoint, root_dir=tmp_path), 400, pause=0.01, process=process)
        process.send_signal(number)
        said = process.communicate(timeout=200)[0]
        status = process.returncode if process.returncode >= 0 else 128 - process.returncode
        assert status == expected, said
        (folder,) = run_folders(tmp_path / "eval")
        assert f"Stopped by {name}. The same command goes on with {folder.name}." in said
        (run,) = tracked(tmp_path)
        assert run.info.status == "KILLED" and run.info.end_time and "error" in run.data.tags
        assert (folder / "curves.png").is_file() and not (tmp_path / "models" / "model.pt").exists()
    said = whole(command(tmp_path))
    assert f"goes on with the run {folder.name}" in said and "resumed from" in said
    assert differences(tmp_path, straight, "mamba_mis") == []
    (run,) = tracked(tmp_path)
    assert "error" not in run.data.tags
    assert "nothing is left to train" in whole(command(tmp_path))
    assert differences(tmp_path, straight, "mamba_mis") == []


def test_two_processes_go_on_with_one_run(tmp_path):
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    for epochs in (1, 2):
        said = whole([*launch, *command(tmp_path, "multi_gpu_train.yaml", max_epochs=epochs)])
    (run,) = run_folders(tmp_path / "eval")
    assert said.count(f"goes on with the run {run.name}") == 1
    assert "checkpoint_epoch=1.pt: 1 epochs are done" in said
    assert (run / "checkpoint_epoch=2.pt").is_file() and len((run / "history.csv").read_text().splitlines()) == 3
    assert [run.info.status for run in tracked(tmp_path)] == ["FINISHED"]


READ_ONLY = 'mount -t tmpfs -o ro none "$PLACE" && exec "$PYTHON" "$@"'


def test_a_read_only_folder_is_named_before_anything_is_read(tmp_path):
    namespace = ["unshare", "-rm"]
    if not shutil.which("unshare") or subprocess.run([*namespace, "true"], capture_output=True).returncode:
        pytest.skip("needs a mount namespace of its own (unshare -rm) for a read-only file system")
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PLACE": str(tmp_path), "PYTHON": sys.executable}
    words = [*namespace, "sh", "-c", READ_ONLY, "sh", *command(tmp_path)]
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode not in (0, 32), done.stderr  # 32: mount failed
    error = done.stderr.strip().splitlines()[-1]
    assert error.startswith("What went wrong: PermissionError: cannot write into the output folder")
    assert str(tmp_path / "eval") in error and "Read-only file system" in error and "--output_dir" in error
