"""Equal processor minutes: how many epochs of a row fit into them, from a short training of the same row.

A training's learning rate follows a schedule over ``max_epochs``, so a training that is cut off by the clock would be
cut off in the middle of it. Instead the processor time of an epoch is measured, and ``max_epochs`` is what fits.
"""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser

from ..utils import replace_file
from .plans import Plan, Run
from .programs import RowError, run_program, stopwatch

__all__ = ["ProcessorClock", "calibrate", "epochs_within"]

logger = logging.getLogger(__name__)
CLOCK = "processor_seconds.txt"


class ProcessorClock:
    """Ignite handler of a trainer: after each epoch, one line with the processor seconds (user and system, all threads)
    of this process so far. Worker processes of data loaders are not counted.

    Args:
        path: the file; an earlier one is replaced when the training starts.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.STARTED, lambda _: self.path.unlink(missing_ok=True))
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._note)

    def _note(self, engine: Engine) -> None:
        with self.path.open("a", encoding="utf8") as stream:
            stream.write(f"{time.process_time()}\n")


def epochs_within(minutes: float, per_epoch: float, fixed: float, interval: int) -> int:
    """The largest number of epochs, a multiple of ``interval``, that fit.

    Args:
        minutes: processor minutes of the whole training program.
        per_epoch: processor seconds of an epoch, with its share of validation.
        fixed: processor seconds of all the rest: imports, reading the images, the report.
        interval: epochs between validations, so that the last epoch is validated.

    Raises:
        RowError: not even one validation fits.
    """
    epochs = int((60 * minutes - fixed) / per_epoch) // interval * interval
    if epochs < interval:
        needed = (fixed + interval * per_epoch) / 60
        raise RowError(
            f"{minutes:g} processor minutes are too few: {interval} epoch(s) with a validation take {needed:.2f} "
            f"({fixed:.1f} s, and {per_epoch:.1f} s an epoch); give more minutes"
        )
    return epochs


def calibrate(plan: Plan, run: Run, folder: Path) -> dict[str, Any]:
    """How many epochs of a row fit into the plan's processor minutes.

    The row is trained for twice ``val_interval`` epochs; the second half (first calls and compilation are over then)
    gives the seconds of an epoch, and what the whole program took beyond its epochs is the fixed part. The result is
    kept in ``folder/calibration.json`` and holds for all seeds of the row; two processes do not calibrate one row
    at once.

    Returns:
        ``max_epochs``, ``seconds_per_epoch``, ``fixed_seconds``, ``epochs_measured`` and ``minutes``.

    Raises:
        RowError: the short training failed, the minutes are too few, or processor time is not known (Windows).
    """
    assert plan.minutes is not None
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "calibration.json"
    asked = plan.fingerprint(run.row)  # whichever seed comes first
    with FileLock(folder.parent / f".{folder.name}.lock"):
        if file.is_file():
            before: dict[str, Any] = json.loads(file.read_text(encoding="utf8"))
            if before.pop("fingerprint") == asked:
                return before
        found = _measure(plan, run, folder)
        with replace_file(file) as part:
            part.write_text(json.dumps({**found, "fingerprint": asked}, indent=2), encoding="utf8")
    return found


def _measure(plan: Plan, run: Run, folder: Path) -> dict[str, Any]:
    assert plan.minutes is not None
    overrides = plan.training_overrides(run.row, run.seed, run.fold)
    parser = ConfigParser(ConfigParser.load_config_files(plan.configs(run.row)))
    interval = int(overrides.get("val_interval", parser["val_interval"]))
    warm_up = int(overrides.get("warmup_epochs", parser.get("warmup_epochs", 0)))
    clock = folder / CLOCK
    overlay = folder / "training.yaml"
    places = {
        "bundle_root": str(plan.bundle),
        "output_dir": str(folder.parent),
        "ckpt_dir": str(folder / "models"),
        "run_dir": str(folder / "training"),
        "run_name": folder.name,
        "max_epochs": 2 * interval,
        "patience": 2 * interval,
        "+train#handlers": [{"_target_": f"{__name__}.ProcessorClock", "path": str(clock)}],
    }
    overlay.write_text(yaml.safe_dump({**overrides, **places}, sort_keys=False), encoding="utf8")
    logger.info("%s: calibration over %d epochs (output in %s)", run.row.name, 2 * interval, folder / "training.log")
    with stopwatch() as spent:
        run_program("training", plan.configs(run.row, str(overlay)), folder)
    if spent.processor is None:
        raise RowError("processor time of programs is not known on this system; use budget: steps")
    times = [float(line) for line in clock.read_text(encoding="utf8").split()]
    per_epoch = (times[2 * interval - 1] - times[interval - 1]) / interval
    fixed = spent.processor - 2 * interval * per_epoch
    epochs = epochs_within(plan.minutes, per_epoch, fixed, interval)
    if epochs <= warm_up:
        raise RowError(f"{epochs} epochs fit, but the learning rate warms up for {warm_up}; give more minutes")
    logger.info("%s: %.1f processor seconds an epoch, so %d epochs", run.row.name, per_epoch, epochs)
    return {
        "max_epochs": epochs,
        "seconds_per_epoch": per_epoch,
        "fixed_seconds": fixed,
        "epochs_measured": 2 * interval,
        "minutes": plan.minutes,
    }
