"""Runs that a server did not take reach it later; a SQLite file plays the server, and the line to it can be cut."""

from __future__ import annotations

import math
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
import pytest
from ignite.engine import Events
from mlflow import MlflowClient
from monai.utils import path_to_sqlite_uri

from medssm_monai.apps.tracking.main import main
from medssm_monai.handlers import MLflowTracker, TrainingHistory, mlflow_sending
from medssm_monai.handlers import mlflow as tracking
from medssm_monai.handlers.mlflow_store import MLflowStore, StoreLostError

from ..tracking_stores import copied_tables
from .engines_for_tests import FailsAt, trainer, write_images


@pytest.fixture(scope="module", autouse=True)
def quick_tracking_stores():
    with copied_tables():
        yield


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def items(tmp_path) -> list[dict[str, str]]:
    return write_images(tmp_path / "data", count=2)


class Line:
    """The line to the server: while it is cut, no method of a store reaches it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cut = False
        call = MLflowStore.call

        def through(store: MLflowStore, *args: Any, **kwargs: Any) -> Any:
            if self.cut and not store.is_local:
                raise StoreLostError("line cut")
            return call(store, *args, **kwargs)

        monkeypatch.setattr(MLflowStore, "call", through)


@pytest.fixture
def line(server, monkeypatch) -> Line:
    return Line(monkeypatch)


def only_run(folder: Path) -> tuple[MlflowClient, Any]:
    client = MlflowClient(path_to_sqlite_uri(folder / "mlruns.db"))
    (run,) = client.search_runs([client.get_experiment_by_name("tests").experiment_id])
    return client, run


def steps(folder: Path, metric: str = "train_loss") -> list[int]:
    client, run = only_run(folder)
    return [m.step for m in client.get_metric_history(run.info.run_id, metric)]


def train(items, out: Path, epochs: int, at_epochs=lambda epoch: None, extra=(), start: int = 0, **arguments: Any):
    arguments = {"artifacts": [out / "history.csv"], "iteration_log": True, **arguments}
    tracker = MLflowTracker(out, "tests", **arguments)
    engine = trainer(items, [tracker, TrainingHistory(out), *extra], max_epochs=epochs)
    engine.add_event_handler(Events.EPOCH_STARTED, lambda _: at_epochs(engine.state.epoch))
    engine.state.epoch, engine.state.iteration = start, start
    engine.run()
    return tracker


def test_it_catches_up_while_the_training_goes_on_and_when_it_is_lost_again(
    items, out, server, line, monkeypatch, caplog
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(mlflow_sending, "PAUSES", (0.0, 0.0))
    seen: dict[int, list[int]] = {}

    def at_epochs(epoch: int) -> None:
        line.cut = epoch in (2, 3, 6)
        seen[epoch] = steps(server) if epoch > 1 else []

    train(items, out, 8, at_epochs, params={"lr": 0.1})
    assert seen == {1: [], 2: [1], 3: [1], 4: [1], 5: [1, 2, 3, 4], 6: [1, 2, 3, 4, 5], 7: seen[6], 8: [*range(1, 8)]}
    for folder in (server, out):
        client, run = only_run(folder)
        assert steps(folder) == steps(folder, "lr") == steps(folder, "train_loss_iteration") == [*range(1, 9)]
        assert run.info.status == "FINISHED" and run.data.params["lr"] == "0.1"
        assert [entry.path for entry in client.list_artifacts(run.info.run_id)] == ["history.csv"]
    assert caplog.text.count("does not take this run") == caplog.text.count("is lost again") == 1
    assert caplog.text.count("metrics were sent; the next") == 2 and caplog.text.count("has all of this run now") == 1


def test_a_server_that_stays_away_gets_the_run_by_a_command(items, out, server, line, caplog, capsys) -> None:
    def at_epochs(epoch: int) -> None:
        line.cut = epoch > 2

    train(items, out, 4, at_epochs, tags={"note": "x"})
    assert steps(server) == [1, 2] and steps(out) == [1, 2, 3, 4]
    assert f"medssm tracking send {out}" in caplog.text
    assert main(["send", str(out)]) == 2
    assert "not sent to sqlite:" in (said := capsys.readouterr().err) and "line cut" in said
    assert main(["list", str(out)]) == 0 and capsys.readouterr().out.rstrip().endswith("not sent")
    line.cut = False
    assert main(["send", str(out)]) == 0
    said = capsys.readouterr().out
    assert "6 metrics and 1 files sent" in said  # loss, learning rate and loss of the iteration, of two epochs
    (client, there), (_, kept) = only_run(server), only_run(out)
    assert steps(server) == steps(server, "train_loss_iteration") == [1, 2, 3, 4]
    assert there.info.status == "FINISHED" and there.data.tags["note"] == "x"
    assert [entry.path for entry in client.list_artifacts(there.info.run_id)] == ["history.csv"]
    assert mlflow_sending.KEPT_FOR not in there.data.tags and kept.data.tags[mlflow_sending.SENT_AT]
    assert main(["send", str(out)]) == 0 and "nothing is left to send" in capsys.readouterr().out
    assert main(["list", str(out)]) == 0 and " sent 2" in capsys.readouterr().out


@pytest.mark.parametrize("heard", [False, True], ids=["never made", "made unheard"])
def test_a_server_that_was_absent_at_the_start_has_one_run(items, out, server, line, monkeypatch, heard) -> None:
    """Whether the answer to the creation of a run is lost or not."""
    line.cut = True
    train(items, out, 2, run_name="mine")
    create, calls = MlflowClient.create_run, []

    def create_unheard(self, *args: Any, **kwargs: Any) -> Any:
        calls.append(create(self, *args, **kwargs) if heard else None)
        raise mlflow.exceptions.MlflowException("answer lost")

    line.cut = False
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "create_run", create_unheard)
        assert main(["send", str(out)]) == 2
    assert len(calls) == 1
    assert main(["send", str(out)]) == 0
    (_, there), (_, kept) = only_run(server), only_run(out)
    assert steps(server) == [1, 2] and there.info.status == "FINISHED" and there.info.run_name == "mine"
    assert there.info.start_time == kept.info.start_time and not heard or there.info.run_id == calls[0].info.run_id


def test_a_resumed_run_brings_along_what_was_kept(items, out, server, line, caplog) -> None:
    def at_epochs(epoch: int) -> None:
        line.cut = epoch == 2

    with pytest.raises(RuntimeError, match="boom"):
        train(items, out, 4, at_epochs, [FailsAt(3, RuntimeError("boom"))], run_name="mine")
    line.cut = False
    # the try at its end has reached the server, as the line was whole again; undone, as if it had not
    client, kept = only_run(out)
    client.set_tag(kept.info.run_id, mlflow_sending.SENT_AT, "")
    assert only_run(server)[1].info.status == "FAILED"
    status: list[str] = []
    train(items, out, 4, lambda _: status.append(only_run(server)[1].info.status), run_name="mine", start=2)
    assert status == ["RUNNING", "RUNNING"] and only_run(server)[1].info.status == "FINISHED"
    assert steps(server) == [1, 2, 3, 4]
    assert only_run(out)[1].data.tags[mlflow_sending.SENT_AT]
    assert not {"error", "traceback"} & only_run(server)[1].data.tags.keys()


@pytest.mark.parametrize(
    "ended", [KeyboardInterrupt(), RuntimeError("boom"), None], ids=["KILLED", "FAILED", "FINISHED"]
)
@pytest.mark.parametrize("resume", [True, False], ids=["resume", "anew"])
def test_what_a_resumed_run_kept_goes_to_the_run_that_was_there(items, out, server, line, ended, resume) -> None:
    """Its weights, too, which have the size of those before; no word is left of how the earlier life ended."""
    weights, arguments = out / "model.pt", {"run_name": "mine", "artifacts": [out / "model.pt"], "resume": resume}
    out.mkdir()
    weights.write_bytes(b"old")
    with pytest.raises(type(ended)) if ended else nullcontext():
        train(items, out, 2, extra=[FailsAt(2, ended)] if ended else [], **arguments)
    status = only_run(server)[1].info.status
    assert status == ("FINISHED" if ended is None else "KILLED" if isinstance(ended, KeyboardInterrupt) else "FAILED")
    weights.write_bytes(b"new")
    line.cut = True
    train(items, out, 4, start=2, **arguments)
    line.cut = False
    assert main(["send", str(out)]) == 0
    client = MlflowClient(path_to_sqlite_uri(server / "mlruns.db"))
    runs = client.search_runs([client.get_experiment_by_name("tests").experiment_id])
    assert len(runs) == (2 if ended is None and not resume else 1)
    assert [run.info.status for run in runs] == ["FINISHED"] * len(runs)
    newest = max(runs, key=lambda run: run.info.start_time)
    assert Path(client.download_artifacts(newest.info.run_id, "model.pt")).read_bytes() == b"new"
    assert not {"error", "traceback"} & newest.data.tags.keys()
    if len(runs) == 1:
        assert {3, 4} < set(steps(server)) <= {1, 2, 3, 4}


def test_a_file_is_sent_again_only_when_it_changed(items, out, server, line, capsys) -> None:
    out.mkdir()
    (out / "model.pt").write_bytes(b"old")
    line.cut = True
    train(items, out, 1, artifacts=[out / "model.pt"])
    line.cut = False
    client, kept = only_run(out)
    for content, count in ((b"old", 1), (b"old", 0), (b"new", 1)):
        (out / "model.pt").write_bytes(content)
        client.log_artifact(kept.info.run_id, str(out / "model.pt"))
        client.set_tag(kept.info.run_id, mlflow_sending.SENT_AT, "")
        client.set_terminated(kept.info.run_id)
        assert main(["send", str(out)]) == 0
        assert f" and {count} files sent" in capsys.readouterr().out
    there, run = only_run(server)
    assert Path(there.download_artifacts(run.info.run_id, "model.pt")).read_bytes() == b"new"
    assert not [tag for tag in run.data.tags if tag.startswith(mlflow_sending.SENT_FILE)]


def test_values_are_counted_that_the_server_had_not(items, out, server, line, capsys) -> None:
    line.cut = True
    train(items, out, 2)
    line.cut = False
    assert main(["send", str(out)]) == 0
    client, kept = only_run(out)
    value = client.get_metric_history(kept.info.run_id, "train_loss")[-1]
    client.log_metric(kept.info.run_id, "train_loss", value.value, value.timestamp + 1, value.step)
    client.set_tag(kept.info.run_id, mlflow_sending.SENT_AT, "")
    capsys.readouterr()
    assert main(["send", str(out)]) == 0
    assert ": 0 metrics and " in capsys.readouterr().out and steps(server) == [1, 2]


def test_a_child_stays_one(items, out, server, line) -> None:
    line.cut = True
    train(items, out, 1, tags={"mlflow.parentRunId": "whole"})
    line.cut = False
    assert main(["send", str(out)]) == 0
    assert only_run(server)[1].data.tags["mlflow.parentRunId"] == "whole"


def test_a_run_whose_process_was_killed_is_kept_until_it_goes_on(items, out, server, line, capsys) -> None:
    line.cut = True
    train(items, out, 2, run_name="mine")
    line.cut = False
    client, kept = only_run(out)
    client.update_run(kept.info.run_id, status="RUNNING")  # as if nobody had ended it
    assert main(["send", str(out)]) == 2 and "it has not ended" in capsys.readouterr().out
    assert main(["list", str(out)]) == 0 and "not sent" in capsys.readouterr().out
    train(items, out, 3, run_name="mine", start=2)
    assert only_run(server)[1].info.status == "FINISHED" and steps(server) == [1, 2, 3]
    assert only_run(out)[1].info.status == "KILLED"
    assert main(["send", str(out)]) == 0 and "nothing is left to send" in capsys.readouterr().out
    assert main(["list", str(out)]) == 0 and " sent 2" in capsys.readouterr().out


def test_a_kept_run_does_not_take_back_what_went_on(items, out, server, line) -> None:
    """Sent after the server's run has gone on and ended: words of a failure and files of before do not come back."""
    out.mkdir()
    weights, arguments = out / "model.pt", {"run_name": "mine", "artifacts": [out / "model.pt"]}
    weights.write_bytes(b"old")

    def at_epochs(epoch: int) -> None:
        line.cut = epoch >= 2

    with pytest.raises(RuntimeError, match="boom"):
        train(items, out, 3, at_epochs, [FailsAt(3, RuntimeError("boom"))], **arguments)
    line.cut, aside = False, out.with_name("aside")
    out.rename(aside)
    out.mkdir()
    weights.write_bytes(b"new")
    train(items, out, 3, start=2, **arguments)
    out.rename(out.with_name("later"))
    aside.rename(out)
    assert main(["send", str(out)]) == 0
    client, run = only_run(server)
    assert run.info.status == "FINISHED" and not {"error", "traceback"} & run.data.tags.keys()
    assert Path(client.download_artifacts(run.info.run_id, "model.pt")).read_bytes() == b"new"
    assert {1, 2, 3} == set(steps(server))


def test_a_start_while_another_process_sends_is_no_lost_server(items, out, server, line, monkeypatch, caplog) -> None:
    from filelock import FileLock

    caplog.set_level("INFO")
    line.cut = True
    train(items, out, 1, run_name="mine")
    line.cut = False
    caplog.clear()
    monkeypatch.setattr(tracking, "send_run", partial(mlflow_sending.send_run, patience=0.0))
    with FileLock(mlflow_sending.lock_of(out / "mlruns.db")):
        tracker = train(items, out, 2, run_name="mine", start=1)
    assert tracker.kept_in == path_to_sqlite_uri(server / "mlruns.db")
    assert "another process is sending" in caplog.text and "does not take this run" not in caplog.text


def test_what_a_store_refuses_does_not_take_the_rest_with_it(items, out, server, line, caplog) -> None:
    tracker = MLflowTracker(out, "tests")
    engine = trainer(items, [tracker], max_epochs=4)

    def at_epochs(_engine) -> None:
        engine.state.metrics = {"a * b": 1.0} if engine.state.epoch == 2 else {"nan": math.nan, "huge": math.inf}
        line.cut = engine.state.epoch == 3

    engine.add_event_handler(Events.EPOCH_STARTED, at_epochs)
    engine.run()
    assert "did not take the metrics of step 2" in caplog.text
    for folder in (server, out):
        assert steps(folder) == steps(folder, "nan") == steps(folder, "huge") == [1, 3, 4]


def test_pauses_grow_while_a_server_is_away(out, monkeypatch) -> None:
    now, tried = [0.0], []
    monkeypatch.setattr(mlflow_sending.time, "monotonic", lambda: now[0])

    def away(*_args: Any, **_kwargs: Any) -> None:
        tried.append(now[0])
        raise StoreLostError("away")

    monkeypatch.setattr(mlflow_sending, "send_run", away)
    sender = mlflow_sending.Sender("http://host", out / "mlruns.db")
    for now[0] in range(4000):
        sender.try_now_and_then(None, "run")
    assert tried == [60, 180, 420, 900, 1860, 2820, 3780]


def test_one_process_sends_at_a_time(tmp_path) -> None:
    from filelock import FileLock

    lock = mlflow_sending.lock_of(tmp_path / "mlruns.db")
    with FileLock(lock), pytest.raises(StoreLostError, match="another process"):
        mlflow_sending.send_run(None, "run", "http://host", lock, patience=0.0)


def test_where_runs_are_sent_must_be_known(items, tmp_path, out, server, line, monkeypatch, capsys) -> None:
    assert main(["send", str(tmp_path)]) == 2 and "no runs are kept" in capsys.readouterr().err
    line.cut = True
    train(items, out, 1)
    assert main(["send", str(out), "--tracking_uri", path_to_sqlite_uri(out / "mlruns.db")]) == 2
    assert "is where the runs are kept" in capsys.readouterr().err
    client, run = only_run(out)
    client.set_tag(run.info.run_id, mlflow_sending.KEPT_FOR, "https://me:***@host")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert main(["send", str(out)]) == 2 and "set MLFLOW_TRACKING_URI" in capsys.readouterr().err


def test_a_damaged_file_of_runs_is_named(tmp_path, capsys) -> None:
    (tmp_path / "mlruns.db").write_bytes(b"no database" * 400)
    assert main(["list", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "mlruns.db is damaged, or no file of MLflow's; put the one of a backup" in said and said.count("\n") == 1
