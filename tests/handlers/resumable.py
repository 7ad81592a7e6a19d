"""A small training whose validation scores a test decides, to be interrupted and resumed; no images are read."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.metrics import Metric
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import LrScheduleHandler, ValidationHandler, stopping_fn_from_metric
from monai.transforms import Compose, RandFlipd, RandGaussianNoised

from medssm_monai.handlers import BestModel, EarlyStop, EpochSeed, TrainingHistory, TrainingState, WeightAverage

SCORES = (0.5, 0.75, 0.625, 0.6875, 0.71875, 0.875)  # exact in float32; the best of the first five is the second
SETTINGS = {"variant": "small", "classes": ["a", "b"]}


class Script(Metric):
    """Gives the score that the script has for the evaluator's epoch."""

    def __init__(self, scores: Sequence[float]) -> None:
        self.scores, self.engine = scores, None
        super().__init__()

    def reset(self) -> None: ...

    def update(self, output: Any) -> None: ...

    def compute(self) -> float:
        return self.scores[self.engine.state.epoch - 1]


class Training:
    """Trainer and evaluator of one start of a run in ``folder``."""

    def __init__(
        self,
        folder: Path,
        scores: Sequence[float] = SCORES,
        resume_from: Path | None = None,
        max_epochs: int = 5,
        patience: int = 10,
        workers: int = 0,
        seed: int | None = 7,
        width: int = 8,
        save: bool = True,
        planned: int | None = None,
        ema_decay: float | None = 0.5,
        resume: bool | str = False,
    ) -> None:
        torch.manual_seed(0)
        rng = np.random.default_rng(0)
        items = [
            {"image": torch.tensor(rng.normal(size=(1, 6)), dtype=torch.float32), "label": torch.tensor([float(i % 2)])}
            for i in range(10)
        ]
        augment = Compose([RandFlipd("image", prob=0.5, spatial_axis=0), RandGaussianNoised("image", prob=0.5)])
        self.network = torch.nn.Sequential(
            torch.nn.Flatten(),
            torch.nn.Linear(6, width),
            torch.nn.BatchNorm1d(width),
            torch.nn.Dropout(0.3),
            torch.nn.Linear(width, 1),
        )
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=0.01)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=planned or max_epochs, eta_min=1e-5)
        self.average = WeightAverage(self.network, ema_decay)
        self.history = TrainingHistory(folder, curves=None)
        self.best = BestModel(folder, self.network, SETTINGS, data_name="numbers", save=save)
        self.stop = EarlyStop(patience, stopping_fn_from_metric("score"))
        script = Script(scores)
        self.evaluator = SupervisedEvaluator(
            "cpu",
            DataLoader(Dataset(items[:4]), batch_size=4, num_workers=workers),
            self.network,
            key_val_metric={"score": script},
            val_handlers=[self.average, self.stop, self.best, self.history],
        )
        script.engine = self.evaluator
        objects = {"model": self.network, "optimizer": optimizer, "lr_scheduler": scheduler}
        objects |= {"average": self.average}
        objects |= {"early_stop": self.stop, "best_model": self.best, "history": self.history}
        self.state = TrainingState(folder, objects, resume_from=resume_from, save=save, resume=resume)
        self.trainer = SupervisedTrainer(
            "cpu",
            max_epochs,
            DataLoader(Dataset(items, augment), batch_size=4, shuffle=True, num_workers=workers),
            self.network,
            optimizer,
            torch.nn.BCEWithLogitsLoss(),
            train_handlers=[
                EpochSeed(seed),
                self.state,
                LrScheduleHandler(scheduler, print_lr=False),
                self.average,
                ValidationHandler(1, self.evaluator),
                self.history,
            ],
        )
        self.stop.set_trainer(self.trainer)

    def run(self) -> Training:
        self.trainer.run()
        return self


def table(folder: Path) -> list[dict[str, str]]:
    """Rows of the history as text, without the seconds."""
    with open(folder / "history.csv", newline="") as stream:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(stream)]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
