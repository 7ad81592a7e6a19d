"""A resumed training is the uninterrupted one; its files are whole at every moment."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.engines import IterationEvents

from medssm_monai.handlers import CheckpointError, run_name_for

from .resumable import SCORES, SETTINGS, Training, names, table


class Interrupted(BaseException):
    """Stands for a kill: no handler expects it."""


def stop_at(training: Training, moment: str, epoch: int, monkeypatch) -> None:
    """Run until the moment in an epoch, and end there."""

    def end(engine) -> None:
        if engine.state.epoch == epoch:
            raise Interrupted

    if moment == "mid-epoch":
        training.trainer.add_event_handler(IterationEvents.BACKWARD_COMPLETED, end)
    elif moment == "after validation":
        training.trainer.add_event_handler(Events.EPOCH_COMPLETED, end)
    else:
        whole = Path.write_bytes

        def half(path: Path, data: bytes) -> int:
            if f"checkpoint_epoch={epoch}." in path.name:
                whole(path, data[: len(data) // 2])
                raise Interrupted
            return whole(path, data)

        monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(Interrupted):
        training.run()
    monkeypatch.undo()


def equal(a: Any, b: Any) -> bool:
    """Nested dicts and lists of tensors, numbers and text, to the bit and in the same order."""
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    return torch.equal(a, b) and a.dtype == b.dtype if isinstance(a, torch.Tensor) else a == b


def same(resumed: Path, straight: Path, epoch: int = 5) -> None:
    """Weights, optimizer, counters, best weights and table are equal to the bit."""
    file = f"checkpoint_epoch={epoch}.pt"
    ours, theirs = (torch.load(folder / file, weights_only=True) for folder in (resumed, straight))
    for rows in (ours["history"]["rows"], theirs["history"]["rows"]):
        for row in rows:
            del row["seconds"]
    assert equal(ours, theirs)
    assert table(resumed) == table(straight)
    for name in ("model.pt", "model.json"):
        assert (resumed / name).read_bytes() == (straight / name).read_bytes()


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """Folders of uninterrupted trainings, by the number of data loader workers."""
    folders = {workers: tmp_path_factory.mktemp("straight") for workers in (0, 2)}
    for workers, folder in folders.items():
        Training(folder, workers=workers).run()
    return folders


@pytest.mark.parametrize("moment", ["mid-epoch", "after validation", "mid-write"])
@pytest.mark.parametrize(("epoch", "workers"), [(1, 0), (3, 0), (4, 0), (3, 2)])
def test_a_resumed_training_equals_the_uninterrupted_one(
    straight, moment, epoch, workers, tmp_path, monkeypatch
) -> None:
    stop_at(Training(tmp_path, workers=workers), moment, epoch, monkeypatch)
    resume = tmp_path if epoch > 1 else None  # nothing was saved before the end of the first epoch
    Training(tmp_path, workers=workers, resume_from=resume).run()
    same(tmp_path, straight[workers])


@pytest.mark.parametrize("moment", ["mid-epoch", "mid-write"])
def test_the_same_start_goes_on_by_itself(straight, moment, tmp_path, monkeypatch, caplog) -> None:
    for epoch in (1, 2, 4):
        stop_at(Training(tmp_path, resume="true"), moment, epoch, monkeypatch)
    with caplog.at_level(logging.INFO, "medssm_monai"):
        Training(tmp_path, resume="true").run()
    same(tmp_path, straight[0])
    assert "checkpoint_epoch=3.pt: 3 epochs are done" in caplog.text


def test_a_start_without_a_checkpoint_says_so_and_begins(straight, tmp_path, caplog) -> None:
    with caplog.at_level(logging.INFO, "medssm_monai"):
        Training(tmp_path, resume=True).run()
    assert f"--resume: {tmp_path} holds no checkpoint; the training starts from its beginning" in caplog.text
    same(tmp_path, straight[0])


def test_its_own_checkpoint_comes_before_the_one_that_it_began_with(straight, tmp_path, monkeypatch) -> None:
    Training(tmp_path / "first", max_epochs=2, planned=5).run()
    arguments = {"planned": 5, "resume_from": tmp_path / "first", "resume": True}
    stop_at(Training(tmp_path / "second", **arguments), "mid-epoch", 5, monkeypatch)
    training = Training(tmp_path / "second", **arguments)
    assert training.state._found[0] == tmp_path / "second" / "checkpoint_epoch=4.pt"
    training.run()
    same_after_planning(tmp_path / "second", straight[0])


@pytest.mark.parametrize("broken", [[5], [4, 5]])
def test_a_start_by_itself_passes_over_what_is_corrupt(broken, tmp_path, caplog) -> None:
    """The kind of damage that a disk does: one byte in the middle."""
    Training(tmp_path).run()
    for epoch in broken:
        path = tmp_path / f"checkpoint_epoch={epoch}.pt"
        data = bytearray(path.read_bytes())
        data[len(data) // 2 : len(data) // 2 + 3000] = bytes(3000)
        path.write_bytes(data)
    if len(broken) == 2:
        with pytest.raises(ValueError, match=r"(?s)no checkpoint of .*epoch=5.pt.*epoch=4.pt.*another --run_name"):
            Training(tmp_path, resume=True)
        return
    assert Training(tmp_path, resume=True).state._found[0].name == "checkpoint_epoch=4.pt"
    assert re.search(r"checkpoint_epoch=5.pt does not load \(\d+ bytes.*it is left out", caplog.text)


def test_resume_takes_no_folder(tmp_path) -> None:
    with pytest.raises(ValueError, match="resume is 'eval/run'.*--resume_from"):
        Training(tmp_path, resume="eval/run")


def test_epochs_draw_different_numbers_and_the_seed_decides(tmp_path) -> None:
    losses = {}
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        training = Training(tmp_path / name, seed=seed)
        training.network[1].weight.requires_grad_(False)
        training.run()
        losses[name] = [row["train_loss"] for row in table(tmp_path / name)]
    assert losses["a"] == losses["b"] != losses["c"]
    assert len(set(losses["a"])) == 5


def test_the_best_of_the_whole_run_stays(tmp_path) -> None:
    Training(tmp_path, max_epochs=3, planned=5).run()
    best = (tmp_path / "model.pt").read_bytes()
    training = Training(tmp_path, max_epochs=5, planned=5, resume_from=tmp_path).run()
    assert (tmp_path / "model.pt").read_bytes() == best
    assert (training.evaluator.state.best_metric, training.evaluator.state.best_metric_epoch) == (0.75, 2)
    Training(tmp_path, max_epochs=6, planned=5, resume_from=tmp_path).run()  # 0.875 is better
    assert (tmp_path / "model.pt").read_bytes() != best
    assert [row["score"] for row in table(tmp_path)] == [str(score) for score in SCORES]


def test_the_settings_name_the_weights_they_belong_to(tmp_path) -> None:
    Training(tmp_path, max_epochs=2).run()
    settings = json.loads((tmp_path / "model.json").read_text())
    digest = hashlib.sha256((tmp_path / "model.pt").read_bytes()).hexdigest()
    assert settings == {**SETTINGS, "weights_sha256": digest, "trained_on": "numbers"}


def test_best_weights_that_were_lost_or_changed_are_written_again(tmp_path) -> None:
    Training(tmp_path, max_epochs=3, planned=5).run()
    best, settings = (tmp_path / "model.pt").read_bytes(), (tmp_path / "model.json").read_bytes()
    (tmp_path / "model.pt").write_bytes(b"another epoch's")
    (tmp_path / "model.json").unlink()
    Training(tmp_path, planned=5, resume_from=tmp_path).run()
    assert (tmp_path / "model.pt").read_bytes() == best
    assert (tmp_path / "model.json").read_bytes() == settings
    assert [path.read_bytes() for path in tmp_path.glob("model_*.pt")] == [b"another epoch's"]


@pytest.mark.parametrize("resumed_at", [1, 2, 3, 4, 5])
def test_early_stopping_goes_on_counting(resumed_at, tmp_path, monkeypatch) -> None:
    """After 0.75 in epoch 2, three validations without a better one end the training at epoch 5 (of 9)."""
    scores = (*SCORES[:5], 0.1, 0.1, 0.1, 0.1)
    arguments = {"scores": scores, "patience": 3, "max_epochs": 9}
    stop_at(Training(tmp_path, **arguments), "mid-epoch", resumed_at, monkeypatch)
    training = Training(tmp_path, **arguments, resume_from=tmp_path if resumed_at > 1 else None).run()
    assert training.trainer.state.epoch == 5
    assert [row["epoch"] for row in table(tmp_path)] == ["1", "2", "3", "4", "5"]


def test_learning_rates_are_those_of_the_schedule(tmp_path, monkeypatch) -> None:
    stop_at(Training(tmp_path, max_epochs=4), "mid-epoch", 3, monkeypatch)
    Training(tmp_path, max_epochs=4, resume_from=tmp_path).run()
    # (lr - eta_min) / 2 * (1 + cos(pi * epoch / 4)) + eta_min, with lr 0.01 and eta_min 0.00001; by hand
    rates = [float(row["lr"]) for row in table(tmp_path)]
    assert rates == pytest.approx([0.00853700, 0.005005, 0.00147300, 0.00001], abs=1e-8)


# ---- a run that is finished, or of before --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"max_epochs": 3}, r"nothing is left to train: epoch 3 of 3 is done.*--max_epochs"),
        ({"max_epochs": 2}, r"nothing is left to train: epoch 3 of 2 is done.*--max_epochs"),
        ({"max_epochs": 9, "patience": 1}, r"nothing is left to train: it stopped early.*--patience"),
    ],
    ids=["all epochs", "fewer epochs", "early"],
)
def test_resuming_a_finished_run_ends_at_once_and_changes_nothing(arguments, says, tmp_path, caplog) -> None:
    Training(tmp_path, **{**arguments, "max_epochs": max(arguments["max_epochs"], 3)}).run()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with caplog.at_level(logging.INFO, "medssm_monai"):
        training = Training(tmp_path, **arguments, resume_from=tmp_path).run()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert training.trainer.state.epoch == 3
    assert re.search(says, caplog.text)


def test_more_patience_goes_on_after_an_early_stop(tmp_path) -> None:
    Training(tmp_path, max_epochs=6, patience=1).run()
    assert len(table(tmp_path)) == 3
    assert Training(tmp_path, max_epochs=6, patience=4, resume_from=tmp_path).run().trainer.state.epoch == 6


def test_a_checkpoint_of_an_earlier_version_resumes_and_says_what_it_lacks(tmp_path, caplog) -> None:
    """Those were written before the learning rate's step and held four entries."""
    straight = Training(tmp_path / "new", max_epochs=4, ema_decay=None)
    old = {}

    def keep_old(engine) -> None:
        if engine.state.epoch == 2:
            objects = straight.state.objects
            old.update({name: objects[name].state_dict() for name in ("model", "optimizer", "lr_scheduler")})
            torch.save({**old, "trainer": engine.state_dict()}, tmp_path / "old" / "checkpoint_epoch=2.pt")

    (tmp_path / "old").mkdir()
    straight.trainer._event_handlers[Events.EPOCH_COMPLETED].insert(0, (keep_old, (straight.trainer,), {}))
    straight.run()
    Training(tmp_path / "old", max_epochs=4, resume_from=tmp_path / "old", ema_decay=None).run()
    ours, theirs = table(tmp_path / "old"), table(tmp_path / "new")[2:]
    assert [(row["epoch"], row["lr"], row["train_loss"]) for row in ours] == [
        (row["epoch"], row["lr"], row["train_loss"]) for row in theirs
    ]
    assert "earlier version" in caplog.text and "no early_stop, best_model, history" in caplog.text


# ---- files ---------------------------------------------------------------------------------------------------------


def test_two_checkpoints_are_kept_and_load_without_code(tmp_path) -> None:
    Training(tmp_path).run()
    expected = ["checkpoint_epoch=4.pt", "checkpoint_epoch=5.pt", "history.csv", "model.json", "model.pt"]
    assert names(tmp_path) == expected
    assert set(torch.load(tmp_path / expected[0], weights_only=True)) == {
        *("model", "optimizer", "lr_scheduler", "average", "early_stop", "best_model", "history", "trainer", "version")
    }


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half of"], ids=["0 bytes", "truncated"])
@pytest.mark.parametrize("given", ["folder", "file"])
def test_a_broken_newest_checkpoint_is_named(content, given, tmp_path, caplog) -> None:
    Training(tmp_path).run()
    broken = tmp_path / "checkpoint_epoch=5.pt"
    expected = torch.load(broken, weights_only=True)["model"]
    broken.write_bytes(content)
    if given == "file":
        with pytest.raises(ValueError, match=r"epoch=5.pt does not load \(.*checkpoint_epoch=4.pt beside it does"):
            Training(tmp_path, resume_from=broken)
        return
    Training(tmp_path, resume_from=tmp_path).run()
    assert f"checkpoint_epoch=5.pt does not load ({len(content)} bytes" in caplog.text
    torch.testing.assert_close(torch.load(broken, weights_only=True)["model"], expected, rtol=0, atol=0)
    assert [name for name in names(tmp_path) if name.endswith(".pt")] == [
        *("checkpoint_epoch=4.pt", "checkpoint_epoch=5.pt", "model.pt")
    ]


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda folder: None, FileNotFoundError, "checkpoint not found: .*--resume_from"),
        (lambda folder: folder.mkdir(), FileNotFoundError, "checkpoint not found: .*folder of the run"),
        (lambda folder: folder.write_bytes(b"x"), ValueError, "No other checkpoint beside it loads"),
        (
            lambda folder: (folder.mkdir(), (folder / "checkpoint_epoch=1.pt").touch()),
            ValueError,
            r"no checkpoint of .* loads: .*epoch=1.pt does not load \(0 bytes",
        ),
        (lambda folder: torch.save({"a": torch.ones(1)}, folder), ValueError, "is no checkpoint of a run"),
    ],
    ids=["nothing", "empty folder", "broken file", "only broken", "weights"],
)
def test_what_cannot_be_resumed_is_said_before_anything_is_written(make, error, match, tmp_path) -> None:
    make(tmp_path / "given")
    with pytest.raises(error, match=match):
        Training(tmp_path / "out", resume_from=tmp_path / "given")
    assert not (tmp_path / "out").exists()


def test_the_state_of_another_network_is_one_clear_line(tmp_path) -> None:
    Training(tmp_path, max_epochs=1).run()
    with pytest.raises(ValueError, match="is the state of another training, its model does not fit"):
        Training(tmp_path, width=9, resume_from=tmp_path).run()


@pytest.mark.parametrize(("before", "now"), [(None, 0.5), (0.5, None)])
def test_a_checkpoint_with_and_one_without_an_average_are_not_mixed(before, now, tmp_path) -> None:
    Training(tmp_path, max_epochs=1, ema_decay=before).run()
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=r"checkpoint_epoch=1.pt holds (no|an) average.*Give "):
        Training(tmp_path, resume_from=tmp_path, ema_decay=now).run()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == kept


def test_a_checkpoint_without_its_network_is_no_checkpoint(tmp_path) -> None:
    Training(tmp_path, max_epochs=1).run()
    path = tmp_path / "checkpoint_epoch=1.pt"
    state = torch.load(path, weights_only=True)
    del state["model"]
    torch.save(state, path)
    with pytest.raises(ValueError, match="is no checkpoint of a run"):
        Training(tmp_path, resume_from=path)


def test_a_full_disk_ends_the_run_and_loses_nothing(tmp_path, straight) -> None:
    """The process may write files as large as model.pt, not as large as a checkpoint: the operating system refuses."""
    Training(tmp_path, max_epochs=2, planned=5).run()
    before = (tmp_path / "checkpoint_epoch=2.pt").read_bytes()
    training = Training(tmp_path, resume_from=tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(CheckpointError, match=r"checkpoint_epoch=3.pt \(.* MB\) could not be saved") as raised:
            training.run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "checkpoint_epoch=2.pt, checkpoint_epoch=1.pt kept" in str(raised.value)
    assert f"--resume_from {tmp_path}" in str(raised.value)
    assert "MB are free" in str(raised.value)
    assert (tmp_path / "checkpoint_epoch=2.pt").read_bytes() == before
    assert not [name for name in names(tmp_path) if "part" in name]
    Training(tmp_path, planned=5, resume_from=tmp_path).run()
    same_after_planning(tmp_path, straight[0])


def same_after_planning(resumed: Path, straight: Path) -> None:
    """The first start had planned two epochs of the same schedule: all but that number is equal."""
    ours, theirs = (torch.load(f / "checkpoint_epoch=5.pt", weights_only=True)["model"] for f in (resumed, straight))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert table(resumed) == table(straight)


def test_links_are_replaced_and_not_written_through(tmp_path) -> None:
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    run.mkdir()
    targets = ["model.pt", "model.json", "history.csv", "checkpoint_epoch=1.pt", f".model.{os.getpid()}.part.pt"]
    for number, name in enumerate(targets):
        (tmp_path / f"precious{number}").write_text("precious")
        (run / name).symlink_to(tmp_path / f"precious{number}")
    (run / "checkpoint_epoch=2.pt").symlink_to(elsewhere)  # a dead one
    Training(run, max_epochs=2).run()
    assert [(tmp_path / f"precious{number}").read_text() for number in range(len(targets))] == ["precious"] * 5
    assert not elsewhere.exists()
    written = ["model.pt", "model.json", "history.csv", "checkpoint_epoch=1.pt", "checkpoint_epoch=2.pt"]
    assert not any((run / name).is_symlink() for name in written)


def test_starting_anew_in_a_folder_keeps_what_is_there(tmp_path) -> None:
    Training(tmp_path, max_epochs=4).run()
    before = {path.read_bytes() for path in tmp_path.iterdir()}
    Training(tmp_path, max_epochs=3, seed=1).run()
    assert before <= {path.read_bytes() for path in tmp_path.iterdir()}
    assert sorted(path.name for path in tmp_path.glob("checkpoint_epoch=?.pt")) == [
        *("checkpoint_epoch=2.pt", "checkpoint_epoch=3.pt")
    ]


def test_going_on_in_another_folder_takes_the_best_and_the_table_along(straight, tmp_path) -> None:
    expected = straight[0]
    Training(tmp_path / "first", max_epochs=3, planned=5).run()
    Training(tmp_path / "second", planned=5, resume_from=tmp_path / "first").run()
    same_after_planning(tmp_path / "second", expected)
    for name in ("model.pt", "model.json"):
        assert (tmp_path / "second" / name).read_bytes() == (expected / name).read_bytes()
    with pytest.raises(ValueError, match="holds checkpoints of another run.*--run_name"):
        Training(tmp_path / "second", resume_from=tmp_path / "first")


def test_what_a_kill_left_of_a_checkpoint_is_removed(tmp_path) -> None:
    tmp_path.joinpath(".checkpoint_epoch=1.999999.part.pt").write_bytes(b"half")
    Training(tmp_path, max_epochs=1).run()
    assert not list(tmp_path.glob(".*"))


def test_the_name_of_a_run_is_that_of_the_checkpoints_folder(tmp_path, monkeypatch) -> None:
    run = tmp_path / "my_run"
    run.mkdir()
    (run / "checkpoint_epoch=1.pt").touch()
    monkeypatch.chdir(run)
    for given in (run, f"{run}/", run / "checkpoint_epoch=1.pt", "checkpoint_epoch=1.pt", "."):
        assert run_name_for(given, "variant", "data") == "my_run"
    assert run_name_for(None, "variant", "data").startswith("variant_data_")


def test_other_ranks_resume_and_write_nothing(tmp_path) -> None:
    Training(tmp_path, max_epochs=3, planned=5).run()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    del before["history.csv"]  # its handler asks for the rank itself
    training = Training(tmp_path, planned=5, resume_from=tmp_path, save=False).run()
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    assert training.evaluator.state.best_metric_epoch == 2
    assert training.stop.state_dict() == {"counter": 3, "best_score": 0.75}
