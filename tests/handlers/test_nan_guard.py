from __future__ import annotations

import os

import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.handlers import CheckpointSaver

from medssm_monai.handlers import NaNGuard, NonFiniteLossError

from .engines_for_tests import brightness_net, trainer, write_images


class BreaksAt(torch.nn.Module):
    """Binary cross-entropy that becomes not finite at one call."""

    def __init__(self, call: int, value: float) -> None:
        super().__init__()
        self.call, self.value, self.calls = call, value, 0

    def forward(self, pred, target):
        self.calls += 1
        loss = torch.nn.functional.binary_cross_entropy_with_logits(pred, target)
        return loss * self.value if self.calls == self.call else loss


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_names_epoch_iteration_and_files(tmp_path, value: float) -> None:
    items = write_images(tmp_path)
    engine = trainer(items, [NaNGuard()], loss=BreaksAt(5, value), max_epochs=3)
    with pytest.raises(NonFiniteLossError) as caught:
        engine.run()
    message = str(caught.value)
    assert "epoch 2, iteration 5" in message
    assert "seq1_02.png" in message and "seq1_03.png" in message and "seq0_00.png" not in message
    assert "All inputs are finite" in message and "lower the learning rate (now 0.01)" in message
    assert "precision" not in message


def test_weights_are_untouched_and_checkpoints_stay(tmp_path) -> None:
    items = write_images(tmp_path / "data")
    net = brightness_net()
    saver = CheckpointSaver(str(tmp_path / "ckpt"), {"model": net}, save_interval=1, save_final=True)
    engine = trainer(items, [NaNGuard(), saver], network=net, loss=BreaksAt(4, float("nan")), max_epochs=3)
    with pytest.raises(NonFiniteLossError):
        engine.run()
    assert all(torch.isfinite(value).all() for value in net.parameters())
    files = os.listdir(tmp_path / "ckpt")
    assert len(files) == 2
    for name in files:
        state = torch.load(tmp_path / "ckpt" / name, weights_only=True)
        assert all(torch.isfinite(value).all() for value in state.values())


def test_a_bad_image_is_named(tmp_path) -> None:
    items = write_images(tmp_path)
    engine = trainer(items, [NaNGuard()])
    inner = engine.data_loader.dataset.transform

    def spoil(item):
        item = inner(item)
        if "seq1_03" in item["image"].meta["filename_or_obj"]:
            item["image"][0, 3, 3] = float("nan")
        return item

    engine.data_loader = DataLoader(Dataset(items, spoil), batch_size=2)
    with pytest.raises(NonFiniteLossError, match=r"image of \S*seq1_03\.png\. Remedy: check these images"):
        engine.run()


def test_weights_that_are_spoiled_already_are_named(tmp_path) -> None:
    net = brightness_net()
    torch.nn.init.constant_(net.bias, float("inf"))
    engine = trainer(write_images(tmp_path), [NaNGuard()], network=net)
    with pytest.raises(NonFiniteLossError, match=r"weights \(bias\)"):
        engine.run()


def test_finite_training_passes(tmp_path) -> None:
    engine = trainer(write_images(tmp_path), [NaNGuard()])
    engine.run()
    assert engine.state.epoch == 2
