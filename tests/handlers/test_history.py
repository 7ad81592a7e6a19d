from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine, Events
from monai.handlers import StatsHandler, ValidationHandler, from_engine
from PIL import Image

from medssm_monai.handlers import TrainingHistory, read_history
from medssm_monai.handlers.events import average_train_loss

from .engines_for_tests import FailsAt, evaluator, trainer, write_images


def run(items, folder, max_epochs=4, extra=(), start_epoch=0):
    history = TrainingHistory(folder)
    validation = evaluator(items, [history])
    # the history comes before validation in the list on purpose: its row must wait for the validation's figures
    engine = trainer(items, [history, ValidationHandler(2, validation), *extra], max_epochs=max_epochs)
    if start_epoch:
        engine.state.epoch, engine.state.iteration = start_epoch, start_epoch * engine.state.epoch_length
    engine.run()
    return engine


def test_one_row_per_epoch_with_the_mean_loss(tmp_path) -> None:
    items = write_images(tmp_path / "data")
    losses: list[float] = []

    class Loss(torch.nn.BCEWithLogitsLoss):
        def forward(self, pred, target):
            value = super().forward(pred, target)
            losses.append(float(value.detach()))
            return value

    history = TrainingHistory(tmp_path / "out")
    validation = evaluator(items, [history])
    trainer(items, [history, ValidationHandler(2, validation)], loss=Loss(), max_epochs=4).run()
    rows = read_history(tmp_path / "out" / "history.csv")
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    for i, row in enumerate(rows):
        assert row["train_loss"] == pytest.approx(sum(losses[3 * i : 3 * i + 3]) / 3)
        assert ("val_dice" in row) == (i % 2 == 1)
        assert row["lr"] == pytest.approx(0.01)
    assert Image.open(tmp_path / "out" / "curves.png").size[0] > 500


def test_a_failure_keeps_rows_and_draws_curves(tmp_path) -> None:
    items = write_images(tmp_path / "data")
    stats = StatsHandler(output_transform=from_engine("loss", first=True))  # raises the error again before ours could
    with pytest.raises(RuntimeError, match="power cut"):
        run(items, tmp_path / "out", extra=[stats, FailsAt(8, RuntimeError("power cut"))])
    assert [row["epoch"] for row in read_history(tmp_path / "out" / "history.csv")] == [1, 2]
    assert (tmp_path / "out" / "curves.png").stat().st_size > 1000


def test_resuming_continues_the_table(tmp_path) -> None:
    items = write_images(tmp_path / "data")
    run(items, tmp_path / "out", max_epochs=3)
    first = read_history(tmp_path / "out" / "history.csv")
    run(items, tmp_path / "out", max_epochs=5, start_epoch=2)
    rows = read_history(tmp_path / "out" / "history.csv")
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5]
    assert rows[:2] == first[:2]


def test_starting_anew_keeps_the_old_table(tmp_path) -> None:
    items = write_images(tmp_path / "data")
    run(items, tmp_path / "out", max_epochs=3)
    old = (tmp_path / "out" / "history.csv").read_text()
    run(items, tmp_path / "out", max_epochs=1)
    assert len(read_history(tmp_path / "out" / "history.csv")) == 1
    kept = [path for path in (tmp_path / "out").glob("history*.csv") if path.name != "history.csv"]
    assert [path.read_text() for path in kept] == [old]


def test_folder_in_the_way(tmp_path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(PermissionError, match="output_dir"):
        run(write_images(tmp_path / "data"), tmp_path / "file")


def test_no_temporary_files_stay(tmp_path) -> None:
    run(write_images(tmp_path / "data"), tmp_path / "out", max_epochs=1)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["curves.png", "history.csv"]


@pytest.mark.parametrize("lower", [False, True])
def test_curves_mark_the_epoch_that_the_evaluator_kept(tmp_path, monkeypatch, lower: bool) -> None:
    drawn = {}
    monkeypatch.setattr(
        "medssm_monai.visualize.curves.plot_curves",
        lambda rows, path, metrics, key, best, title: (path.touch(), drawn.update(key=key, best=best, title=title)),
    )
    items = write_images(tmp_path / "data")
    history = TrainingHistory(tmp_path / "run7")
    compare = {"metric_cmp_fn": lambda new, best: new < best} if lower else {}
    validation = evaluator(items, [history], **compare)
    trainer(items, [history, ValidationHandler(1, validation)], max_epochs=4).run()
    scores = [row["val_dice"] for row in read_history(tmp_path / "run7" / "history.csv")]
    best = min(scores) if lower else max(scores)
    assert drawn == {"key": "val_dice", "best": (scores.index(best) + 1, best), "title": "run7"}
    assert drawn["best"][0] == validation.state.best_metric_epoch


def test_the_mean_loss_is_attached_to_an_engine_once():
    engines = [Engine(lambda engine, batch: {"loss": batch}) for _ in range(2)]
    for engine in (*engines, engines[0]):
        average_train_loss(engine)
    for engine in engines:
        assert len(engine._event_handlers[Events.EPOCH_COMPLETED]) == 1
        engine.run([1.0, 2.0, 6.0], max_epochs=2)
        assert engine.state.metrics["train_loss"] == 3.0
