"""What a run shows of itself: lines in a file, one bar on a terminal."""

from __future__ import annotations

import io
import logging
import sys

import pytest
import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import MeanSquaredError, ValidationHandler, from_engine

from medssm_monai.handlers import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def training(epochs: int = 2, batches: int = 3, every: float = 60.0, fail_at: int = 0) -> SupervisedTrainer:
    """A line fitted to constants: its loss is known."""
    network = torch.nn.Linear(1, 1)
    data = [{"image": torch.ones(2, 1), "label": torch.zeros(2, 1)}] * batches
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=data,
        network=network,
        key_val_metric={"val_error": MeanSquaredError(output_transform=from_engine(["pred", "label"]))},
    )
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=epochs,
        train_data_loader=data,
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.0),
        loss_function=lambda pred, label: (pred * 0 + 0.25).mean(),
        train_handlers=[ValidationHandler(1, evaluator), Progress(validator=evaluator, every=every)],
    )
    if fail_at:

        @trainer.on(Events.ITERATION_COMPLETED(once=fail_at))
        def fail(engine: Engine) -> None:
            raise RuntimeError("the disk is gone")

    with torch.no_grad():
        network.weight.fill_(2.0)
        network.bias.fill_(0.0)
    return trainer


def test_a_file_gets_a_line_per_epoch_with_loss_and_key_metric(caplog):
    caplog.set_level(logging.INFO, "medssm_monai")
    training().run()
    lines = [message for name, _, message in caplog.record_tuples if name.endswith("progress")]
    assert lines == [
        "epoch 1 of 2: loss 0.250, val_error 4.000 (best 4.000 in epoch 1)",
        "epoch 2 of 2: loss 0.250, val_error 4.000 (best 4.000 in epoch 1)",
    ]


def test_long_epochs_say_where_they_are(caplog):
    caplog.set_level(logging.INFO, "medssm_monai")
    training(epochs=1, every=0.0).run()
    lines = [message for name, _, message in caplog.record_tuples if name.endswith("progress")]
    assert lines[:3] == [f"epoch 1 of 1, {n} of 3 batches" for n in (1, 2, 3)]
    assert lines[3].startswith("epoch 1 of 1: loss 0.250")


def test_an_engine_that_does_not_train_counts_its_batches(caplog):
    caplog.set_level(logging.INFO, "medssm_monai")
    engine = Engine(lambda engine, batch: batch)
    Progress(what="images", every=0.0).attach(engine)
    engine.run([1, 2])
    assert caplog.messages[-2:] == ["images, 1 of 2 images", "images, 2 of 2 images"]


@pytest.mark.parametrize("fail_at", [0, 4])
def test_a_terminal_has_one_bar_and_messages_above_it(monkeypatch, caplog, fail_at):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr("medssm_monai.handlers.progress.REFRESH", 0)
    caplog.set_level(logging.INFO, "medssm_monai")
    handlers = logging.getLogger().handlers[:]
    trainer = training(fail_at=fail_at)
    if fail_at:
        with pytest.raises(RuntimeError, match="the disk is gone"):
            trainer.run()
    else:
        trainer.run()
    shown = terminal.getvalue()
    assert "epoch 1 of 2" in shown and "loss 0.250" in shown
    assert ("100%" in shown) is not bool(fail_at)
    assert "val_error 4.000 (best 4.000 in epoch 1)" in shown
    assert not [name for name, *_ in caplog.record_tuples if name.endswith("progress")]
    assert logging.getLogger().handlers == handlers  # the console is as before
    assert shown.endswith("\r")  # the bar is gone
