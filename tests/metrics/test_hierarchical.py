"""Intervals over images and trainings: against scikit-learn, bootstrap_interval and the variances of the parts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

from medssm_monai.metrics import bootstrap_interval
from medssm_monai.metrics.hierarchical import (
    bootstrap_hierarchical,
    classification_statistics,
    holm,
    mean_statistics,
)


def rows_of(**scores):
    return {name: [mean_statistics({"dice": row}) for row in table] for name, table in scores.items()}


def test_one_training_is_the_bootstrap_of_its_images():
    values = np.random.default_rng(0).random(40)
    values[3] = math.nan  # undefined: left out of every resample, not of the draws
    found = bootstrap_hierarchical(rows_of(a=[values]), 40, ["dice"])["a"]["dice"]
    assert found.mean.estimate == pytest.approx(np.nanmean(values)) and found.difference is None
    full = np.random.default_rng(1).random(40)
    ours = bootstrap_hierarchical(rows_of(a=[full]), 40, ["dice"])["a"]["dice"].mean
    assert ours == pytest.approx(bootstrap_interval(full, n_resamples=2000))


@pytest.mark.parametrize(("image_sd", "seed_sd"), [(0.1, 0.0), (0.0, 0.05), (0.1, 0.05)])
def test_width_is_that_of_both_variances(image_sd, seed_sd):
    """Variance of a mean over n images and S trainings, in closed form, for scores that are a sum of both effects."""
    rng = np.random.default_rng(2)
    images, trainings = rng.normal(0.7, image_sd, 100), rng.normal(0, seed_sd, 5)
    found = bootstrap_hierarchical(rows_of(a=[images + t for t in trainings]), 100, ["dice"], n_resamples=8000)
    sd = math.sqrt(images.var() / 100 + trainings.var(ddof=1) / 5)
    mean = found["a"]["dice"].mean
    assert mean.high - mean.low == pytest.approx(2 * 1.96 * sd, rel=0.06)
    assert mean.estimate == pytest.approx(images.mean() + trainings.mean())


def test_differences_are_paired_image_by_image():
    """Images differ much, the rows by a constant: unpaired intervals would be as wide as those of the rows."""
    rng = np.random.default_rng(3)
    images = rng.random(50)
    rows = rows_of(ours=[images, images + 0.02], other=[images - 0.05, images - 0.05])
    found = bootstrap_hierarchical(rows, 50, ["dice"], reference="ours")
    assert found["ours"]["dice"].difference is None
    estimate, low, high = found["other"]["dice"].difference
    assert estimate == pytest.approx(-0.06)
    spread = math.sqrt(2) * 0.01  # of the reference's two trainings; the images cancel
    assert low == pytest.approx(-0.06 - spread) and high == pytest.approx(-0.06 + spread)
    mean = found["other"]["dice"].mean
    assert mean.high - mean.low > 0.1


def test_a_difference_of_single_trainings_is_the_bootstrap_of_the_differences():
    rng = np.random.default_rng(4)
    a, b = rng.random(30), rng.random(30)
    groups = np.arange(30) // 3
    found = bootstrap_hierarchical(rows_of(a=[a], b=[b]), 30, ["dice"], reference="a", groups=groups)
    assert found["b"]["dice"].difference == pytest.approx(bootstrap_interval(b - a, groups=groups))


def test_classification_figures_of_a_resample_are_those_of_scikit_learn():
    rng = np.random.default_rng(5)
    positive = rng.random(60)
    labels = (positive + rng.normal(0, 0.4, 60) > 0.5).astype(int)
    draw = rng.integers(60, size=60)
    weights = np.bincount(draw, minlength=60)[None]
    found = classification_statistics(np.stack([1 - positive, positive], axis=1), labels)(weights)
    assert found["roc_auc"][0] == pytest.approx(roc_auc_score(labels[draw], positive[draw]))
    assert found["accuracy"][0] == pytest.approx(accuracy_score(labels[draw], positive[draw] > 0.5))


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [({}, {}, "rows"), ({"a": []}, {}, "trainings"), (rows_of(a=[[1.0] * 3]), {"reference": "b"}, "reference")],
)
def test_bad_arguments_are_named(rows, options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_hierarchical(rows, 3, ["dice"], **options)


def test_a_single_image_has_no_interval():
    found = bootstrap_hierarchical(rows_of(a=[[0.5], [0.7]]), 1, ["dice"])["a"]["dice"].mean
    assert found.estimate == pytest.approx(0.6) and math.isnan(found.low) and math.isnan(found.high)


def test_the_p_value_is_that_of_the_resampled_differences_and_says_what_the_interval_says():
    rng = np.random.default_rng(5)
    base = rng.random(60)
    shifts = {"same": 0.0, "near": 0.03, "far": 0.2}
    rows = rows_of(base=[base], **{name: [base + d + rng.normal(0, 0.1, 60)] for name, d in shifts.items()})
    found = bootstrap_hierarchical(rows, 60, ["dice"], reference="base")
    for name in shifts:
        entry = found[name]["dice"]
        outside = entry.difference.low > 0 or entry.difference.high < 0
        assert (entry.p_value < 0.05) == outside
    assert found["base"]["dice"].p_value is None and found["far"]["dice"].p_value == pytest.approx(2 / 2001)
    alike = bootstrap_hierarchical(rows_of(a=[base], b=[base]), 60, ["dice"], reference="a")["b"]["dice"]
    assert alike.p_value == 1.0
    alone = bootstrap_hierarchical(rows_of(a=[base[:1]], b=[base[:1]]), 1, ["dice"], reference="a")["b"]["dice"]
    assert math.isnan(alone.p_value)


def test_p_values_under_no_difference_are_uniform():
    """Of 300 comparisons of two networks that are the same, about one of twenty is below 0.05."""
    rng = np.random.default_rng(6)
    below = 0
    for _ in range(300):
        a, b = rng.normal(size=(2, 40))
        below += bootstrap_hierarchical(rows_of(a=[a], b=[b]), 40, ["dice"], "a", 200)["b"]["dice"].p_value < 0.05
    assert 3 <= below <= 30


def test_holm_is_the_published_procedure():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # R: p.adjust(p, "holm")
    adjusted = holm([0.2, math.nan, 0.9])
    assert adjusted[0] == pytest.approx(0.4) and math.isnan(adjusted[1]) and adjusted[2] == pytest.approx(0.9)
    assert holm([]) == [] and holm([0.7, 0.8]) == [1.0, 1.0]
