from __future__ import annotations

from itertools import pairwise

import matplotlib
import numpy as np
import pytest
from PIL import Image

from medssm_monai.visualize import plot_confusion_matrix, plot_pr_curves, plot_reliability, plot_roc_curves

RNG = np.random.default_rng(0)
PLOTS = [plot_confusion_matrix, plot_roc_curves, plot_pr_curves, plot_reliability]


def samples(k: int) -> tuple[np.ndarray, np.ndarray]:
    labels = RNG.integers(k, size=60)
    odds = np.exp(RNG.normal(size=(60, k)) + np.eye(k)[labels])
    return odds / odds.sum(axis=1, keepdims=True), labels


def pixels(path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


@pytest.mark.parametrize("plot", PLOTS)
@pytest.mark.parametrize("k", [2, 5])
def test_picture_shows_the_data_and_leaves_the_backend_alone(plot, k, tmp_path) -> None:
    before = dict.__getitem__(matplotlib.rcParams, "backend")
    prob, labels = samples(k)
    plot(prob, labels, tmp_path / "a.png")
    plot(np.roll(prob, 1, axis=1), labels, tmp_path / "b.png")
    first, second = pixels(tmp_path / "a.png"), pixels(tmp_path / "b.png")
    assert first.shape == second.shape and (first != second).any()
    assert dict.__getitem__(matplotlib.rcParams, "backend") == before


@pytest.mark.parametrize("plot", PLOTS)
def test_classes_without_samples_do_not_stop_it(plot, tmp_path) -> None:
    prob, labels = samples(3)
    plot(prob, np.zeros_like(labels), tmp_path / "one.png")
    plot(prob[:, :2] / prob[:, :2].sum(axis=1, keepdims=True), np.ones_like(labels), tmp_path / "binary.png")
    assert (tmp_path / "one.png").is_file() and (tmp_path / "binary.png").is_file()


def test_perfect_roc_runs_along_the_upper_edge(tmp_path) -> None:
    """The blue curve of a perfect ranking has its pixels in one column and one row; a reversed one elsewhere."""
    labels = np.array([0] * 20 + [1] * 20)
    score = np.linspace(0.01, 0.99, 40)
    columns = []
    for name, values in (("good", score), ("bad", score[::-1])):
        plot_roc_curves(np.stack([1 - values, values], axis=1), labels, tmp_path / f"{name}.png")
        picture = pixels(tmp_path / f"{name}.png")
        blue = (np.abs(picture - [0, 114, 178]).sum(axis=2) < 30).sum(axis=0)
        columns.append(int(blue.argmax()))
    assert all(left + 200 < right for left, right in pairwise(columns))


@pytest.mark.parametrize("plot", PLOTS[:3])
def test_wrong_number_of_names(plot, tmp_path) -> None:
    with pytest.raises(ValueError, match="2 are named"):
        plot(*samples(3), tmp_path / "x.png", ["a", "b"])


@pytest.mark.parametrize("plot", PLOTS)
def test_logits_are_refused(plot, tmp_path) -> None:
    with pytest.raises(ValueError, match="softmax"):
        plot(np.array([[3.0, -1.0]]), [0], tmp_path / "x.png")


@pytest.mark.parametrize("plot", [plot_confusion_matrix, plot_roc_curves, plot_pr_curves])
def test_names_of_classes_are_no_formulas(plot, tmp_path) -> None:
    probabilities, labels = samples(3)
    plot(probabilities, labels, tmp_path / "a.png", ["$\\nonsense$", "$x$", "_hidden"])
    plot(probabilities, labels, tmp_path / "b.png", ["$\\nonsense$", "x", "_hidden"])
    assert (pixels(tmp_path / "a.png") != pixels(tmp_path / "b.png")).any()  # "$x$" keeps its marks
