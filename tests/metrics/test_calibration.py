"""Calibration error counted by hand, and temperatures that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from medssm_monai.metrics import expected_calibration_error, fit_temperature, negative_log_likelihood, reliability_curve


def logits_at_temperature(temperature: float, n: int = 20000, k: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose labels are drawn from softmax(logits / temperature)."""
    rng = np.random.default_rng(0)
    true = rng.normal(0, 2, size=(n, k))
    labels = (true + rng.gumbel(size=(n, k))).argmax(axis=1)  # the Gumbel trick draws from softmax(true)
    return true * temperature, labels


def test_calibration_error_by_hand() -> None:
    prob = np.array([[0.95, 0.05], [0.85, 0.15], [0.35, 0.65], [0.4, 0.6]])
    labels = [0, 1, 1, 1]  # right, wrong, right, right
    # Two bins: confidences all in (0.5, 1]: accuracy 3/4, mean confidence 0.7625.
    assert expected_calibration_error(prob, labels, bins=2) == pytest.approx(0.0125)
    # Ten bins: 0.95 right, 0.85 wrong, 0.65 right, 0.6 right and in the bin (0.5, 0.6].
    assert expected_calibration_error(prob, labels, bins=10) == pytest.approx((0.05 + 0.85 + 0.35 + 0.4) / 4)
    confidence, accuracy, count = reliability_curve(prob, labels, bins=10)
    assert count.tolist() == [0, 0, 0, 0, 0, 1, 1, 0, 1, 1]
    assert confidence[5] == pytest.approx(0.6) and accuracy[8] == 0 and np.isnan(accuracy[0])


def test_certain_and_even_predictions_fall_into_bins() -> None:
    assert expected_calibration_error([[1.0, 0.0], [0.5, 0.5]], [0, 0]) == pytest.approx(0.25)
    with pytest.raises(ValueError, match="bins"):
        expected_calibration_error([[1.0, 0.0]], [0], bins=0)


@pytest.mark.parametrize("temperature", [0.05, 0.5, 1.0, 3.0, 20.0])
def test_recovers_a_known_temperature_and_calibrates(temperature: float) -> None:
    logits, labels = logits_at_temperature(temperature)
    fitted = fit_temperature(torch.from_numpy(logits), labels)
    assert fitted == pytest.approx(temperature, rel=0.03)
    assert expected_calibration_error(softmax(logits / fitted, axis=1), labels) < 0.015


def test_likelihood_and_optimum_agree_with_scipy() -> None:
    logits, labels = logits_at_temperature(2.0, n=300)

    def nll(t: float) -> float:
        return float(-log_softmax(logits / t, axis=1)[np.arange(300), labels].mean())

    assert negative_log_likelihood(logits, labels, 1.7) == pytest.approx(nll(1.7))
    best = minimize_scalar(nll, bounds=(0.1, 10), method="bounded", options={"xatol": 1e-8}).x
    assert fit_temperature(logits, labels) == pytest.approx(best, rel=1e-4)


def test_log_probabilities_serve_as_logits() -> None:
    logits, labels = logits_at_temperature(2.0, n=300)
    assert fit_temperature(log_softmax(logits, axis=1), labels) == pytest.approx(fit_temperature(logits, labels))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("scale", [0.01, 1.0, 300.0])
def test_never_worse_on_the_fit_set(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(0, scale, size=(15, 3)), rng.integers(3, size=15)
    fitted = fit_temperature(logits, labels)
    assert 0 < fitted < np.inf
    assert negative_log_likelihood(logits, labels, fitted) <= negative_log_likelihood(logits, labels)
    assert ((logits / fitted).argmax(axis=1) == logits.argmax(axis=1)).all()


@pytest.mark.parametrize(
    ("labels", "message"), [([0, 1, 0], "predicted rightly"), ([1, 0, 1], "no better than chance")]
)
def test_without_an_optimum_the_temperature_stays_one(labels, message, caplog) -> None:
    assert fit_temperature(np.array([[3.0, 0.0], [0.0, 2.0], [1.0, 0.0]]), labels) == 1.0
    assert message in caplog.text


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        ([[1.0, np.nan]], [0], "not finite"),
        ([[1.0, 2.0]], [2], "whole numbers"),
        ([[1.0], [2.0]], [0, 0], "K >= 2"),
        ([[1.0, 2.0]], [0, 1], "one label per sample"),
    ],
)
def test_bad_input(logits, labels, message) -> None:
    with pytest.raises(ValueError, match=message):
        fit_temperature(logits, labels)


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan"), float("inf"), "warm", None, True])
def test_bad_temperature(temperature) -> None:
    with pytest.raises(ValueError, match="positive"):
        negative_log_likelihood([[1.0, 2.0]], [0], temperature)
