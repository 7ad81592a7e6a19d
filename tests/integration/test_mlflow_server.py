"""A real MLflow server, lost while a training runs, and back again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import mlflow
import pytest
from ignite.engine import Events
from monai.utils import path_to_sqlite_uri

from medssm_monai.apps.tracking.main import main
from medssm_monai.handlers import MLflowTracker, TrainingHistory, mlflow_sending, mlflow_store, read_history

from ..handlers.engines_for_tests import trainer, write_images
from ..thorough import first_of
from .label_server import free_port
from .mlflow_servers import kill, running, tracking, wait_until_it_answers

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.name != "posix", reason="the server is stopped by signals of POSIX"),
]
EPOCHS = [1, 2, 3, 4, 5, 6]


class Server:
    """A server that can be killed and started again, at the same address on the same files."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self.stack, self.port = folder, stack, free_port()
        self.address = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        words = tracking(self.port, path_to_sqlite_uri(self.folder / "runs.db"), self.folder / "artifacts")
        self.process = self.stack.enter_context(running(words, self.folder, "server"))
        wait_until_it_answers(f"{self.address}/health", self.process, self.folder / "server.log")
        mlflow.MlflowClient(self.address).search_experiments()  # its first answer takes longer than any later one

    def signal(self, how: signal.Signals) -> None:
        kill(self.process, how)


@pytest.fixture
def server(tmp_path, monkeypatch) -> Iterator[Server]:
    folder = tmp_path / "server"
    folder.mkdir()
    for name in mlflow_store.REQUESTS:
        monkeypatch.delenv(name, raising=False)
    with ExitStack() as stack:
        made = Server(folder, stack)
        made.start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", made.address)
        yield made


def require_whole(store: str) -> None:
    """The only run of the store has everything, and every epoch once."""
    client = mlflow.MlflowClient(store)
    (run,) = client.search_runs([client.get_experiment_by_name("tests").experiment_id])
    assert run.info.status == "FINISHED" and run.data.params["lr"] == "0.1" and run.data.tags["note"] == "x"
    for metric in ("train_loss", "lr"):
        assert [m.step for m in client.get_metric_history(run.info.run_id, metric)] == EPOCHS
    assert [entry.path for entry in client.list_artifacts(run.info.run_id)] == ["history.csv"]


def there(server: Server) -> list[int]:
    client = mlflow.MlflowClient(server.address)
    (run,) = client.search_runs([client.get_experiment_by_name("tests").experiment_id])
    return [m.step for m in client.get_metric_history(run.info.run_id, "train_loss")]


@pytest.mark.parametrize("what", first_of(["is killed and comes back", "hangs", "stays"]))
def test_a_training_outlives_its_server(tmp_path, server, monkeypatch, caplog, capsys, what) -> None:
    """Killed in epoch 3, back in epoch 5, killed again in epoch 6, back after the training; or hanging to its end."""
    monkeypatch.setattr(mlflow_sending, "PAUSES", (0.0, 0.0) if "killed" in what else mlflow_sending.PAUSES)
    out = tmp_path / "out"
    arguments = {"params": {"lr": 0.1}, "tags": {"note": "x"}, "artifacts": [out / "history.csv"]}
    tracker = MLflowTracker(out, "tests", **arguments)
    engine = trainer(write_images(tmp_path / "data"), [tracker, TrainingHistory(out)], max_epochs=len(EPOCHS))
    waited: list[float] = []
    fall_back = MLflowTracker._fall_back

    def timed(self, *args) -> None:
        waited.append(time.monotonic() - began[0])
        fall_back(self, *args)

    monkeypatch.setattr(MLflowTracker, "_fall_back", timed)
    began: list[float] = [float("inf")]
    seen: dict[int, list[int]] = {}

    @engine.on(Events.EPOCH_STARTED)
    def happen(_engine) -> None:
        epoch = engine.state.epoch
        if epoch == 3:
            began[0] = time.monotonic()
        if epoch == 3 and what == "hangs":
            server.signal(signal.SIGSTOP)
        if "killed" in what:
            if epoch in (3, 6):
                seen[epoch] = there(server)
                server.signal(signal.SIGKILL)
            if epoch == 5:
                server.start()

    engine.run()
    assert [int(row["epoch"]) for row in read_history(out / "history.csv")] == EPOCHS
    lost, kept_in = what != "stays", path_to_sqlite_uri(out / "mlruns.db")
    assert caplog.text.count("does not take this run") == int(lost)
    assert caplog.text.count("is lost again") == int("killed" in what)
    assert (out / "mlruns.db").exists() == lost
    assert len(waited) == int(lost) and all(seconds < 10 for seconds in waited)
    assert tracker.kept_in == (kept_in if lost else server.address)
    if not lost:
        require_whole(server.address)
        return
    require_whole(kept_in)
    assert f"medssm tracking send {out}" in caplog.text
    if what == "hangs":
        server.signal(signal.SIGCONT)
    else:
        assert seen == {3: [1, 2], 6: [1, 2, 3, 4, 5]}
        assert main(["send", str(out)]) == 2
        assert "connection refused" in capsys.readouterr().err
        server.start()
    assert main(["send", str(out)]) == 0
    require_whole(server.address)
    assert main(["send", str(out)]) == 0
    assert "nothing is left to send" in capsys.readouterr().out
