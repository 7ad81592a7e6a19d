"""Thresholds by MAPIE: equal to the formulas, and what they promise is kept on exchangeable data."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

from medssm_monai.metrics import (
    RISK_THRESHOLDS,
    SET_METHODS,
    fit_prediction_sets,
    fit_risk_thresholds,
    missed_share,
    missed_shares,
)
from medssm_monai.metrics.conformal_fit import _Given, fewest_images

needs_mapie = pytest.mark.usefixtures("mapie")


@pytest.fixture
def mapie():
    return pytest.importorskip("mapie", reason="MAPIE is not installed; it comes with the extra conformal")


def draw(rng: np.random.Generator, count: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are too sure of themselves, and labels of the true ones."""
    true = rng.dirichlet(np.ones(classes), count)
    labels = (true.cumsum(axis=1) > rng.random((count, 1))).argmax(axis=1)
    sharp = true**2
    return sharp / sharp.sum(axis=1, keepdims=True), labels


@needs_mapie
@pytest.mark.parametrize(("count", "level"), [(10, 0.9), (37, 0.9), (100, 0.8), (99, 0.95)])
def test_lac_is_the_order_statistic_of_the_formula(count, level):
    probabilities, labels = draw(np.random.default_rng(count), count, 3)
    scores = np.sort(1 - probabilities[np.arange(count), labels])
    rank = math.ceil(round((count + 1) * level, 9))
    assert fit_prediction_sets(probabilities, labels, level).threshold == pytest.approx(scores[rank - 1], abs=1e-12)


@needs_mapie
def test_lac_by_class_is_lac_of_each_class():
    probabilities, labels = draw(np.random.default_rng(1), 120, 3)
    found = fit_prediction_sets(probabilities, labels, 0.8, "lac_by_class")
    for number, threshold in enumerate(found.threshold):
        scores = np.sort(1 - probabilities[labels == number, number])
        assert threshold == pytest.approx(scores[math.ceil(round((len(scores) + 1) * 0.8, 9)) - 1], abs=1e-12)


@needs_mapie
@pytest.mark.parametrize("classes", [3, 8])
@pytest.mark.parametrize("method", ["lac", "aps", "raps"])
def test_stored_sets_are_those_of_mapie(classes, method):
    from mapie import conformity_scores as scores
    from mapie.classification import SplitConformalClassifier

    rng = np.random.default_rng(classes)
    (known, labels), (new, _) = draw(rng, 150, classes), draw(rng, 500, classes)
    score = {
        "lac": scores.LACConformityScore(),
        "aps": scores.APSConformityScore(),
        "raps": scores.RAPSConformityScore(),
    }[method]
    theirs = SplitConformalClassifier(_Given(classes), 0.9, score, prefit=True, random_state=0)
    _, wanted = theirs.conformalize(known, labels).predict_set(new)
    assert np.array_equal(fit_prediction_sets(known, labels, 0.9, method).contain(new), wanted[:, :, 0])


@needs_mapie
@pytest.mark.parametrize(("method", "draws"), [("lac", 400), ("aps", 150), ("raps", 150), ("lac_by_class", 150)])
def test_the_coverage_is_kept_on_average_over_calibrations(method, draws):
    count, level, rng, covered = 150, 0.9, np.random.default_rng(7), []
    for _ in range(draws):
        known, new = draw(rng, count, 3), draw(rng, 100, 3)
        sets = fit_prediction_sets(*known, level, method)
        inside = sets.contain(new[0])[np.arange(100), new[1]]
        covered.append(inside[new[1] == 0].mean() if method == "lac_by_class" else inside.mean())
    mean, error = np.mean(covered), np.std(covered) / math.sqrt(draws)
    assert mean > level - 3 * error
    if method == "lac":  # exactly this much on average, where no scores are equal
        assert mean == pytest.approx(math.ceil((count + 1) * level) / (count + 1), abs=4 * error)


def blobs(rng: np.random.Generator, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Probabilities and masks of images that differ in how well they are seen."""
    found = []
    for _ in range(count):
        truth = np.zeros((12, 12), dtype=bool)
        side = rng.integers(3, 9)
        truth[:side, :side] = True
        seen = rng.normal(1.0, 1.0)
        found.append((1 / (1 + np.exp(-np.where(truth, seen, -2) - rng.normal(0, 1, truth.shape))), truth))
    return found


def curves(images: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    return np.stack([missed_shares(probability[truth]) for probability, truth in images])


@needs_mapie
def test_the_threshold_is_that_of_the_formula():
    rows = curves(blobs(np.random.default_rng(0), 40))
    bound = (rows.sum(axis=0) + 1) / 41
    assert fit_risk_thresholds({"lesion": rows}, 0.9).thresholds["lesion"] == RISK_THRESHOLDS[bound < 0.1].max()


@needs_mapie
def test_the_threshold_is_that_of_mapies_controller():
    from mapie.risk_control import SemanticSegmentationController

    images = blobs(np.random.default_rng(1), 25)
    theirs = SemanticSegmentationController(
        lambda x: x, risk="recall", method="crc", target_level=0.8, predict_params=RISK_THRESHOLDS
    )
    for probability, truth in images:
        theirs.compute_risks(probability[None, None], truth[None, None].astype(int))
    theirs.compute_best_predict_param()
    found = fit_risk_thresholds({"lesion": curves(images)}, 0.8).thresholds["lesion"]
    assert found == pytest.approx(theirs.best_predict_param[0])


@needs_mapie
def test_the_risk_is_kept_on_average_over_calibrations():
    rng, missed, level, count = np.random.default_rng(3), [], 0.8, 30
    for _ in range(150):
        risk = fit_risk_thresholds({"lesion": curves(blobs(rng, count))}, level)
        new = blobs(rng, 20)
        missed.append(np.mean([missed_share(risk.mask(probability, "lesion"), truth) for probability, truth in new]))
    error = np.std(missed) / math.sqrt(len(missed))
    assert np.mean(missed) < 1 - level + 3 * error
    assert np.mean(missed) > 1 - level - 2 / (count + 1) - 4 * error  # and not by marking everything


@needs_mapie
def test_images_without_the_class_are_left_out():
    rows = curves(blobs(np.random.default_rng(4), 30))
    with_empty = np.concatenate([rows, np.full((9, rows.shape[1]), np.nan)])
    assert fit_risk_thresholds({"a": with_empty}).thresholds == fit_risk_thresholds({"a": rows}).thresholds


@pytest.mark.parametrize("method", SET_METHODS)
def test_too_few_images_are_refused_with_how_many_it_takes(method):
    probabilities, labels = draw(np.random.default_rng(0), 9, 3)
    with pytest.raises(ValueError, match="at least 100" if method == "raps" else "at least 10"):
        fit_prediction_sets(probabilities, labels, 0.9, method)


@needs_mapie
@pytest.mark.parametrize("method", ["lac", "aps", "raps"])
def test_the_fewest_images_are_enough(method):
    count = fewest_images(0.9, method)
    sets = fit_prediction_sets(*draw(np.random.default_rng(5), count, 3), 0.9, method)
    assert 0 < sets.threshold <= 1 + 3 * sets.penalty


@pytest.mark.parametrize(("level", "fewest"), [(0.9, 10), (0.95, 20), (0.99, 100), (0.8, 5), (0.93, 15)])
def test_how_many_images_a_level_takes(level, fewest):
    assert fewest_images(level, "lac") == fewest
    assert 1 / (fewest + 1) < 1 - level  # a controlled risk can come below


def test_every_class_with_too_few_images_is_named():
    rows = np.zeros((9, len(RISK_THRESHOLDS)))
    with pytest.raises(ValueError, match=r"\(liver in 9, tumor in 3\): a recall of 0.9 takes at least 10 of each"):
        fit_risk_thresholds({"liver": rows, "tumor": rows[:3]}, 0.9)
    probabilities, labels = draw(np.random.default_rng(0), 40, 2)
    few = np.flatnonzero(labels == 1)[:4]
    kept = np.concatenate([np.flatnonzero(labels == 0), few])
    with pytest.raises(ValueError, match=r"\(class 1: 4\)"):
        fit_prediction_sets(probabilities[kept], labels[kept], 0.9, "lac_by_class")


@needs_mapie
def test_a_risk_that_no_threshold_keeps_is_refused():
    rows = np.full((20, len(RISK_THRESHOLDS)), 0.4)  # 40 % of every lesion has a probability of 0
    with pytest.raises(ValueError, match="no threshold reaches a recall of 0.9 for lesion"):
        fit_risk_thresholds({"lesion": rows}, 0.9)


@pytest.mark.parametrize("level", [0.2, 1.0, "0.9", True, None])
def test_levels_out_of_range_are_refused(level):
    probabilities, labels = draw(np.random.default_rng(0), 40, 3)
    with pytest.raises(ValueError, match="coverage must be a number from 0.5 to below 1"):
        fit_prediction_sets(probabilities, labels, level)


def test_unknown_methods_and_two_classes_in_order_are_refused():
    probabilities, labels = draw(np.random.default_rng(0), 40, 2)
    with pytest.raises(ValueError, match="set_method must be one of lac, lac_by_class, aps, raps, got 'mondrian'"):
        fit_prediction_sets(probabilities, labels, 0.9, "mondrian")
    with pytest.raises(ValueError, match="aps orders classes, of which two have nothing to order"):
        fit_prediction_sets(probabilities, labels, 0.9, "aps")


def test_without_mapie_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mapie", None)
    monkeypatch.setitem(sys.modules, "mapie.classification", None)
    probabilities, labels = draw(np.random.default_rng(0), 40, 3)
    with pytest.raises(ImportError, match=r'pip install "medssm-monai\[conformal\]"'):
        fit_prediction_sets(probabilities, labels)
