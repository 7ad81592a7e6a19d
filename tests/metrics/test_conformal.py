"""Prediction sets and controlled masks from stored thresholds; no MAPIE is needed here."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import beta

from medssm_monai.metrics import RiskThresholds, missed_share, missed_shares, set_figures
from medssm_monai.metrics.conformal import PredictionSets, exact_interval

NAMES = ("a", "b", "c")


def test_lac_takes_every_class_that_is_probable_enough():
    sets = PredictionSets("lac", 0.9, 0.6, 3)
    values = [[0.7, 0.2, 0.1], [0.45, 0.4, 0.15], [0.34, 0.33, 0.33]]
    assert sets.contain(values).tolist() == [[True, False, False], [True, True, False], [False, False, False]]
    assert [sets.names(row, NAMES) for row in values] == [("a",), ("a", "b"), ()]


def test_a_probability_at_the_threshold_is_in():
    assert PredictionSets("lac", 0.9, 0.7, 2).contain([[0.3, 0.7]]).all()


def test_lac_by_class_asks_each_class_for_its_own():
    sets = PredictionSets("lac_by_class", 0.9, (0.9, 0.5), 2)
    assert sets.contain([[0.15, 0.85], [0.55, 0.45]]).tolist() == [[True, True], [True, False]]


def test_aps_takes_the_class_that_crosses_the_threshold_and_is_never_empty():
    sets = PredictionSets("aps", 0.9, 0.8, 3)
    assert sets.names([0.05, 0.9, 0.05], NAMES) == ("b",)
    assert sets.names([0.3, 0.5, 0.2], NAMES) == ("b", "a")  # 0.5 and 0.3 reach 0.8
    assert sets.names([0.3, 0.45, 0.25], NAMES) == ("b", "a", "c")
    assert PredictionSets("aps", 0.9, 0.0, 3).names([0.3, 0.5, 0.2], NAMES) == ("b",)


def test_raps_is_reached_sooner_by_further_classes():
    values = [0.4, 0.35, 0.25]
    assert PredictionSets("raps", 0.9, 0.8, 3, penalty=0.0, free=1).names(values, NAMES) == ("a", "b", "c")
    assert PredictionSets("raps", 0.9, 0.8, 3, penalty=0.1, free=1).names(values, NAMES) == ("a", "b")
    assert PredictionSets("raps", 0.9, 0.8, 3, penalty=0.1, free=2).names(values, NAMES) == ("a", "b", "c")


@pytest.mark.parametrize("sets", [PredictionSets("lac_by_class", 0.9, (0.1, 0.2, 0.3), 3)])
def test_sets_come_back_from_json(sets):
    stored = json.loads(json.dumps({"method": sets.method, "level": 0.9, "threshold": sets.threshold, "classes": 3}))
    assert PredictionSets.of({**stored, "images": 5, "part": "validation"}, NAMES) == sets


def test_sets_of_another_network_are_refused():
    stored = {"method": "lac", "level": 0.9, "threshold": 0.5, "classes": 2}
    with pytest.raises(ValueError, match="calibrated for 2 classes, and there are 3 .a, b, c."):
        PredictionSets.of(stored, NAMES)
    with pytest.raises(ValueError, match="'crc'; of a classification it is one of lac"):
        PredictionSets.of({"method": "crc", "level": 0.9, "thresholds": {"a": 0.2}}, NAMES)
    with pytest.raises(ValueError, match="for 3 classes, the probabilities for 2"):
        PredictionSets("lac", 0.9, 0.5, 3).contain([[0.5, 0.5]])
    with pytest.raises(ValueError, match="softmax"):
        PredictionSets("lac", 0.9, 0.5, 2).contain([[3.0, -1.0]])


@pytest.mark.parametrize(("hits", "trials"), [(0, 10), (10, 10), (7, 9), (141, 156)])
def test_the_interval_is_that_of_clopper_and_pearson(hits, trials):
    low = 0.0 if hits == 0 else beta.ppf(0.025, hits, trials - hits + 1)
    high = 1.0 if hits == trials else beta.ppf(0.975, hits + 1, trials - hits)
    assert exact_interval(hits, trials) == pytest.approx((low, high), abs=1e-9)


def test_an_interval_of_nothing_is_undefined_and_nonsense_is_refused():
    assert np.isnan(exact_interval(0, 0)).all()
    with pytest.raises(ValueError, match="4 of 3"):
        exact_interval(4, 3)


def test_figures_of_sets_counted_by_hand():
    sets = PredictionSets("lac", 0.9, 0.6, 3)
    values = [[0.7, 0.2, 0.1], [0.45, 0.45, 0.1], [0.34, 0.33, 0.33], [0.1, 0.1, 0.8]]  # a | a, b | none | c
    found = set_figures(sets, values, [0, 1, 2, 0], NAMES)
    assert (found["coverage"]["covered"], found["coverage"]["images"], found["coverage"]["value"]) == (2, 4, 0.5)
    assert (found["mean_size"], found["empty"], found["full"], found["single"]) == (1.0, 0.25, 0.0, 0.5)
    assert found["single_accuracy"] == 0.5
    assert found["sizes"] == {"0": 1, "1": 2, "2": 1, "3": 0}
    assert {name: row["value"] for name, row in found["per_class"].items()} == {"a": 0.5, "b": 1.0, "c": 0.0}


def test_what_is_missed_at_each_threshold_against_counting():
    rng = np.random.default_rng(0)
    values, thresholds = rng.random((7, 5)).round(2), np.array([0.0, 0.25, 0.5, 0.99, 1.0])
    counted = [float((values <= threshold).mean()) for threshold in thresholds]
    assert missed_shares(values, thresholds).tolist() == counted
    assert np.isnan(missed_shares(np.empty(0), thresholds)).all()


def test_a_controlled_mask_marks_what_is_above_the_threshold():
    risk = RiskThresholds.of(
        {"method": "crc", "level": 0.9, "thresholds": {"liver": 0.2, "tumor": 0.5}}, ("liver", "tumor")
    )
    assert risk.mask(np.array([0.2, 0.21, 0.6]), "liver").tolist() == [0, 1, 1]
    assert risk.mask(np.array([0.2, 0.21, 0.6]), "tumor").tolist() == [0, 0, 1]
    assert missed_share(np.array([0, 1, 1, 0]), np.array([1, 1, 0, 1])) == pytest.approx(2 / 3)
    assert np.isnan(missed_share(np.ones(3), np.zeros(3)))
    with pytest.raises(ValueError, match="no class 'spleen'; there are liver, tumor"):
        risk.mask(np.zeros(3), "spleen")


def test_thresholds_of_other_classes_are_refused():
    stored = {"method": "crc", "level": 0.9, "thresholds": {"liver": 0.2}}
    with pytest.raises(ValueError, match="calibrated for the classes liver, and there are lesion"):
        RiskThresholds.of(stored, ("lesion",))
    with pytest.raises(ValueError, match="'lac'; of a segmentation it is 'crc'"):
        RiskThresholds.of({"method": "lac", "level": 0.9, "threshold": 0.2, "classes": 2}, ("lesion",))
