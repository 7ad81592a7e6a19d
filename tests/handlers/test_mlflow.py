from __future__ import annotations

import gc
import math
import os
import re
import socket
import subprocess
import sys
import textwrap
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import mlflow
import pytest
from ignite.engine import Engine, Events
from monai.handlers import CheckpointSaver, EarlyStopHandler, StatsHandler, ValidationHandler, from_engine
from monai.utils import path_to_sqlite_uri

from medssm_monai.handlers import MLflowTracker, SegmentationReport, TrainingHistory, mlflow_store, new_run_name
from medssm_monai.handlers.mlflow import flatten_params, resolve_tracking_uri

from ..tracking_stores import copied_tables
from .engines_for_tests import FailsAt, evaluator, trainer, write_images

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module", autouse=True)
def quick_tracking_stores():
    with copied_tables():
        yield


@pytest.fixture(autouse=True)
def no_tracking_server(monkeypatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def out(tmp_path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def client(folder) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(path_to_sqlite_uri(folder / "mlruns.db"))


def runs(folder, experiment="tests"):
    c = client(folder)
    return c.search_runs([c.get_experiment_by_name(experiment).experiment_id])


def artifact_names(folder, run_id, path=None) -> set[str]:
    found = set()
    for info in client(folder).list_artifacts(run_id, path):
        found |= artifact_names(folder, run_id, info.path) if info.is_dir else {info.path}
    return found


def test_a_training_run_is_complete(tmp_path, out) -> None:
    items = write_images(tmp_path / "data")
    tracker = MLflowTracker(
        out,
        "tests",
        data_name="demo",
        params={"optimizer": {"lr": 0.01}, "train#trainer": {"max_epochs": 4}, "many": {str(i): i for i in range(150)}},
        tags={"note": "x"},
        artifacts=[out / "curves.png", out / "eval", str(out / "*.csv"), out / "never_written.pt"],
        iteration_log=True,
    )
    history = TrainingHistory(out)
    # the tracker comes first in both lists on purpose: metrics and files must still be complete when it logs them
    validation = evaluator(items, [tracker, SegmentationReport(out / "eval", name="val"), history])
    trainer(items, [tracker, ValidationHandler(2, validation), history], max_epochs=4).run()

    (run,) = runs(out)
    assert run.info.run_id == tracker.run_id and run.info.run_name == tracker.run_name
    assert run.info.status == "FINISHED"
    assert run.data.tags["data"] == "demo" and run.data.tags["note"] == "x"
    assert run.data.params["optimizer.lr"] == "0.01" and run.data.params["train_trainer.max_epochs"] == "4"
    assert run.data.params["max_epochs"] == "4" and len(run.data.params) >= 154
    steps = [(metric.step, metric.value) for metric in client(out).get_metric_history(run.info.run_id, "val_dice")]
    assert [step for step, _ in steps] == [2, 4]
    assert [m.step for m in client(out).get_metric_history(run.info.run_id, "train_loss")] == [1, 2, 3, 4]
    assert len(client(out).get_metric_history(run.info.run_id, "train_loss_iteration")) == 12
    assert 0 < run.data.metrics["val_pooled_dice"] <= 1 and run.data.metrics["lr"] == pytest.approx(0.01)
    names = artifact_names(out, run.info.run_id)
    assert {"curves.png", "history.csv", "eval/summary.json", "eval/per_image.csv", "eval/overlays.png"} <= names
    assert any(name.startswith("eval/overlays/01_") for name in names)
    assert run.info.artifact_uri.startswith((out / "mlruns").as_uri())


@pytest.mark.parametrize(("error", "status"), [(RuntimeError("boom"), "FAILED"), (KeyboardInterrupt(), "KILLED")])
def test_a_failed_run_is_marked_and_nothing_else_changes(tmp_path, out, error, status) -> None:
    items = write_images(tmp_path / "data")
    tracker = MLflowTracker(out, "tests", artifacts=[out / "history.csv"])
    saver = CheckpointSaver(
        str(out), {"model": (net := trainer(items).network)}, save_final=True, final_filename="f.pt"
    )
    stats = StatsHandler(output_transform=from_engine("loss", first=True))
    engine = trainer(items, [stats, saver, TrainingHistory(out), FailsAt(5, error), tracker], network=net)
    with pytest.raises(type(error)):
        engine.run()
    (run,) = runs(out)
    assert run.info.status == status and run.info.end_time is not None
    assert type(error).__name__ in run.data.tags["error"]
    assert "history.csv" in artifact_names(out, run.info.run_id)


def test_the_only_failure_handler_does_not_swallow_the_error(tmp_path, out) -> None:
    items = write_images(tmp_path / "data")
    engine = trainer(items, [MLflowTracker(out, "tests"), FailsAt(2, RuntimeError("boom"))])
    with pytest.raises(RuntimeError, match="boom"):
        engine.run()


def test_final_checkpoint_is_still_saved_on_failure(tmp_path, out) -> None:
    items = write_images(tmp_path / "data")
    net = trainer(items).network
    saver = CheckpointSaver(str(out), {"model": net}, save_final=True, final_filename="final.pt")
    handlers = [MLflowTracker(out, "tests"), saver, FailsAt(2, RuntimeError("boom"))]
    with pytest.raises(RuntimeError, match="boom"):
        trainer(items, handlers, network=net).run()
    assert (out / "final.pt").exists()


def test_a_failing_validation_fails_the_run(tmp_path, out) -> None:
    items = write_images(tmp_path / "data")
    tracker = MLflowTracker(out, "tests")
    validation = evaluator(items, [FailsAt(2, RuntimeError("bad mask")), tracker])
    with pytest.raises(RuntimeError, match="bad mask"):
        trainer(items, [ValidationHandler(1, validation), tracker]).run()
    assert [run.info.status for run in runs(out)] == ["FAILED"]


def test_early_stopping_is_a_normal_end(tmp_path, out) -> None:
    items = write_images(tmp_path / "data")
    tracker = MLflowTracker(out, "tests")
    stopper = EarlyStopHandler(patience=1, score_function=lambda engine: 0.0)
    validation = evaluator(items, [stopper, tracker])
    engine = trainer(items, [ValidationHandler(1, validation), tracker], max_epochs=9)
    stopper.set_trainer(engine)
    engine.run()
    assert engine.state.epoch < 9
    assert [run.info.status for run in runs(out)] == ["FINISHED"]


def test_an_evaluator_alone_owns_its_run(tmp_path, out) -> None:
    items = write_images(tmp_path / "data")
    tracker = MLflowTracker(out, "tests", run_name="evaluation", artifacts=[out / "eval"])
    evaluator(items, [SegmentationReport(out / "eval"), tracker]).run()
    (run,) = runs(out)
    assert run.info.status == "FINISHED" and run.info.run_name == "evaluation"
    assert run.data.metrics["test_dice"] > 0
    assert "eval/report.md" in artifact_names(out, run.info.run_id)


def test_every_start_is_a_run_of_its_own(tmp_path, out) -> None:
    items = write_images(tmp_path / "data")
    unfinished = client_run(out)
    for _ in range(2):
        trainer(items, [MLflowTracker(out, "tests")], max_epochs=1).run()
    assert len(runs(out)) == 3
    assert client(out).get_run(unfinished).data.metrics == {}  # somebody else's open run was not joined


def client_run(folder) -> str:
    c = client(folder)
    experiment = c.create_experiment("tests", artifact_location=(folder / "mlruns").as_uri())
    return c.create_run(experiment, run_name="of somebody else").info.run_id


def test_resume_continues_a_failed_run_of_that_name(tmp_path, out, caplog) -> None:
    items = write_images(tmp_path / "data")
    first = MLflowTracker(out, "tests", run_name="mine", params={"lr": 0.1})
    with pytest.raises(RuntimeError):
        trainer(items, [first, FailsAt(5, RuntimeError("boom"))]).run()
    second = MLflowTracker(out, "tests", run_name="mine", params={"lr": 0.2, "new": 1})
    engine = trainer(items, [second], max_epochs=3)
    engine.state.epoch, engine.state.iteration = 1, 3
    status: list[str] = []
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda _: status.append(runs(out)[0].info.status))
    engine.run()
    (run,) = runs(out)
    assert status == ["RUNNING", "RUNNING"]
    assert first.run_id == second.run_id == run.info.run_id
    assert run.info.status == "FINISHED"
    assert run.data.params["lr"] == "0.1" and run.data.params["new"] == "1"
    assert [m.step for m in client(out).get_metric_history(run.info.run_id, "train_loss")] == [1, 2, 3]


def test_an_epoch_that_is_done_again_is_logged_once(out) -> None:
    """Killed after the metrics of epoch 2, before its checkpoint; a value that differs is logged all the same."""
    from mlflow.entities import Metric

    def start(*values: tuple[str, float, int]) -> str:
        store = mlflow_store.MLflowStore(path_to_sqlite_uri(out / "mlruns.db"), "tests", "mine")
        store.open(Engine(lambda engine, batch: None))
        for name, value, step in values:
            store.log_metrics([Metric(name, value, 0, step)])
        return store.run_id

    first = start(("loss", 0.1 + 0.2, 1), ("loss", 0.25, 2), ("empty", math.nan, 2), ("dice", 0.5, 2))
    second = start(("loss", 0.25, 2), ("empty", math.nan, 2), ("dice", 0.75, 2), ("loss", 0.25, 3))
    assert first == second
    found = {
        name: [(m.step, m.value) for m in client(out).get_metric_history(first, name)]
        for name in ("loss", "dice", "empty")
    }
    assert found["loss"] == [(1, 0.1 + 0.2), (2, 0.25), (3, 0.25)]
    assert found["dice"] == [(2, 0.5), (2, 0.75)]
    assert [step for step, _ in found["empty"]] == [2]


@pytest.mark.parametrize(("resume", "expected"), [("true", 1), (False, 2)])
def test_a_finished_run_is_gone_on_with_only_when_asked(tmp_path, out, resume, expected) -> None:
    items = write_images(tmp_path / "data")
    for epochs in (1, 2):
        tracker = MLflowTracker(out, "tests", run_name="mine", resume=resume)
        engine = trainer(items, [tracker], max_epochs=epochs)
        engine.state.epoch, engine.state.iteration = epochs - 1, 3 * (epochs - 1)
        engine.run()
    assert [run.info.status for run in runs(out)] == ["FINISHED"] * expected
    assert [m.step for m in client(out).get_metric_history(tracker.run_id, "train_loss")] == [1, 2][-2 // expected :]


@pytest.mark.parametrize("resume", [True, False])
def test_a_run_is_found_however_many_others_are_newer(out, monkeypatch, resume) -> None:
    """MLflow answers with the newest runs only; here with one."""
    search = mlflow.MlflowClient.search_runs
    uri = path_to_sqlite_uri(out / "mlruns.db")
    names = ["it's mine", "another", "it's mine"]
    monkeypatch.setattr(
        mlflow.MlflowClient,
        "search_runs",
        lambda self, ids, query="", **_: search(self, [ids] if isinstance(ids, str) else ids, query, max_results=1),
    )
    ids = []
    for name in names:
        store = mlflow_store.MLflowStore(uri, "tests", name, resume)
        store.open(Engine(lambda engine, batch: None))
        ids.append(store.run_id)
        store.close("FINISHED" if resume else "FAILED")
    assert ids[0] == ids[2] != ids[1]


def test_a_run_that_goes_on_loses_the_words_of_its_failure(tmp_path, out) -> None:
    items = write_images(tmp_path / "data")
    for handlers in ([FailsAt(2, RuntimeError("boom"))], []):
        engine = trainer(items, [MLflowTracker(out, "tests", run_name="mine"), *handlers], max_epochs=1)
        with suppress(RuntimeError):
            engine.run()
    (run,) = runs(out)
    assert run.info.status == "FINISHED" and not {"error", "traceback"} & run.data.tags.keys()


def test_a_kill_while_a_store_is_made_leaves_no_half_of_one(tmp_path, monkeypatch) -> None:
    class Killed(BaseException):
        pass

    def half(engine) -> None:
        mlflow.store.db.utils.InitialBase.metadata.create_all(engine)
        raise Killed

    items = write_images(tmp_path / "data")
    folder = tmp_path / "new"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(mlflow.store.db.utils, "_initialize_tables", half)
        patch.setattr(Path, "unlink", lambda *args, **kwargs: None)  # a kill cleans nothing up
        trainer(items, [MLflowTracker(folder, "tests")], max_epochs=1).run()
    assert not (folder / "mlruns.db").exists() and list(folder.glob(".mlruns.*.part.db"))
    trainer(items, [MLflowTracker(folder, "tests")], max_epochs=1).run()
    assert [run.info.status for run in runs(folder)] == ["FINISHED"]
    assert not list(folder.glob(".mlruns.*.part.db*"))


def test_environment_variable_wins(tmp_path, out, monkeypatch) -> None:
    elsewhere = out.rename(tmp_path / "elsewhere")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", path_to_sqlite_uri(elsewhere / "mlruns.db"))
    tracker = MLflowTracker(tmp_path / "here", "tests", tracking_uri="sqlite:///ignored.db")
    trainer(write_images(tmp_path / "data"), [tracker], max_epochs=1).run()
    assert not list((tmp_path / "here").iterdir())
    assert [run.info.status for run in runs(elsewhere)] == ["FINISHED"]


@pytest.mark.parametrize("uri", ["file:///some/where", "file:/some/where", "/some/where", "some/where"])
@pytest.mark.parametrize("source", ["MLFLOW_TRACKING_URI", "tracking_uri"])
def test_a_folder_is_refused_with_the_remedy(tmp_path, monkeypatch, uri, source) -> None:
    items = write_images(tmp_path / "data")
    given = uri if source == "tracking_uri" else None
    if given is None:
        monkeypatch.setenv(source, uri)
    remedy = f"{source}={path_to_sqlite_uri(Path('/some/where' if '/some' in uri else 'some/where') / 'mlruns.db')}"
    for call in (
        lambda: resolve_tracking_uri(tmp_path / "out", given),
        lambda: trainer(items, [MLflowTracker(tmp_path / "out", "tests", tracking_uri=given)]).run(),
    ):
        with pytest.raises(ValueError, match=re.escape(remedy)):
            call()
    assert not (tmp_path / "out").exists()


def test_building_and_attaching_touches_nothing(tmp_path) -> None:
    items = write_images(tmp_path / "data")
    trainer(items, [MLflowTracker(tmp_path / "out", "tests")])
    assert not (tmp_path / "out").exists()


def test_other_ranks_stay_silent(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("RANK", "1")
    folder = tmp_path / "out"
    handlers = [MLflowTracker(folder, "tests"), TrainingHistory(folder)]
    trainer(write_images(tmp_path / "data"), handlers, max_epochs=1).run()
    assert not folder.exists()


def test_a_file_that_fails_in_mid_training_does_not_end_it(tmp_path, out, caplog) -> None:
    items = write_images(tmp_path / "data")
    tracker = MLflowTracker(out, "tests")
    engine = trainer(items, [tracker], max_epochs=3)

    @engine.on(Events.EPOCH_STARTED(once=2))
    def cut(_engine) -> None:
        tracker._store.client.log_batch = Unwell("locked for a moment", 1, tracker._store.client.log_batch)

    engine.run()
    assert "locked for a moment" in caplog.text
    (run,) = runs(out)
    assert run.info.status == "FINISHED"
    assert [m.step for m in client(out).get_metric_history(run.info.run_id, "train_loss")] == [1, 3]


HANGING = 120.0  # seconds; a tracker that waited for the answer would take longer


class Unwell:
    """Fails so many times, in this way, and then does what it should.

    Args:
        how: the message of the error, or seconds without an answer.
        times: how often.
        function: what it should do.
        heard: do it nevertheless: only the answer is lost.
    """

    def __init__(self, how: str | float, times: int, function: Callable[..., Any], heard: bool = False) -> None:
        self.how, self.times, self.function, self.heard, self.calls = how, times, function, heard, 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        if self.calls > self.times:
            return self.function(*args, **kwargs)
        if self.heard:
            self.function(*args, **kwargs)
        if isinstance(self.how, str):
            raise mlflow.exceptions.MlflowException(self.how)
        time.sleep(self.how)


@pytest.mark.parametrize("how", ["server away", HANGING, "answer lost"], ids=["fails", "hangs", "answer lost"])
@pytest.mark.parametrize("lost_at", ["metrics", "artifacts", "the end"])
def test_a_server_lost_in_mid_run_costs_seconds_and_no_figures(
    tmp_path, out, server, caplog, monkeypatch, how, lost_at
) -> None:
    caplog.set_level("INFO")
    asked, called = {
        "metrics": ("log_metrics", "log_batch"),
        "artifacts": ("log_file", "log_artifact"),
        "the end": ("close", "set_terminated"),
    }[lost_at]
    items = write_images(tmp_path / "data")
    tracker = MLflowTracker(out, "tests", params={"lr": 0.1}, data_name="demo", artifacts=[out / "history.csv"])
    engine = trainer(items, [tracker, TrainingHistory(out)], max_epochs=4)
    unwell = []

    @engine.on(Events.EPOCH_STARTED(once=3))
    def cut(_engine) -> None:
        store = tracker._store
        unwell.append(Unwell(how, 99, getattr(store.client, called), heard=how == "answer lost"))
        setattr(store.client, called, unwell[0])
        ask = getattr(store, asked)

        def ask_impatiently(*args: Any) -> None:
            with monkeypatch.context() as patch:
                patch.setattr(mlflow_store, "SECONDS", 2.0)
                ask(*args)

        setattr(store, asked, ask_impatiently)

    start = time.monotonic()
    engine.run()
    assert time.monotonic() - start < HANGING
    assert unwell[0].calls == 1  # nothing more is sent before the end
    assert caplog.text.count("does not take this run") == 1
    (run,) = runs(out)
    assert run.info.status == "FINISHED"
    assert run.data.tags["data"] == "demo" and run.data.params["lr"] == "0.1"
    assert [m.step for m in client(out).get_metric_history(run.info.run_id, "train_loss")] == [1, 2, 3, 4]
    assert artifact_names(out, run.info.run_id) == {"history.csv"}
    (there,) = runs(server)
    assert there.info.status == "FINISHED" and there.data.tags["data"] == "demo" and there.data.params["lr"] == "0.1"
    assert [m.step for m in client(server).get_metric_history(there.info.run_id, "train_loss")] == [1, 2, 3, 4]
    assert artifact_names(server, there.info.run_id) == {"history.csv"}
    assert "has all of this run now" in caplog.text


def test_a_healthy_server_gets_all_and_nothing_is_kept_twice(tmp_path, out, server) -> None:
    items = write_images(tmp_path / "data")
    (out / "notes").mkdir()
    (out / "notes" / "a.txt").write_text("a")
    trainer(items, [MLflowTracker(out, "tests", artifacts=[out / "notes"])], max_epochs=1).run()
    (run,) = runs(server)
    assert run.info.status == "FINISHED"
    assert artifact_names(server, run.info.run_id) == {"notes/a.txt"}
    assert not (out / "mlruns.db").exists()


def test_a_value_that_a_server_refuses_is_no_lost_server(tmp_path, out, server, caplog) -> None:
    tracker = MLflowTracker(out, "tests")
    engine = trainer(write_images(tmp_path / "data"), [tracker], max_epochs=2)

    @engine.on(Events.EPOCH_STARTED(once=2))
    def spoil(_engine) -> None:
        engine.state.metrics["a * b"] = 1.0  # no name for MLflow

    engine.run()
    assert "did not take the metrics of step 2" in caplog.text
    assert [run.info.status for run in runs(server)] == ["FINISHED"]
    assert not (out / "mlruns.db").exists()


@pytest.fixture(params=["refuses", "hangs"])
def absent(request) -> Iterator[str]:
    """Address on this machine of a server that is not there, or takes connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        if request.param == "hangs":
            listening.listen()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_a_server_that_is_absent_at_the_start_costs_less_than_ten_seconds(
    tmp_path, out, absent, monkeypatch, caplog
) -> None:
    """In default settings, on a machine that does nothing else; the store's own tables are not part of it."""
    for name in mlflow_store.REQUESTS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", absent)
    began: list[float] = []
    fall_back = MLflowTracker._fall_back

    def timed(self, *args) -> None:
        began.append(time.monotonic() - start)
        monkeypatch.setattr(mlflow_store, "SECONDS", 1.0)  # of the try at the end
        fall_back(self, *args)

    monkeypatch.setattr(MLflowTracker, "_fall_back", timed)
    engine = trainer(write_images(tmp_path / "data"), [MLflowTracker(out, "tests")], max_epochs=2)
    start = time.monotonic()
    engine.run()
    assert len(began) == 1 and began[0] < 10
    assert caplog.text.count("does not take this run") == 1 and absent in caplog.text
    assert f"medssm tracking send {out}" in caplog.text
    (run,) = runs(out)
    assert run.info.status == "FINISHED"
    assert [m.step for m in client(out).get_metric_history(run.info.run_id, "train_loss")] == [1, 2]
    assert not any(name in os.environ for name in mlflow_store.REQUESTS)


def test_the_users_own_limits_hold(monkeypatch) -> None:
    store = mlflow_store.MLflowStore("http://127.0.0.1:9", "tests", "a")
    seen: list[str | None] = []
    store.call(lambda: seen.append(os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT")))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    monkeypatch.setattr(mlflow_store, "SECONDS", 0.0)
    store.call(lambda: (time.sleep(0.3), seen.append(os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT"))))
    assert seen == ["6", "77"]


def test_a_password_in_the_address_is_not_shown() -> None:
    assert mlflow_store.shown_uri("https://me:secret@host:5000/a") == "https://me:***@host:5000/a"
    assert mlflow_store.shown_uri("sqlite:////a/b.db") == "sqlite:////a/b.db"


def test_interpreter_exit_closes_an_open_run(tmp_path, out) -> None:
    script = """
        import sys
        from pathlib import Path
        from ignite.engine import Events
        from medssm_monai.handlers import MLflowTracker
        from tests.handlers.engines_for_tests import trainer, write_images
        folder = Path(sys.argv[1])
        engine = trainer(write_images(folder / "data"), [MLflowTracker(folder / "out", "tests")])
        engine.fire_event(Events.STARTED)
        sys.exit(3)
    """
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(tmp_path)], env=environment, timeout=120)
    assert done.returncode == 3
    assert [run.info.status for run in runs(out)] == ["FAILED"]


def test_artifacts_must_not_hold_the_store(tmp_path) -> None:
    with pytest.raises(ValueError, match="tracking store"):
        MLflowTracker(tmp_path / "out", "tests", artifacts=[tmp_path])


def test_names() -> None:
    name = new_run_name("mamba_mis_s", "my data/set")
    assert name.startswith("mamba_mis_s_my-data-set_") and name != new_run_name("mamba_mis_s", "my data/set")
    assert flatten_params({"a": {"b#c": 1, "d": {}}, "e": [1, 2]}) == {"a.b_c": "1", "a.d": "{}", "e": "[1, 2]"}


def test_tracking_uri(tmp_path, monkeypatch) -> None:
    assert resolve_tracking_uri(tmp_path) == path_to_sqlite_uri(tmp_path / "mlruns.db")
    assert resolve_tracking_uri(tmp_path, "http://host:5000") == "http://host:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://other:5000")
    assert resolve_tracking_uri(tmp_path, "http://host:5000") == "http://other:5000"


@pytest.mark.parametrize(("before", "after"), [(None, "true"), ("false", "false")])
def test_usage_telemetry_is_off_unless_asked_for(tmp_path, monkeypatch, before, after):
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    if before is not None:
        monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", before)
    engine = Engine(lambda engine, batch: None)
    MLflowTracker(tmp_path, "telemetry").attach(engine)
    engine.run([0], max_epochs=1)
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == after


@pytest.mark.parametrize("ends_by", ["itself", "an error"])
def test_an_engine_that_ended_is_freed_with_its_network_and_optimizer(tmp_path, out, ends_by) -> None:
    """Nothing of this package holds it back: a program that trains many times would run out of memory."""
    items = write_images(tmp_path / "data")

    def ended() -> weakref.ref[Engine]:
        extra = [] if ends_by == "itself" else [FailsAt(2, RuntimeError("boom"))]
        tracker, history = MLflowTracker(out, "tests"), TrainingHistory(out)
        validation = evaluator(items, [tracker, history])
        engine = trainer(items, [tracker, ValidationHandler(1, validation), history, *extra], max_epochs=1)
        with pytest.raises(RuntimeError, match="boom") if extra else nullcontext():
            engine.run()
        return weakref.ref(engine)

    references = [ended() for _ in range(2)]
    gc.collect()
    assert [reference() for reference in references] == [None, None]
