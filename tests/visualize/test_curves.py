from __future__ import annotations

import itertools

import matplotlib
import numpy as np
import pytest
from PIL import Image

from medssm_monai.visualize import best_epoch, plot_curves
from medssm_monai.visualize.palette import curve_style

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


def legends(figure) -> list[list[str]]:
    return [[text.get_text() for text in axis.get_legend().get_texts()] for axis in figure.axes]


@pytest.fixture
def figures(monkeypatch):
    """The figures that are saved."""
    from matplotlib.figure import Figure

    saved = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *args, **kwargs: saved.append(figure))
    return saved


def test_both_losses_stand_together_and_no_curve_twice(figures) -> None:
    rows = [
        {
            "epoch": e,
            "lr": 0.1,
            "train_loss": 1 / e,
            "val_loss": 2 / e,
            "temperature": 1.5,
            "train_accuracy": e / 9,
            "val_mean_dice": e / 8,
            "validation_dice": e / 8 + 1e-8,
            "validation_iou": e / 9 + 0.1,
        }
        for e in range(1, 5)
    ]
    plot_curves(rows, "x.png", key_metric="val_mean_dice", best=best_epoch(rows, "val_mean_dice"))
    mark = "best epoch: 4 (val_mean_dice 0.5)"
    assert legends(figures[0]) == [
        ["train_loss", "val_loss", mark],
        ["val_mean_dice = validation_dice", "train_accuracy", "validation_iou", mark],
    ]
    left, right = figures[0].axes
    assert (left.get_xlabel(), left.get_ylabel(), right.get_ylabel()) == ("epoch", "loss", "metric")
    star = next(line for line in right.lines if line.get_marker() == "*")
    assert (list(star.get_xdata()), list(star.get_ydata())) == ([4], [0.5])
    styles = [(line.get_color(), line.get_linestyle()) for line in right.lines[:3]]
    assert len({color for color, _ in styles}) == len({dash for _, dash in styles}) == 3


def test_many_equal_curves_are_counted(figures) -> None:
    rows = [{"epoch": 1, **{f"validation_of_a_long_name_{i}": 0.5 for i in range(4)}}]
    plot_curves(rows, "x.png")
    assert legends(figures[0]) == [["validation_of_a_long_name_0 = 3 others"]]


@pytest.mark.parametrize("count", [1, 2, 500])
def test_epochs_are_whole_numbers_however_many(figures, count: int) -> None:
    plot_curves([{"epoch": e, "train_loss": 1 / e} for e in range(1, count + 1)], "x.png")
    (axis,) = figures[0].axes
    ticks = [tick for tick in axis.get_xticks() if axis.get_xlim()[0] <= tick <= axis.get_xlim()[1]]
    assert ticks and all(tick == int(tick) for tick in ticks)
    assert (axis.lines[0].get_marker() == "o") == (count < 30)


def test_the_best_epoch_is_the_first_of_the_best() -> None:
    values = [None, 0.2, float("nan"), 0.7, 0.7, 0.1]
    rows = [{"epoch": e, **({} if v is None else {"score": v})} for e, v in enumerate(values, start=1)]
    assert best_epoch(rows, "score") == (4, 0.7)
    assert best_epoch(rows, "score", lambda new, best: new < best) == (6, 0.1)
    assert best_epoch(rows, "not there") is None


def test_28_curves_look_different() -> None:
    styles = [tuple(curve_style(number).items()) for number in range(28)]
    assert len(set(styles)) == 28
    assert all(a[0] != b[0] and a[1] != b[1] for a, b in itertools.pairwise(styles))
