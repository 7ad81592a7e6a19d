"""Paired differences of two classifications."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from medssm_monai.metrics import bootstrap_interval, classification_metrics, paired_classification
from medssm_monai.metrics.classification import CLASSIFICATION_METRICS


def answers(count: int = 60, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities, those of noisier logits, and labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    logits = rng.normal(size=(count, classes)) + 2 * np.eye(classes)[labels]
    return softmax(logits, axis=1), softmax(logits + rng.normal(size=logits.shape), axis=1), labels


@pytest.mark.parametrize("classes", [2, 3])
def test_estimates_are_differences_of_the_figures(classes):
    clean, noisy, labels = answers(classes=classes)
    found = paired_classification(noisy, clean, labels, n_resamples=50)
    expected = [classification_metrics(values, labels) for values in (noisy, clean)]
    assert list(found) == list(CLASSIFICATION_METRICS)
    for name, interval in found.items():
        assert interval.estimate == pytest.approx(expected[0][name] - expected[1][name], abs=1e-9), name
        assert interval.low <= interval.high


@pytest.mark.parametrize("grouped", [False, True])
def test_the_interval_of_the_accuracy_is_that_of_the_differences_of_hits(grouped):
    clean, noisy, labels = answers()
    groups = (np.arange(len(labels)) // 4).tolist() if grouped else None
    hits = [(values.argmax(axis=1) == labels).astype(float) for values in (noisy, clean)]
    expected = bootstrap_interval(hits[0] - hits[1], n_resamples=400, seed=3, groups=groups)
    found = paired_classification(noisy, clean, labels, n_resamples=400, seed=3, groups=groups)["accuracy"]
    assert found == pytest.approx(expected, abs=1e-9)


def test_the_same_answers_differ_by_nothing():
    clean, _, labels = answers()
    assert {tuple(interval) for interval in paired_classification(clean, clean, labels, 20).values()} == {(0, 0, 0)}


def test_answers_to_other_questions_are_refused():
    clean, noisy, labels = answers()
    with pytest.raises(ValueError, match="3 and 2 classes"):
        paired_classification(noisy, answers(classes=2)[0], np.arange(60) % 2)
    with pytest.raises(ValueError, match=r"50 rows of probabilities but 60 labels"):
        paired_classification(noisy, clean[:50], labels)
