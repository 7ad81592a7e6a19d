"""A real MLflow server, lost while a training runs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

import mlflow
import pytest
from ignite.engine import Events
from monai.utils import path_to_sqlite_uri

from medssm_monai.handlers import MLflowTracker, TrainingHistory, mlflow_store, read_history

from ..handlers.engines_for_tests import trainer, write_images

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.name != "posix", reason="the server is stopped by signals of POSIX"),
]


@pytest.fixture
def server(tmp_path) -> Iterator[tuple[str, subprocess.Popen]]:
    """Address and process of a server that answers."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    folder = tmp_path / "server"
    folder.mkdir()
    words = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += ["--backend-store-uri", path_to_sqlite_uri(folder / "runs.db")]
    words += ["--artifacts-destination", str(folder / "artifacts")]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(words, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(address)
        mlflow.MlflowClient(address).search_experiments()  # its first answer takes longer than any later one
        yield address, process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_for(address: str, seconds: float = 180.0) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(1)


@pytest.mark.parametrize("how", [None, signal.SIGKILL, signal.SIGSTOP], ids=["stays", "dies", "hangs"])
def test_a_training_outlives_its_server(tmp_path, server, monkeypatch, caplog, how) -> None:
    address, process = server
    for name in mlflow_store.REQUESTS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    out = tmp_path / "out"
    tracker = MLflowTracker(out, "tests", params={"lr": 0.1}, artifacts=[out / "history.csv"])
    engine = trainer(write_images(tmp_path / "data"), [tracker, TrainingHistory(out)], max_epochs=5)
    waited: list[float] = []
    fall_back = MLflowTracker._fall_back

    def timed(self, *args) -> None:
        waited.append(time.monotonic() - began[0])
        fall_back(self, *args)

    monkeypatch.setattr(MLflowTracker, "_fall_back", timed)
    began: list[float] = [float("inf")]

    @engine.on(Events.EPOCH_STARTED(once=3))
    def lose(_engine) -> None:
        began[0] = time.monotonic()
        if how is not None:
            os.killpg(process.pid, how)

    engine.run()
    assert [int(row["epoch"]) for row in read_history(out / "history.csv")] == [1, 2, 3, 4, 5]
    lost = how is not None
    assert caplog.text.count("does not take this run") == int(lost)
    assert (out / "mlruns.db").exists() == lost
    assert len(waited) == int(lost) and all(seconds < 10 for seconds in waited)
    client = mlflow.MlflowClient(path_to_sqlite_uri(out / "mlruns.db") if lost else address)
    (run,) = client.search_runs([client.get_experiment_by_name("tests").experiment_id])
    assert run.info.status == "FINISHED" and run.data.params["lr"] == "0.1"
    assert [m.step for m in client.get_metric_history(run.info.run_id, "train_loss")] == [1, 2, 3, 4, 5]
    assert [entry.path for entry in client.list_artifacts(run.info.run_id)] == ["history.csv"]
    assert tracker.kept_in == (path_to_sqlite_uri(out / "mlruns.db") if lost else address)
