from __future__ import annotations

import logging
import subprocess
import sys

import pytest
from monai.apps import get_logger

from medssm_monai.bundle import tidy_console
from medssm_monai.bundle.console import EVALUATORS, STATISTICS, TRAINER


@pytest.fixture(autouse=True)
def untouched(monkeypatch):
    """The filters of the loggers are as before afterwards."""
    monkeypatch.delenv("MEDSSM_TRACEBACK", raising=False)
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    get_logger(STATISTICS)
    for name in (*EVALUATORS, STATISTICS, TRAINER):
        monkeypatch.setattr(logging.getLogger(name), "filters", [])
        monkeypatch.setattr(logging.getLogger(name), "propagate", logging.getLogger(name).propagate)


RESUMING = "Engine run resuming from iteration 0, epoch 4 until 5 epochs"


@pytest.mark.parametrize(
    ("name", "message", "evaluation", "shown"),
    [
        (EVALUATORS[0], RESUMING, False, False),
        (EVALUATORS[1], RESUMING, False, False),
        (TRAINER, RESUMING, False, False),
        (TRAINER, "Engine run resuming from iteration 120, epoch 4 until 9 epochs", False, True),  # it is one
        (EVALUATORS[0], "Got new best metric of val_mean_dice: 0.7", False, True),
        (EVALUATORS[0], "Got new best metric of test_mean_dice: 0.7", True, False),
        (TRAINER, "Engine run is terminating due to exception: x", False, False),
        (TRAINER, "Epoch[2] Complete. Time taken: 00:00:04", False, True),
        (STATISTICS, "Key metric: val_mean_dice best value: 0.7 at epoch: 1", False, True),
        (STATISTICS, "Key metric: val_mean_dice best value: 0.7 at epoch: 1", True, False),
        (EVALUATORS[0], "something new", True, True),
    ],
)
def test_single_messages_are_left_out_and_no_other(caplog, name, message, evaluation, shown):
    caplog.set_level(logging.INFO)
    tidy_console(evaluation=not evaluation)
    tidy_console(evaluation=evaluation)  # the last call holds
    target = logging.getLogger(name)
    target.propagate = True  # MONAI turns it off for its own; here the messages are looked for at the root
    target.info("%s", message)
    assert (message in caplog.messages) is shown


def test_nothing_is_left_out_for_who_looks_for_an_error(caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("MEDSSM_TRACEBACK", "1")
    tidy_console()
    logging.getLogger(TRAINER).info(RESUMING)
    assert RESUMING in caplog.messages


def test_lines_of_the_statistics_still_come():
    """MONAI gives that logger its output only where nobody has asked for the logger before."""
    code = """
from medssm_monai.bundle import tidy_console
tidy_console()
from monai.handlers import StatsHandler
handler = StatsHandler()
handler.logger.info("Epoch[1] Metrics -- val_mean_dice: 0.7")
handler.logger.info("Key metric: None best value: -1 at epoch: -1")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "val_mean_dice: 0.7" in done.stdout
    assert "Key metric" not in done.stdout


QUIET_RUN = """
import logging, runpy, sys
from medssm_monai.bundle import console
console.run_by_monai = lambda: True
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(asctime)s - %(name)s - %(message)s")
sys.argv = ["monai.bundle", "run", "training", "--config_file", "x.yaml"]
console.tidy_console(verbose=VERBOSE)
for name, level, message in (
    ("ignite.engine.engine.SupervisedTrainer", "info", "Epoch[1] Complete. Time taken: 00:00:04"),
    ("ignite.engine.engine.SupervisedTrainer", "warning", "a warning of the engine"),
    ("medssm_monai.handlers.training_state", "info", "state of epoch 1 saved in x"),
    ("medssm_monai.handlers.training_state", "info", "resumed from x: 1 epochs are done"),
    ("medssm_monai.handlers.segmentation_report", "info", "validation on demo: dice 0.3"),
    ("medssm_monai.handlers.segmentation_report", "info", "test on demo: dice 0.3"),
    ("medssm_monai.handlers.closing", "info", "Trained: best"),
):
    getattr(logging.getLogger(name), level)(message)
"""


@pytest.mark.parametrize("verbose", [False, True])
def test_a_command_says_what_its_user_needs(verbose):
    code = QUIET_RUN.replace("VERBOSE", str(verbose))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    quiet = [
        "about MONAI's first line: a config is a program, so run only those that you trust, as you would a script. "
        "Yours: x.yaml",
        "WARNING: a warning of the engine",
        "resumed from x: 1 epochs are done",
        "test on demo: dice 0.3",
        "Trained: best",
    ]
    if verbose:
        assert len(lines) == 8
        assert lines[1].endswith(" - ignite.engine.engine.SupervisedTrainer - Epoch[1] Complete. Time taken: 00:00:04")
    else:
        assert lines == quiet
