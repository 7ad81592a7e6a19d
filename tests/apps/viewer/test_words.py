"""Texts of the page."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from medssm_monai.apps.viewer.words import bars, facts, likeness, note, origin, plain, problem, promise, without_folders
from medssm_monai.bundle.predictions import ClassificationPrediction, SegmentationPrediction
from medssm_monai.data import ImageReadError
from medssm_monai.data.fingerprint import NOT_RECORDED
from medssm_monai.metrics import RiskThresholds
from medssm_monai.metrics.conformal import PredictionSets


def test_names_lose_the_private_folder(folder):
    text = f"{folder}/files/0a1b/scan 1.png: no image; {folder}/result-x/a.nii.gz and /elsewhere/b.png"
    assert without_folders(text) == "scan 1.png: no image; a.nii.gz and /elsewhere/b.png"


def test_expected_errors_say_what_they_say(folder):
    assert plain(ImageReadError(f"{folder}/files/0a/x.png: the file is empty.")) == "x.png: the file is empty."
    assert "memory of this computer does not suffice" in plain(MemoryError())


def test_unforeseen_errors_go_to_the_log(caplog):
    assert "no message foresees why (KeyError: 'lost')" in plain(KeyError("lost"))
    assert "KeyError" in caplog.text


@pytest.mark.parametrize(
    "made",
    [
        lambda text: facts({text: text}),
        lambda text: note(text),
        lambda text: problem(ValueError(text)),
        lambda text: bars({text: 1.0}),
        lambda text: likeness(SimpleNamespace(trained_for="x", unlike_training=(text,))),
        lambda text: promise(SimpleNamespace(calibrated={"meaning": text})),
        lambda text: promise(SimpleNamespace(calibrated={"meaning": text, "prediction_set": []})),
        lambda text: facts(origin(SimpleNamespace(trained_for=text, weights=text))),
    ],
)
def test_values_are_escaped(made):
    page = made("<script>alert('x')</script>")
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_the_largest_probability_is_marked():
    page = bars({"a": 0.25, "b": 0.75})
    assert page.count("medssm-most") == 1
    assert page.index("medssm-most") > page.index("25.00 %")
    assert "width:75.00%" in page


def test_how_an_image_is_like_the_training_images():
    def say(trained_for, *unlike):
        return likeness(SimpleNamespace(trained_for=trained_for, unlike_training=unlike))

    assert "cannot be told" in say(NOT_RECORDED)
    assert "is like the training images" in say("skin")
    warned = say("skin", "gray", "size")
    assert "unlike" in warned and warned.count("<li>") == 2


def test_what_a_calibration_says_stands_on_the_page():
    def classified(threshold, *probabilities):
        names = tuple("abc"[: len(probabilities)])
        sets = None if threshold is None else PredictionSets("lac", 0.9, threshold, len(names))
        return ClassificationPrediction("x", {}, np.array(probabilities), names, sets=sets)

    assert promise(classified(None, 0.4, 0.6)) == ""
    page = promise(classified(0.7, 0.35, 0.6, 0.05))
    assert "The answer is one of: b, a; such sets are to hold the true class in 90 %" in page and "alert" not in page
    empty = promise(classified(0.2, 0.4, 0.6))
    assert "cannot judge the image" in empty and 'role="alert"' in empty
    values = np.full((2, 2), 0.4, np.float32)
    risk = RiskThresholds(0.9, {"lesion": 0.3})
    assert "(lesion 0.3)" in promise(SegmentationPrediction("x", {}, values, 0.5, ("lesion",), risk=risk))


def test_both_tabs_show_it():
    classification = pytest.importorskip("medssm_monai.apps.viewer.classification_tab", exc_type=ImportError)
    segmentation = pytest.importorskip("medssm_monai.apps.viewer.segmentation_tab", exc_type=ImportError)
    sets = PredictionSets("lac", 0.9, 0.7, 2)
    prediction = ClassificationPrediction("x", {}, np.array([0.4, 0.6]), ("a", "b"), sets=sets)
    page = classification._answer(SimpleNamespace(prediction=prediction))
    assert "60.00 %" in page and "The answer is one of: b, a" in page
    values = np.array([[0.4, 0.6], [0.1, 0.9]], np.float32)
    risk = RiskThresholds(0.9, {"lesion": 0.3})
    result = SegmentationPrediction("x", {}, values, 0.5, ("lesion",), risk=risk)
    opened = SimpleNamespace(name="x.png")
    found = SimpleNamespace(prediction=result, at=lambda threshold: result, opened=opened, unsure=None)
    page = segmentation._facts(found, segmentation.MASK, 0.5)
    assert "at most 10 %" in page and "50.00 % of the image (2 of 4" in page
    assert "75.00 % of the image (3 of 4 pixels), more probable than the calibrated threshold 0.3" in page
