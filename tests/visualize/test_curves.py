from __future__ import annotations

import matplotlib
import numpy as np
import pytest
from PIL import Image

from medssm_monai.visualize import plot_curves

ROWS = [
    {"epoch": 1, "seconds": 1.0, "lr": 0.1, "train_loss": 0.9},
    {"epoch": 2, "seconds": 2.0, "lr": 0.1, "train_loss": 0.5, "val_dice": 0.4},
    {"epoch": 3, "seconds": 3.0, "lr": 0.1, "train_loss": 0.3, "val_dice": 0.7, "val_iou": 0.6},
]


def test_picture_has_two_panels_and_leaves_the_backend_alone(tmp_path) -> None:
    before = dict.__getitem__(matplotlib.rcParams, "backend")  # plain access would choose a backend
    plot_curves(ROWS, tmp_path / "both.png")
    plot_curves([{"epoch": 1, "train_loss": 1.0}], tmp_path / "loss.png")
    assert dict.__getitem__(matplotlib.rcParams, "backend") == before
    both, loss = (np.asarray(Image.open(tmp_path / name).convert("RGB")) for name in ("both.png", "loss.png"))
    assert both.shape[1] == 2 * loss.shape[1]
    assert (both[:, both.shape[1] // 2 :] != 255).any()


def test_chosen_metrics_only(tmp_path) -> None:
    plot_curves(ROWS, tmp_path / "all.png")
    plot_curves(ROWS, tmp_path / "dice.png", metrics=["val_dice", "not_there"])
    everything, chosen = (Image.open(tmp_path / name) for name in ("all.png", "dice.png"))
    assert everything.tobytes() != chosen.tobytes()


@pytest.mark.parametrize("rows", [[], [{"epoch": 1, "lr": 0.1}]])
def test_nothing_to_draw(rows, tmp_path) -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        plot_curves(rows, tmp_path / "x.png")
