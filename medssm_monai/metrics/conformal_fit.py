"""Thresholds of prediction sets and of risk-controlled masks, by MAPIE, the one place that needs it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from decimal import Decimal
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .conformal import SET_METHODS, PredictionSets
from .conformal_risk import RISK_METHOD, RISK_THRESHOLDS, RiskThresholds
from .predictions import as_predictions

__all__ = ["check_level", "fewest_images", "fit_prediction_sets", "fit_risk_thresholds", "require_mapie"]

RAPS_SHARE = Decimal(
    "0.1"
)  # of the images, by which MAPIE 1.6 chooses penalty and free classes, whatever size_raps says
SEED = 0  # of the scores of APS, and of the images that RAPS chooses by


def require_mapie(module: str = "mapie") -> Any:
    """MAPIE, or a module of it.

    Raises:
        ImportError: it is not installed, or is older than 1.0.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            'calibrating needs MAPIE 1 or later; install it with: pip install "medssm-monai[conformal]". Thresholds '
            "that are stored with weights are used without it."
        ) from error


def check_level(level: float) -> float:
    """The level as a float.

    Raises:
        ValueError: not between 0.5 and 1.
    """
    if isinstance(level, bool) or not isinstance(level, (int, float)) or not 0.5 <= level < 1:
        raise ValueError(f"coverage must be a number from 0.5 to below 1, for example 0.9; got {level!r}.")
    return float(level)


def _alpha(level: float) -> float:
    return float(Decimal(1) - Decimal(str(level)))  # 0.1 of 0.9, not 0.09999999999999998


def fewest_images(level: float, method: str) -> int:
    """Images below which no threshold keeps the level.

    ``1 / (1 - level)``: 10 for 0.9. Of ``n`` scores the ``ceil((n + 1) level)``-th is taken, which is there from one
    image less on; MAPIE asks for this one more, and so does a controlled risk, whose bound is above ``1 / (n + 1)``.
    RAPS lays a tenth of the images aside, which must be that many.
    """
    fewest = math.ceil(Decimal(1) / Decimal(str(_alpha(check_level(level)))))
    return math.ceil(fewest / RAPS_SHARE) if method == "raps" else fewest


def _require_images(count: int, level: float, method: str, what: str) -> None:
    fewest = fewest_images(level, method)
    if count < fewest:
        raise ValueError(
            f"{count} {what} are too few for a coverage of {level:g} by {method}: it takes at least {fewest}. Give "
            "more images, or ask for a lower coverage."
        )


class _Given:
    """A classifier, as scikit-learn has them, whose features are the probabilities themselves."""

    def __init__(self, classes: int) -> None:
        self.classes_ = np.arange(classes)
        self.n_features_in_ = classes

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def fit(self, x: np.ndarray, y: np.ndarray) -> _Given:
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(x).argmax(axis=1)

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(x)


def fit_prediction_sets(
    probabilities: ArrayLike, labels: ArrayLike, level: float = 0.9, method: str = "lac"
) -> PredictionSets:
    """Prediction sets with a coverage of ``level``, by MAPIE's ``SplitConformalClassifier``.

    Args:
        probabilities: ``(N, K)`` of images that the network did not learn from, and that chose nothing about it.
        labels: ``(N,)``, 0 to K - 1.
        level: coverage, between 0.5 and 1.
        method: one of :data:`~.conformal.SET_METHODS`, see :class:`~.conformal.PredictionSets`.

    Raises:
        ImportError: MAPIE is missing.
        ValueError: unknown method, a level out of range, too few images, bad probabilities or labels; APS or RAPS of
            images of fewer than three classes.
    """
    if method not in SET_METHODS:
        raise ValueError(f"set_method must be one of {', '.join(SET_METHODS)}, got {method!r}.")
    level = check_level(level)
    data = as_predictions(probabilities, labels)
    values = data.probabilities / data.probabilities.sum(axis=1, keepdims=True)
    if method == "lac_by_class":
        _require_each_class(data.labels, data.num_classes, level)
        parts = [data.labels == number for number in range(data.num_classes)]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*less labels")  # on purpose: one class at a time
            quantiles = tuple(_conformalized(values[part], data.labels[part], level, "lac")[0] for part in parts)
        return PredictionSets(method, level, quantiles, data.num_classes)
    if method != "lac" and len(np.unique(data.labels)) < 3:
        raise ValueError(f"{method} orders classes, of which two have nothing to order: take lac, or images of three.")
    _require_images(len(data.labels), level, method, "images")
    threshold, score = _conformalized(values, data.labels, level, method)
    if method != "raps":
        return PredictionSets(method, level, threshold, data.num_classes)
    penalty, free = float(np.ravel(score.lambda_star)[0]), int(np.ravel(score.k_star)[0])
    return PredictionSets(method, level, threshold, data.num_classes, penalty, free)


def _require_each_class(labels: np.ndarray, classes: int, level: float) -> None:
    fewest = fewest_images(level, "lac_by_class")
    counts = np.bincount(labels, minlength=classes)
    few = [f"class {number}: {count}" for number, count in enumerate(counts) if count < fewest]
    if few:
        raise ValueError(
            f"too few images for a coverage of {level:g} within each class ({', '.join(few)}): it takes at least "
            f"{fewest} of each. Give more images, or take lac, whose coverage is that of all images together."
        )


def _conformalized(values: np.ndarray, labels: np.ndarray, level: float, method: str) -> tuple[float, Any]:
    """MAPIE's quantile, and its conformity score after use."""
    classification, scores = require_mapie("mapie.classification"), require_mapie("mapie.conformity_scores")
    score = {
        "lac": scores.LACConformityScore,
        "aps": scores.APSConformityScore,
        "raps": scores.RAPSConformityScore,
    }[method]()
    found = classification.SplitConformalClassifier(
        _Given(values.shape[1]), confidence_level=level, conformity_score=score, prefit=True, random_state=SEED
    ).conformalize(values, labels)
    found.predict_set(values)  # MAPIE takes the quantile here
    return float(np.ravel(score.quantiles_)[0]), score


def fit_risk_thresholds(missed: Mapping[str, np.ndarray], level: float = 0.9) -> RiskThresholds:
    """Thresholds at which masks miss on average at most ``1 - level`` of an image's foreground, class by class.

    Conformal risk control (Angelopoulos et al., eq. 4) by the functions of MAPIE's
    ``SemanticSegmentationController(risk="recall", method="crc")``: the largest threshold at which
    ``n / (n + 1) risk + 1 / (n + 1)`` stays below ``1 - level``. The controller itself holds every pixel of an image
    once per threshold; shares of pixels do, and give the same.

    Args:
        missed: by class, ``(N, T)`` of N images at :data:`~.conformal_risk.RISK_THRESHOLDS`
            (:func:`~.conformal_risk.missed_shares`); rows of NaN, of images without the class, are left out.
        level: lowest expected recall, between 0.5 and 1.

    Raises:
        ImportError: MAPIE is missing.
        ValueError: a level out of range; classes with too few images, or whose risk no threshold keeps, all of them
            named.
    """
    level = check_level(level)
    shown = {name: np.asarray(rows)[~np.isnan(rows).any(axis=1)] for name, rows in missed.items()}
    fewest = fewest_images(level, RISK_METHOD)
    few = [f"{name} in {len(rows)}" for name, rows in shown.items() if len(rows) < fewest]
    if few:
        raise ValueError(
            f"too few images show the class ({', '.join(few)}): a recall of {level:g} takes at least {fewest} of each "
            "class. Give more images, or ask for a lower coverage."
        )
    control = require_mapie("mapie.risk_control.methods")
    thresholds, beyond = {}, []
    for name, rows in shown.items():
        _, bound = control.get_r_hat_plus(rows, RISK_THRESHOLDS, RISK_METHOD, None, None, None)
        alpha = np.array([_alpha(level)])
        if bound.min() >= alpha[0]:
            beyond.append(f"{name} ({1 - bound.min():.3f} at most)")
            continue
        thresholds[name] = float(control.find_best_predict_param(RISK_THRESHOLDS, bound, alpha)[0])
    if beyond:
        raise ValueError(
            f"no threshold reaches a recall of {level:g} for {', '.join(beyond)}: the network gives a probability of 0 "
            "to too much of it. Ask for a lower coverage, or train longer."
        )
    return RiskThresholds(level, thresholds)
