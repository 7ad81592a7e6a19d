"""How far confidence is from accuracy, and the temperature that brings them together (Guo et al., ICML 2017)."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from .predictions import as_predictions, class_labels

__all__ = [
    "CALIBRATION_BINS",
    "calibration_bins",
    "check_temperature",
    "expected_calibration_error",
    "fit_temperature",
    "negative_log_likelihood",
    "reliability_curve",
]

logger = logging.getLogger(__name__)

CALIBRATION_BINS = 15


def calibration_bins(confidences: np.ndarray, bins: int = CALIBRATION_BINS) -> np.ndarray:
    """Bin number of each confidence: ``bins`` intervals of equal width over [0, 1], ``((m - 1) / bins, m / bins]``, 0
    in the first (Guo et al., eq. 1).

    Raises:
        ValueError: fewer than one bin.
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}.")
    return np.clip(np.searchsorted(np.arange(bins + 1) / bins, confidences, side="left") - 1, 0, bins - 1)


def reliability_curve(
    probabilities: ArrayLike, labels: ArrayLike, bins: int = CALIBRATION_BINS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean confidence, accuracy (both NaN in empty bins) and number of samples per bin, each ``(bins,)``.

    Confidence is the probability of the predicted class; bins as in ``calibration_bins``.

    Args:
        probabilities: ``(N, K)``, see ``as_predictions``, which raises on bad input.
        labels: ``(N,)``, 0 to K - 1.
        bins: how many.
    """
    data = as_predictions(probabilities, labels)
    place = calibration_bins(data.confidences, bins)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(place, weights=data.confidences, minlength=bins) / count
        accuracy = np.bincount(place, weights=data.classes == data.labels, minlength=bins) / count
    return confidence, accuracy, count


def expected_calibration_error(probabilities: ArrayLike, labels: ArrayLike, bins: int = CALIBRATION_BINS) -> float:
    """Expected calibration error (Guo et al., eq. 3): mean over samples of ``|accuracy - confidence|`` of their bin.

    Confidence is the probability of the predicted class; 15 bins of equal width unless stated, as in the paper. The
    figure depends on the number of bins and, with few samples, is biased upwards.

    Args:
        probabilities: ``(N, K)``, see ``as_predictions``, which raises on bad input.
        labels: ``(N,)``, 0 to K - 1.
        bins: how many.
    """
    confidence, accuracy, count = reliability_curve(probabilities, labels, bins)
    filled = count > 0
    return float(np.sum(count[filled] * np.abs(accuracy - confidence)[filled]) / count.sum())


def check_temperature(temperature: float) -> float:
    """The temperature as a float.

    Raises:
        ValueError: not a positive finite number.
    """
    try:
        value = float(temperature)
    except (TypeError, ValueError):
        value = float("nan")
    if isinstance(temperature, bool) or not np.isfinite(value) or value <= 0:
        raise ValueError(f"temperature must be a positive number, 1.0 for none; got {temperature!r}.")
    return value


def _logits_and_labels(logits: Any, labels: Any) -> tuple[torch.Tensor, torch.Tensor]:
    values = torch.as_tensor(logits).detach().cpu().double()
    if values.ndim != 2 or values.shape[1] < 2 or len(values) == 0:
        raise ValueError(f"logits must have shape (N, K) with N >= 1 and K >= 2, got {tuple(values.shape)}.")
    if not torch.isfinite(values).all():
        raise ValueError("logits are not finite (NaN or infinity); no temperature can be fitted to them.")
    numbers = class_labels(labels, values.shape[1])
    if len(numbers) != len(values):
        raise ValueError(f"{len(values)} rows of logits but {len(numbers)} labels; give one label per sample.")
    return values, torch.from_numpy(numbers)


def negative_log_likelihood(logits: Any, labels: Any, temperature: float = 1.0) -> float:
    """Mean negative log likelihood in nats of ``softmax(logits / temperature)``.

    Args:
        logits: ``(N, K)``; log probabilities will do, softmax leaves them as they are.
        labels: ``(N,)``, 0 to K - 1.
        temperature: positive.

    Raises:
        ValueError: bad shapes, values that are not finite, labels outside the range, temperature not positive.
    """
    values, numbers = _logits_and_labels(logits, labels)
    return float(torch.nn.functional.cross_entropy(values / check_temperature(temperature), numbers))


def fit_temperature(logits: Any, labels: Any, max_iterations: int = 100) -> float:
    """Temperature that minimizes the negative log likelihood of ``softmax(logits / T)`` (Guo et al., sec. 4.2).

    LBFGS over log T, from T = 1, in float64. Fit it on validation data, never on the test part. The predicted classes
    do not change, and the likelihood of the data it was fitted to never gets worse.

    Decision: T = 1, with a warning, where no optimum exists: every sample is predicted rightly (the likelihood grows
    without end as T goes to 0), or the logits of the labels are on average no larger than the others (as T goes to
    infinity).

    Args:
        logits: ``(N, K)`` array or tensor; log probabilities will do.
        labels: ``(N,)``, 0 to K - 1.
        max_iterations: of LBFGS.

    Raises:
        ValueError: bad shapes, logits that are not finite, labels outside the range.
    """
    values, numbers = _logits_and_labels(logits, labels)
    own = values.gather(1, numbers[:, None])[:, 0]
    if (own >= values.max(dim=1).values).all() or own.mean() <= values.mean():
        why = (
            "every sample is predicted rightly"
            if own.mean() > values.mean()
            else "predictions are no better than chance"
        )
        logger.warning("no temperature fits these %d samples best, since %s; T stays 1.", len(values), why)
        return 1.0
    with torch.enable_grad():
        log_t = torch.zeros((), dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS([log_t], max_iter=max_iterations, line_search_fn="strong_wolfe")

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(values * torch.exp(-log_t), numbers)
            loss.backward()
            return loss

        optimizer.step(closure)
    temperature = float(torch.exp(log_t.detach()))
    if not 0 < temperature < np.inf:
        return 1.0
    better = negative_log_likelihood(values, numbers, temperature) < negative_log_likelihood(values, numbers)
    return temperature if better else 1.0
