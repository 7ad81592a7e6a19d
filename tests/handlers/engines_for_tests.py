"""Small MONAI engines on generated images (not real ones) for the handler tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import MeanDice, from_engine
from monai.transforms import (
    Activationsd,
    AsDiscreted,
    Compose,
    CopyItemsd,
    EnsureChannelFirstd,
    LoadImaged,
    ScaleIntensityd,
)
from PIL import Image


def write_images(folder: Path, count: int = 6, size: int = 24) -> list[dict[str, str]]:
    """Gray squares on a dark ground with their masks, as PNG files; a datalist of them."""
    folder.mkdir(parents=True, exist_ok=True)
    items = []
    for i in range(count):
        rng = np.random.default_rng(i)
        mask = np.zeros((size, size), dtype=np.uint8)
        mask[4 : 10 + i, 6:18] = 255
        image = (mask * 0.5 + 40 + rng.normal(0, 35, mask.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(image).save(folder / f"seq{i // 2}_{i:02d}.png")
        Image.fromarray(mask).save(folder / f"seq{i // 2}_{i:02d}_mask.png")
        items.append(
            {key: str(folder / f"seq{i // 2}_{i:02d}{end}.png") for key, end in (("image", ""), ("label", "_mask"))}
        )
    return items


def loader(items: Sequence[dict[str, Any]], batch_size: int = 2) -> DataLoader:
    keys = ["image", "label"]
    load = Compose([LoadImaged(keys), EnsureChannelFirstd(keys), ScaleIntensityd(keys)])
    return DataLoader(Dataset(items, load), batch_size=batch_size)


def brightness_net() -> torch.nn.Module:
    """A 1x1 convolution whose probability rises with the gray value: a fair segmenter of the squares."""
    net = torch.nn.Conv2d(1, 1, 1)
    torch.nn.init.constant_(net.weight, 20.0)
    torch.nn.init.constant_(net.bias, -10.0)
    return net


def evaluator(items: Sequence[dict[str, Any]], handlers: Sequence[Any] = (), **arguments: Any) -> SupervisedEvaluator:
    return SupervisedEvaluator(
        "cpu",
        loader(items),
        arguments.pop("network", None) or brightness_net(),
        postprocessing=Compose(
            [Activationsd("pred", sigmoid=True), CopyItemsd("pred", names="mask"), AsDiscreted("mask", threshold=0.5)]
        ),
        key_val_metric={"val_dice": MeanDice(output_transform=from_engine(["mask", "label"]))},
        val_handlers=list(handlers),
        **arguments,
    )


def trainer(items: Sequence[dict[str, Any]], handlers: Sequence[Any] = (), **arguments: Any) -> SupervisedTrainer:
    net = arguments.pop("network", None) or brightness_net()
    return SupervisedTrainer(
        "cpu",
        arguments.pop("max_epochs", 2),
        loader(items),
        net,
        torch.optim.SGD(net.parameters(), lr=0.01),
        arguments.pop("loss", torch.nn.BCEWithLogitsLoss()),
        train_handlers=list(handlers),
        **arguments,
    )


class FailsAt:
    """Raises an error at one iteration."""

    def __init__(self, iteration: int, error: BaseException) -> None:
        self.iteration, self.error = iteration, error

    def attach(self, engine) -> None:
        from ignite.engine import Events

        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine) -> None:
        if engine.state.iteration == self.iteration:
            raise self.error
