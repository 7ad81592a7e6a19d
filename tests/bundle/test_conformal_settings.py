"""Calibrated thresholds in the settings beside weights: read without MAPIE, refused when nobody has calibrated them."""

from __future__ import annotations

import copy
import csv
import json
import logging
import sys

import numpy as np
import pytest

import medssm_monai
from medssm_monai.bundle import read_conformal, read_held_out, read_model_settings, update_model_settings
from medssm_monai.bundle.settings_schema import check_settings
from medssm_monai.experiments.pack_weights import main as pack_weights

from .tiny_bundles import MAMBA_MIS, MEDCONVMAMBA, copy_bundle

COMMON = {
    **{"level": 0.9, "images": 40, "one_per_group": False, "groups": None, "data": "demo (synthetic)"},
    **{"part": "validation", "conditions": {"temperature": 2.0, "tta": False}},
}
LAC = {"method": "lac", "threshold": 0.7, "classes": 3, **COMMON}
RISK = {"method": "crc", "thresholds": {"foreground": 0.2}, **COMMON, "conditions": {"tta": False}}
RAPS = {**LAC, "method": "raps", "penalty": 0.1, "free": 2}
BY_CLASS = {**LAC, "method": "lac_by_class", "threshold": [0.1, 0.2, 0.3]}


@pytest.fixture
def classifier(tmp_path):
    return copy_bundle(MEDCONVMAMBA, tmp_path)


@pytest.fixture
def segmenter(tmp_path):
    return copy_bundle(MAMBA_MIS, tmp_path)


@pytest.fixture(autouse=True)
def no_mapie(monkeypatch):
    monkeypatch.setitem(sys.modules, "mapie", None)


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (40, 36), dtype=np.uint8)


@pytest.mark.parametrize("conformal", [LAC, RISK, RAPS, BY_CLASS], ids=lambda one: one["method"])
def test_what_a_calibration_writes_is_allowed(conformal):
    check_settings({"conformal": conformal}, "model.json")
    check_settings({"conformal": json.loads(json.dumps(conformal))}, "model.json")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"method": "naive"}, "an object whose method is one of lac, lac_by_class, aps, raps, crc"),
        ({"threshold": "0.7"}, "conformal, threshold is '0.7'; expected a number"),
        ({"threshold": float("nan")}, "conformal, threshold is nan"),
        ({"level": 1.5}, "conformal, level is 1.5"),
        ({"images": 0}, "conformal, images is 0"),
        ({"classes": 1}, "conformal, classes is 1"),
        ({"more": 1}, "expected an object with exactly"),
        ({"conditions": {"tta": ["$__import__('os')"]}}, "conformal, conditions"),
        ({"data": "a\nb"}, "conformal, data"),
        ({"method": "lac_by_class", "threshold": [0.1, 0.2]}, "a number for each of 3 classes"),
        ({"method": "crc"}, "expected an object with exactly"),
    ],
)
def test_what_no_calibration_writes_is_refused(change, said):
    with pytest.raises(ValueError, match="model.json: conformal") as raised:
        check_settings({"conformal": {**LAC, **change}}, "model.json")
    assert said in str(raised.value)


@pytest.mark.parametrize("value", [[], {}, {"lesion": 1.2}, {"lesion": "x"}])
def test_thresholds_of_masks_are_numbers_by_class(value):
    with pytest.raises(ValueError, match="thresholds"):
        check_settings({"conformal": {**RISK, "thresholds": value}}, "model.json")


def test_settings_of_a_network_are_what_they_were(classifier):
    weights, defaults = classifier / "models" / "model.pt", classifier / "configs" / "settings.yaml"
    before = read_model_settings(weights, defaults)
    assert read_conformal(weights) is None
    update_model_settings(weights, conformal=LAC)
    assert read_model_settings(weights, defaults) == before
    assert read_conformal(weights) == LAC


def test_thresholds_hold_for_scores_that_come_about_as_they_did(classifier, caplog):
    weights = classifier / "models" / "model.pt"
    update_model_settings(weights, conformal={**LAC, "conditions": {"temperature": 2.0, "tta": [[-1]]}})
    assert read_conformal(weights, temperature=2.0, tta=((-1,),), other=5) is not None
    assert not caplog.records
    assert read_conformal(weights, temperature=1.0, tta=False) is None
    assert "temperature 1.0 instead of 2.0; tta False instead of [[-1]]" in caplog.text


def test_a_prediction_has_its_set(classifier, tmp_path):
    plain = medssm_monai.load(classifier, device="cpu").predict(picture())
    assert plain.prediction_set is None
    update_model_settings(classifier / "models" / "model.pt", conformal={**LAC, "threshold": 1.0})
    everything = medssm_monai.load(classifier, device="cpu").predict(picture())
    order = sorted(everything.by_class(), key=everything.by_class().get, reverse=True)
    assert everything.prediction_set == tuple(order)
    update_model_settings(classifier / "models" / "model.pt", conformal={**LAC, "threshold": 0.0})
    nothing = medssm_monai.load(classifier, device="cpu").predict(picture())
    assert nothing.prediction_set == () and nothing.class_name == everything.class_name
    for prediction, columns in ((everything, (" | ".join(order), "3")), (nothing, ("", "0"))):
        (row,) = csv.DictReader(prediction.save(tmp_path / "one.csv").open())
        assert (row["prediction_set"], row["set_size"]) == columns
    (row,) = csv.DictReader(plain.save(tmp_path / "one.csv").open())
    assert "prediction_set" not in row


def test_a_set_is_left_out_under_another_temperature(classifier):
    update_model_settings(classifier / "models" / "model.pt", conformal=LAC)
    assert medssm_monai.load(classifier, device="cpu", temperature=1.0).predict(picture()).prediction_set is None


def test_a_threshold_for_other_classes_is_refused(classifier):
    update_model_settings(classifier / "models" / "model.pt", conformal={**LAC, "classes": 5})
    with pytest.raises(Exception, match="calibrated for 5 classes, and there are 3"):
        medssm_monai.load(classifier, device="cpu").predict(picture())


def test_a_controlled_mask_is_what_lies_above_the_threshold(segmenter):
    image = np.random.default_rng(0).integers(0, 256, (40, 36, 3), dtype=np.uint8)
    plain = medssm_monai.load(segmenter, device="cpu").predict(image)
    with pytest.raises(ValueError, match="run calibrating"):
        plain.controlled_mask()
    cut = float(np.quantile(plain.probability, 0.3))
    update_model_settings(
        segmenter / "models" / "model.pt", conformal={**RISK, "thresholds": {plain.class_names[0]: cut}}
    )
    found = medssm_monai.load(segmenter, device="cpu").predict(image)
    assert np.array_equal(found.controlled_mask(), plain.probability > cut)
    assert np.array_equal(found.controlled_mask(plain.class_names[0]), found.controlled_mask())
    assert 0.6 < found.controlled_mask().mean() < 0.8
    with pytest.raises(ValueError, match="no class 'liver'"):
        found.controlled_mask("liver")


def test_one_of_several_classes_must_be_named():
    from medssm_monai.bundle import SegmentationPrediction
    from medssm_monai.data import LabelSet
    from medssm_monai.metrics import RiskThresholds

    labels = LabelSet.of({"liver": 1, "tumor": 2})
    values = np.moveaxis(np.array([[[0.2, 0.5, 0.3], [0.7, 0.1, 0.2]]], dtype=np.float32), -1, 0)  # (3, 1, 2)
    found = SegmentationPrediction(
        *("array", {}, values, 0.5, labels.names),
        labels=labels,
        risk=RiskThresholds(0.9, {"liver": 0.4, "tumor": 0.25}),
    )
    assert found.controlled_mask("liver").tolist() == [[1, 0]]
    assert found.controlled_mask("tumor").tolist() == [[1, 0]]
    assert found.label_map.tolist() == [[1, 0]]
    with pytest.raises(ValueError, match="name one of the classes: liver, tumor"):
        found.controlled_mask()


def test_packed_weights_are_to_be_calibrated_again(classifier, tmp_path):
    weights = classifier / "models" / "model.pt"
    update_model_settings(weights, conformal=LAC)
    assert pack_weights([str(weights), str(tmp_path / "packed" / "model.pt")]) == 0
    assert read_conformal(tmp_path / "packed" / "model.pt") is None
    assert read_conformal(weights) == LAC


def test_the_record_of_held_out_images_is_checked(classifier):
    weights = classifier / "models" / "model.pt"
    record = {"share": 0.5, "validation": 10, "images": 5}
    update_model_settings(weights, held_out=record)
    assert read_held_out(weights) == record
    with pytest.raises(ValueError, match="held_out is"):
        check_settings({"held_out": {**record, "images": -1}}, "model.json")


def test_nothing_is_logged_without_thresholds(classifier, caplog):
    caplog.set_level(logging.WARNING)
    assert read_conformal(classifier / "models" / "model.pt", temperature=3.0) is None
    assert copy.copy(caplog.records) == []
