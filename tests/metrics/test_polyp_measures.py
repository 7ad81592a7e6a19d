"""The measures of polyp papers against literal, slow transcriptions of their formulas."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, jaccard_score

from medssm_monai.metrics import (
    METRIC_SETS,
    dice_over_thresholds,
    e_measure,
    iou_over_thresholds,
    mean_absolute_error,
    metric_names,
    s_measure,
    segmentation_metrics,
    weighted_f_measure,
)

from .maps_for_tests import smooth_pair

EPS = np.finfo(float).eps


def stretched(prob: np.ndarray) -> np.ndarray:
    return (prob - prob.min()) / (prob.max() - prob.min())


def slow_e_measure(binary: np.ndarray, label: np.ndarray) -> float:
    """Fan et al. 2018, pixel by pixel."""
    height, width = label.shape
    if label.sum() == 0:
        return float(np.mean(1.0 - binary))
    if label.sum() == label.size:
        return float(np.mean(binary))
    bias_map, bias_label = binary - binary.mean(), label - label.mean()
    total = 0.0
    for y in range(height):
        for x in range(width):
            a, b = bias_map[y, x], bias_label[y, x]
            alignment = 2 * a * b / (a * a + b * b + EPS)
            total += (1 + alignment) ** 2 / 4
    return total / (height * width)


def slow_ssim(x: np.ndarray, y: np.ndarray) -> float:
    n, mx, my = x.size, x.mean(), y.mean()
    vx = sum((v - mx) ** 2 for v in x.ravel()) / (n - 1 + EPS)
    vy = sum((v - my) ** 2 for v in y.ravel()) / (n - 1 + EPS)
    cov = sum((a - mx) * (b - my) for a, b in zip(x.ravel(), y.ravel(), strict=True)) / (n - 1 + EPS)
    alpha, beta = 4 * mx * my * cov, (mx**2 + my**2) * (vx + vy)
    if alpha != 0:
        return alpha / (beta + EPS)
    return 1.0 if beta == 0 else 0.0


def slow_s_measure(prob: np.ndarray, label: np.ndarray) -> float:
    """Fan et al. 2017, with one-based coordinates as in the authors' code."""
    height, width = label.shape
    mu = label.mean()

    def similarity(values: np.ndarray) -> float:
        return 2 * values.mean() / (values.mean() ** 2 + 1 + np.std(values, ddof=1) + EPS)

    s_object = mu * similarity(prob[label == 1]) + (1 - mu) * similarity(1 - prob[label == 0])
    total = label.sum()
    cx = int(round(sum(label[:, j].sum() * (j + 1) for j in range(width)) / total + 1e-9))
    cy = int(round(sum(label[i, :].sum() * (i + 1) for i in range(height)) / total + 1e-9))
    area = height * width
    blocks = [
        (slice(0, cy), slice(0, cx), cx * cy / area),
        (slice(0, cy), slice(cx, width), (width - cx) * cy / area),
        (slice(cy, height), slice(0, cx), cx * (height - cy) / area),
    ]
    blocks.append((slice(cy, height), slice(cx, width), 1 - sum(weight for _, _, weight in blocks)))
    s_region = sum(weight * slow_ssim(prob[rows, columns], label[rows, columns]) for rows, columns, weight in blocks)
    return max(0.5 * s_object + 0.5 * s_region, 0.0)


def slow_weighted_f(prob: np.ndarray, label: np.ndarray) -> float:
    """Margolin et al. 2014 with a full 7x7 kernel and a search over all foreground pixels."""
    height, width = label.shape
    error = np.abs(prob - label)
    foreground = np.argwhere(label == 1)
    distance, dependent = np.zeros_like(error), error.copy()
    for y in range(height):
        for x in range(width):
            if label[y, x] == 0:
                gaps = np.sqrt(((foreground - (y, x)) ** 2).sum(axis=1))
                distance[y, x] = gaps.min()
                dependent[y, x] = error[tuple(foreground[gaps.argmin()])]
    grid = np.arange(-3, 4)
    kernel = np.exp(-(grid[:, None] ** 2 + grid[None, :] ** 2) / (2 * 5.0**2))
    kernel /= kernel.sum()
    padded = np.pad(dependent, 3)
    smooth = np.array([[(padded[y : y + 7, x : x + 7] * kernel).sum() for x in range(width)] for y in range(height)])
    least = np.where((label == 1) & (smooth < error), smooth, error)
    importance = np.where(label == 1, 1.0, 2.0 - np.exp(np.log(1 - 0.5) / 5 * distance))
    weighted = least * importance
    tp = label.sum() - weighted[label == 1].sum()
    fp = weighted[label == 0].sum()
    recall = 1 - weighted[label == 1].mean()
    precision = tp / (EPS + tp + fp)
    return 2 * recall * precision / (EPS + recall + precision)


@pytest.mark.parametrize("seed", range(3))
def test_dice_and_iou_over_thresholds(seed: int) -> None:
    prob, label = smooth_pair(seed, (24, 30))
    for normalize in (True, False):
        shown = stretched(prob) if normalize else prob
        dice, iou = [], []
        for k in range(256):
            predicted = (shown >= k / 255).ravel()
            dice.append(f1_score(label.ravel(), predicted, zero_division=0))
            iou.append(jaccard_score(label.ravel(), predicted, zero_division=0))
        assert dice_over_thresholds(prob, label, normalize) == pytest.approx(np.mean(dice), abs=1e-12)
        assert iou_over_thresholds(prob, label, normalize) == pytest.approx(np.mean(iou), abs=1e-12)


def test_thresholds_are_inclusive_for_8_bit_maps() -> None:
    prob = (np.arange(256) / 255.0).reshape(16, 16)
    label = prob >= 128 / 255
    # 128 foreground values: at threshold k, 256 - k pixels are predicted.
    expected = [2 * min(128, 256 - k) / (128 + 256 - k) for k in range(256)]
    assert dice_over_thresholds(prob, label) == pytest.approx(np.mean(expected), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_e_measure(seed: int) -> None:
    prob, label = smooth_pair(seed, (12, 16))
    shown = stretched(prob)
    curve = [slow_e_measure((shown >= k / 255).astype(float), label.astype(float)) for k in range(256)]
    assert e_measure(prob, label) == pytest.approx(np.mean(curve), abs=1e-9)
    assert e_measure(prob, label, mode="max") == pytest.approx(np.max(curve), abs=1e-9)
    adaptive = slow_e_measure((shown >= min(1.0, 2 * shown.mean())).astype(float), label.astype(float))
    assert e_measure(prob, label, mode="adaptive") == pytest.approx(adaptive, abs=1e-9)
    with pytest.raises(ValueError, match="adaptive"):
        e_measure(prob, label, mode="median")


@pytest.mark.parametrize("shape", [(24, 30), (17, 13)])
@pytest.mark.parametrize("seed", range(3))
def test_s_measure(seed: int, shape: tuple[int, int]) -> None:
    prob, label = smooth_pair(seed, shape)
    assert s_measure(prob, label) == pytest.approx(slow_s_measure(stretched(prob), label.astype(float)), abs=1e-9)
    assert s_measure(prob, label, normalize=False) == pytest.approx(slow_s_measure(prob, label.astype(float)), abs=1e-9)


def test_s_measure_with_the_centroid_at_the_border() -> None:
    prob, label = smooth_pair(0, (12, 12))
    label[:] = False
    label[-1, -1] = True  # three of the four blocks are empty
    value = s_measure(prob, label)
    assert 0.0 <= value <= 1.0


@pytest.mark.parametrize("seed", range(3))
def test_weighted_f_measure(seed: int) -> None:
    # A label whose outline is a graph over the columns has one nearest foreground pixel everywhere near it only when
    # the outline is straight: no two pixels are equally near, so the choice among ties cannot differ.
    prob, _ = smooth_pair(seed, (20, 26))
    label = np.zeros_like(prob)
    label[:, :11] = 1
    expected = slow_weighted_f(stretched(prob), label)
    assert weighted_f_measure(prob, label) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_weighted_f_measure_on_any_outline(seed: int) -> None:
    # A binary map that misses nothing has equal errors at all foreground pixels: ties change nothing.
    prob, label = smooth_pair(seed, (20, 26))
    binary = np.maximum(prob >= 0.6, label).astype(float)
    expected = slow_weighted_f(binary, label.astype(float))
    assert 0.2 < expected < 1.0
    assert weighted_f_measure(binary, label) == pytest.approx(expected, abs=1e-9)


def test_a_perfect_map_scores_one_and_its_inverse_little() -> None:
    _, label = smooth_pair(1)
    perfect, inverse = label.astype(float), 1.0 - label
    good, bad = (segmentation_metrics(prob, label, "polyp") for prob in (perfect, inverse))
    assert good["mae"] == 0.0 and good["hd95"] == 0.0
    assert bad["mae"] == 1.0
    for name in ("dice", "iou", "iou_mean", "s_measure", "weighted_f_measure"):
        assert good[name] == pytest.approx(1.0), name
        assert bad[name] < 0.1, name
    # At threshold 0 every pixel is foreground, so a mean over thresholds stays just below 1.
    share = label.mean()
    assert good["dice_over_thresholds"] == pytest.approx((255 + 2 * share / (1 + share)) / 256)
    assert 0.99 < good["e_measure"] < 1.0


EMPTY_LABEL = [  # map value -> wF, S, E mean, dice over thresholds, mae
    (0.0, 1.0, 1.0, 255 / 256, 255 / 256, 0.0),
    (0.2, 1.0, 0.8, 204 / 256, 204 / 256, 0.2),
    (1.0, 0.0, 0.0, 0.0, 0.0, 1.0),
]


@pytest.mark.parametrize(("value", "weighted_f", "structure", "alignment", "dice", "mae"), EMPTY_LABEL)
def test_empty_label(value, weighted_f, structure, alignment, dice, mae) -> None:
    prob, label = np.full((8, 8), value), np.zeros((8, 8))
    assert weighted_f_measure(prob, label) == weighted_f
    assert s_measure(prob, label) == pytest.approx(structure)
    assert e_measure(prob, label) == pytest.approx(alignment)
    assert dice_over_thresholds(prob, label) == pytest.approx(dice)
    assert mean_absolute_error(prob, label) == pytest.approx(mae)


def test_faint_noise_on_an_empty_label_is_not_stretched() -> None:
    prob = np.random.default_rng(0).random((16, 16)) * 1e-3
    assert mean_absolute_error(prob, np.zeros((16, 16))) < 1e-3
    assert weighted_f_measure(prob, np.zeros((16, 16))) == 1.0


def test_constant_map_is_defined() -> None:
    _, label = smooth_pair(0)
    scores = segmentation_metrics(np.full(label.shape, 0.5), label, "polyp")
    assert all(np.isfinite(value) for value in scores.values())


def test_names_order_and_sets() -> None:
    prob, label = smooth_pair(0)
    assert tuple(segmentation_metrics(prob, label, ["hd95", "dice"])) == ("hd95", "dice")
    assert tuple(segmentation_metrics(prob, label, "polyp")) == METRIC_SETS["polyp"]
    assert metric_names("e_measure_max") == ("e_measure_max",)
    single = segmentation_metrics(prob, label, [*METRIC_SETS["polyp"], "e_measure_max", "iou_over_thresholds"])
    assert single["e_measure"] == pytest.approx(e_measure(prob, label))
    assert single["e_measure_max"] == pytest.approx(e_measure(prob, label, "max"))
    assert single["iou_over_thresholds"] == pytest.approx(iou_over_thresholds(prob, label))
    assert single["s_measure"] == pytest.approx(s_measure(prob, label))
    assert single["weighted_f_measure"] == pytest.approx(weighted_f_measure(prob, label))
    assert single["mae"] == pytest.approx(mean_absolute_error(prob, label))


@pytest.mark.parametrize("metrics", ["polyps", ["dice", "dyce"], []])
def test_unknown_metrics(metrics) -> None:
    with pytest.raises(ValueError, match="dice"):
        metric_names(metrics)
