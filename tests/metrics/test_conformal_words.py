"""What calibrated thresholds say in words."""

from __future__ import annotations

import pytest

from medssm_monai.metrics import RiskThresholds
from medssm_monai.metrics.conformal import PredictionSets
from medssm_monai.metrics.conformal_words import as_percent, risk_promise, set_promise, set_words

LAC = PredictionSets("lac", 0.9, 0.6, 3)


@pytest.mark.parametrize(("share", "text"), [(0.9, "90 %"), (0.975, "97.5 %"), (1 - 0.9, "10 %"), (0.999, "99.9 %")])
def test_percent_without_noise_of_floats(share, text):
    assert as_percent(share) == text


def test_sets_of_every_size():
    assert set_words(("a",), LAC).startswith("The answer is a; such sets are to hold the true class in 90 % of the")
    assert set_words(("b", "a"), LAC).startswith("The answer is one of: b, a; such sets")
    whole = set_words(("b", "a", "c"), LAC)
    assert whole.startswith("The answer is one of: b, a, c (no class is ruled out")
    empty = set_words((), LAC)
    assert "cannot judge the image" in empty and "does not mean that there is no finding" in empty


def test_what_is_stated_for_each_class():
    assert "of each class" not in set_promise(LAC)
    assert "90 % of the images of each class" in set_promise(PredictionSets("lac_by_class", 0.9, (0.9, 0.5), 2))


def test_masks_name_their_thresholds():
    said = risk_promise(RiskThresholds(0.95, {"liver": 0.25, "tumor": 0.001}))
    assert "(liver 0.25, tumor 0.001)" in said and "at most 5 % of an image's foreground" in said
