from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from medssm_monai.metrics import (
    bootstrap_interval,
    bootstrap_pooled,
    bootstrap_weighted,
    confusion_counts,
    overlap_scores,
)

from .maps_for_tests import smooth_pair

VALUES = np.random.default_rng(1).beta(8, 2, size=60)


@pytest.mark.parametrize("statistic", [np.mean, np.std])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_agrees_with_scipy(statistic, confidence: float) -> None:
    """Bounds lie at the asked level of scipy's resamples, within four standard errors of the level (a bound itself may
    jump: medians of resamples take few values)."""
    n = 20000
    ours = bootstrap_interval(VALUES, statistic, n_resamples=n, confidence=confidence)
    theirs = stats.bootstrap((VALUES,), statistic, n_resamples=n, method="percentile", random_state=0)
    assert ours.estimate == pytest.approx(statistic(VALUES))
    tail = (1 - confidence) / 2
    margin = 4 * (2 * tail * (1 - tail) / n) ** 0.5
    for bound, level in ((ours.low, tail), (ours.high, 1 - tail)):
        below, above = np.quantile(theirs.bootstrap_distribution, [level - margin, level + margin])
        assert below <= bound <= above


def test_seed_fixes_the_interval() -> None:
    assert bootstrap_interval(VALUES, seed=3) == bootstrap_interval(VALUES, seed=3)
    assert bootstrap_interval(VALUES, seed=3) != bootstrap_interval(VALUES, seed=4)


def test_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(200):
        interval = bootstrap_interval(rng.normal(0.7, 0.1, size=50), n_resamples=400, seed=seed)
        hits += interval.low <= 0.7 <= interval.high
    assert 0.88 <= hits / 200 <= 0.99


def test_groups_widen_the_interval_of_dependent_values() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(10), 30)
    values = rng.normal(0.7, 0.1, size=10)[groups] + rng.normal(0, 0.01, size=300)
    single, clustered = bootstrap_interval(values), bootstrap_interval(values, groups=groups.tolist())
    assert clustered.high - clustered.low > 3 * (single.high - single.low)
    # Balanced groups: the interval is that of the group means.
    means = bootstrap_interval(values.reshape(10, 30).mean(axis=1))
    assert clustered.low == pytest.approx(means.low) and clustered.high == pytest.approx(means.high)


def test_one_image_per_group_is_the_plain_bootstrap() -> None:
    plain, grouped = bootstrap_interval(VALUES), bootstrap_interval(VALUES, groups=list(range(len(VALUES))))
    assert grouped == pytest.approx(plain)


def test_undefined_values_are_left_out() -> None:
    with_gaps = np.insert(VALUES, [0, 30, 60], np.nan)
    assert bootstrap_interval(with_gaps) == bootstrap_interval(VALUES)
    groups = ["x", *["a"] * 30, "y", *["b"] * 30, "z"]
    expected = bootstrap_interval(VALUES, groups=["a"] * 30 + ["b"] * 30)
    assert bootstrap_interval(with_gaps, groups=groups) == expected


def test_degenerate_samples() -> None:
    assert np.isnan(bootstrap_interval([])).all()
    single = bootstrap_interval([0.5])
    assert single.estimate == 0.5 and np.isnan(single.low) and np.isnan(single.high)
    one_group = bootstrap_interval([0.5, 0.7], groups=["a", "a"])
    assert one_group.estimate == pytest.approx(0.6) and np.isnan(one_group.low)
    assert bootstrap_interval([0.5] * 8) == (0.5, 0.5, 0.5)


def test_pooled_estimate_is_the_score_of_the_summed_counts() -> None:
    counts = np.stack([confusion_counts(*smooth_pair(seed, (16, 16))) for seed in range(12)])
    pooled = bootstrap_pooled(counts, n_resamples=500)
    for name, value in overlap_scores(counts.sum(axis=0)).items():
        assert pooled[name].estimate == pytest.approx(value)
        assert pooled[name].low <= value <= pooled[name].high
    # Against resampling by hand, with the generator used in the same way.
    draws = np.random.default_rng(0).integers(12, size=(500, 12))
    dice = [overlap_scores(counts[draw].sum(axis=0))["dice"] for draw in draws]
    assert pooled["dice"].low == pytest.approx(np.quantile(dice, 0.025))


def test_pooled_by_groups() -> None:
    counts = np.stack([confusion_counts(*smooth_pair(seed, (16, 16))) for seed in range(12)])
    groups = [seed // 4 for seed in range(12)]
    grouped = bootstrap_pooled(counts, groups=groups)
    merged = bootstrap_pooled(counts.reshape(3, 4, 4).sum(axis=1))
    assert grouped == merged
    assert np.isnan(bootstrap_pooled(counts[:1])["dice"].low)


def test_weights_say_how_often_a_sample_was_drawn() -> None:
    def mean(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {"mean": weights @ VALUES / weights.sum(axis=1)}

    groups = [row // 7 for row in range(len(VALUES))]
    assert bootstrap_weighted(mean, len(VALUES), seed=3)["mean"] == pytest.approx(bootstrap_interval(VALUES, seed=3))
    grouped = bootstrap_weighted(mean, len(VALUES), groups=groups)["mean"]
    assert grouped == pytest.approx(bootstrap_interval(VALUES, groups=groups))
    assert np.isnan(bootstrap_weighted(lambda w: {"one": w[:, 0] * 1.0}, 1)["one"].low)
    with pytest.raises(ValueError, match="at least 1 sample"):
        bootstrap_weighted(mean, 0)


BAD = [
    ({"values": np.zeros((2, 2))}, "one-dimensional"),
    ({"values": [1.0, 2.0], "groups": ["a"]}, "groups"),
    ({"values": [1.0, 2.0], "confidence": 95}, "0.95"),
    ({"values": [1.0, 2.0], "n_resamples": 0}, "n_resamples"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_arguments(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(**arguments)


@pytest.mark.parametrize("counts", [np.zeros((0, 4)), np.zeros((3, 3)), np.zeros(4)])
def test_bad_counts(counts) -> None:
    with pytest.raises(ValueError, match="images, 4"):
        bootstrap_pooled(counts)
