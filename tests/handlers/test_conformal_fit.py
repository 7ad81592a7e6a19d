"""Calibrating from evaluations of generated images, and what reports and tables make of the stored thresholds."""

from __future__ import annotations

import csv
import json
import sys

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import SupervisedEvaluator
from monai.transforms import Activationsd
from scipy.special import softmax

from medssm_monai.bundle import read_conformal, write_model_settings
from medssm_monai.handlers import ClassificationReport, PredictionsCSV, PredictionSetFit, RiskFit, SegmentationReport
from medssm_monai.metrics import fit_prediction_sets

from .test_classification_handlers import NAMES, evaluator, items, samples


@pytest.fixture
def mapie():
    return pytest.importorskip("mapie", reason="MAPIE is not installed; it comes with the extra conformal")


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "models" / "model.pt"
    path.parent.mkdir()
    path.write_bytes(b"not read here")
    write_model_settings(path, {"variant": "medconvmamba_t", "class_names": NAMES, "temperature": 1.5})
    return path


def calibrated(weights, tmp_path, data, **options):
    fit = PredictionSetFit(weights, tmp_path / "run", class_names=NAMES, data_name="lungs", **options)
    evaluator(data, [fit]).run()
    return read_conformal(weights)


@pytest.mark.usefixtures("mapie")
def test_the_threshold_is_written_beside_the_weights_and_nothing_else_changes(weights, tmp_path):
    logits, labels = samples(60)
    before = json.loads(weights.with_suffix(".json").read_text())
    found = calibrated(weights, tmp_path, items(logits, labels), conditions={"temperature": 1.5, "tta": False})
    after = json.loads(weights.with_suffix(".json").read_text())
    assert after.pop("conformal") == found and after == before and weights.read_bytes() == b"not read here"
    wanted = fit_prediction_sets(softmax(logits.astype(np.float64), axis=1), labels)
    assert found["threshold"] == pytest.approx(wanted.threshold, abs=1e-6)
    assert (found["images"], found["classes"], found["data"], found["part"]) == (60, 3, "lungs", "validation")
    assert json.loads((tmp_path / "run" / "calibration.json").read_text())["conformal"] == found
    assert (
        list(weights.parent.iterdir()) == [weights.with_suffix(".json"), weights]
        or len(list(weights.parent.iterdir())) == 2
    )


@pytest.mark.usefixtures("mapie")
@pytest.mark.parametrize("how", ["entries", "expression"])
def test_one_image_of_each_group_calibrates(weights, tmp_path, how, caplog):
    logits, labels = samples(60)
    groups = [f"p{number // 2}" for number in range(60)]
    data = items(logits, labels, group=groups) if how == "entries" else items(logits, labels)
    found = calibrated(weights, tmp_path, data, group=None if how == "entries" else r"p(\d+)_")
    assert (found["images"], found["groups"], found["one_per_group"]) == (30, 30, True)
    assert "60 images are of 30 groups (patients, videos): one image of each calibrates" in caplog.text


@pytest.mark.usefixtures("mapie")
def test_all_images_of_groups_calibrate_on_request_and_with_a_warning(weights, tmp_path, caplog):
    data = items(*samples(60), group=["a", "b"] * 30)
    found = calibrated(weights, tmp_path, data, one_per_group=False)
    assert (found["images"], found["groups"], found["one_per_group"]) == (60, 2, False)
    assert "the coverage is not guaranteed" in caplog.text


@pytest.mark.usefixtures("mapie")
def test_few_groups_are_too_few_images(weights, tmp_path):
    with pytest.raises(ValueError, match="2 images are too few for a coverage of 0.9 by lac: it takes at least 10"):
        calibrated(weights, tmp_path, items(*samples(60), group=["a", "b"] * 30))
    assert read_conformal(weights) is None


@pytest.mark.usefixtures("mapie")
def test_what_has_chosen_the_epoch_is_said_unless_it_was_held_out(weights, tmp_path, caplog):
    calibrated(weights, tmp_path, items(*samples(30)))
    assert "has chosen the epoch" in caplog.text and "no groups are known" in caplog.text
    caplog.clear()
    calibrated(weights, tmp_path, items(*samples(30)), held_out={"share": 0.5, "validation": 60, "images": 30})
    assert "has chosen the epoch" not in caplog.text


@pytest.mark.usefixtures("mapie")
@pytest.mark.parametrize("part", ["test", "training"])
def test_parts_that_do_not_calibrate_are_refused(weights, tmp_path, part):
    with pytest.raises(ValueError, match=f"part is '{part}'"):
        PredictionSetFit(weights, tmp_path, part, class_names=NAMES)


@pytest.mark.usefixtures("mapie")
def test_bad_options_are_refused_at_once(weights, tmp_path):
    with pytest.raises(ValueError, match="set_method must be one of"):
        PredictionSetFit(weights, tmp_path, class_names=NAMES, set_method="naive")
    with pytest.raises(ValueError, match="coverage must be"):
        PredictionSetFit(weights, tmp_path, class_names=NAMES, coverage=90)
    with pytest.raises(ValueError, match="no .*other.json beside the weights"):
        PredictionSetFit(weights.with_name("other.pt"), tmp_path, class_names=NAMES)


@pytest.mark.usefixtures("mapie")
def test_an_item_that_does_not_fit_is_named(weights, tmp_path):
    fit = PredictionSetFit(weights, tmp_path / "run", class_names=["a", "b"])
    with pytest.raises(ValueError, match="cannot calibrate on data/p0_00.png: probabilities are for 3 classes"):
        evaluator(items(*samples(12)), [fit]).run()


def test_without_mapie_it_says_so_at_once(weights, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mapie", None)
    with pytest.raises(ImportError, match=r"medssm-monai\[conformal\]"):
        PredictionSetFit(weights, tmp_path, class_names=NAMES)


STORED = {
    **{"method": "lac", "threshold": 0.75, "classes": 3, "level": 0.9, "images": 40, "one_per_group": False},
    **{"groups": None, "data": "lungs", "part": "validation", "conditions": {}},
}


def test_a_report_states_coverage_and_sizes(tmp_path, caplog):
    caplog.set_level("INFO")
    logits, labels = samples(90, seed=3)
    report = ClassificationReport(tmp_path, NAMES, data_name="lungs", n_resamples=20, pictures=False, conformal=STORED)
    engine = evaluator(items(logits, labels), [report])
    engine.run()
    probabilities = softmax(logits.astype(np.float64), axis=1)
    inside = probabilities >= 0.25
    covered = inside[np.arange(90), labels]
    found = json.loads((tmp_path / "summary.json").read_text())["conformal"]
    assert found["coverage"]["value"] == pytest.approx(covered.mean())
    assert found["mean_size"] == pytest.approx(inside.sum(axis=1).mean())
    assert found["per_class"]["viral"]["covered"] == covered[labels == 2].sum()
    assert engine.state.metrics["test_set_coverage"] == pytest.approx(covered.mean())
    page = (tmp_path / "report.md").read_text()
    assert "## Conformal prediction" in page and "Calibrated by lac on 40 images, the validation part of lungs" in page
    rows = list(csv.DictReader((tmp_path / "per_image.csv").open()))
    assert [int(row["set_size"]) for row in rows] == inside.sum(axis=1).tolist()
    assert "prediction sets at 0.9: coverage" in caplog.text


def test_a_report_warns_of_its_own_images_and_of_coverage_that_falls_short(tmp_path):
    strict = {**STORED, "threshold": 0.1}
    report = ClassificationReport(
        tmp_path, NAMES, "validation", "lungs", n_resamples=20, pictures=False, conformal=strict
    )
    evaluator(items(*samples(90)), [report]).run()
    warnings = " ".join(json.loads((tmp_path / "summary.json").read_text())["warnings"])
    assert "calibrated on the validation part of lungs: its figures here test nothing" in warnings
    assert "less than the 90.0% that they were calibrated for" in warnings


def test_a_report_for_other_classes_is_refused(tmp_path):
    with pytest.raises(ValueError, match="calibrated for 3 classes, and there are 2"):
        ClassificationReport(tmp_path, ["a", "b"], conformal=STORED)
    with pytest.raises(ValueError, match="calibrated for 3 classes, and there are 2"):
        PredictionsCSV(tmp_path / "p.csv", ["a", "b"], conformal=STORED)


def test_predictions_have_columns_and_a_count_in_the_log(tmp_path, caplog):
    caplog.set_level("INFO")
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.4, 0.35, 0.25], [0.3, 0.3, 0.4]], dtype=np.float32))
    evaluator(items(logits), [PredictionsCSV(tmp_path / "p.csv", NAMES, conformal={**STORED, "threshold": 0.62})]).run()
    rows = list(csv.DictReader((tmp_path / "p.csv").open()))
    assert [row["prediction_set"] for row in rows] == ["normal", "normal", "viral"]
    assert list(rows[0])[-2:] == ["prediction_set", "set_size"]
    assert "prediction sets at a coverage of 0.9: 3 images with one class, 0 with several, 0 with none" in caplog.text


class MapInTheImage(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def masks(count: int, seed: int = 0, empty: int = 0) -> list[dict]:
    """Images that are the logits of a square, seen well or not, and the square."""
    rng, found = np.random.default_rng(seed), []
    for number in range(count):
        truth = np.zeros((1, 16, 16), dtype=np.float32)
        if number >= empty:
            truth[:, 2:9, 3:12] = 1
        logits = np.where(truth > 0, rng.normal(1, 1), -3) + rng.normal(0, 1, truth.shape)
        meta = {"filename_or_obj": f"p{number:02d}.png"}
        found.append(
            {"image": MetaTensor(torch.tensor(logits).float(), meta=meta), "label": MetaTensor(truth, meta=meta)}
        )
    return found


def segmented(data: list[dict], handlers) -> None:
    loader = DataLoader(Dataset(data), batch_size=2)
    post = Activationsd("pred", sigmoid=True)
    SupervisedEvaluator("cpu", loader, MapInTheImage(), postprocessing=post, val_handlers=handlers).run()


@pytest.mark.usefixtures("mapie")
def test_masks_are_calibrated_and_their_risk_is_reported(weights, tmp_path):
    known, new = masks(60, empty=5), masks(60, seed=1, empty=3)
    labels = {"lesion": "foreground"}
    segmented(
        known, [RiskFit(weights, tmp_path / "run", data_name="skin", coverage=0.8, labels={"lesion": "foreground"})]
    )
    stored = read_conformal(weights)
    assert stored["method"] == "crc" and stored["images"] == 60 and 0 < stored["thresholds"]["lesion"] < 0.9
    out = tmp_path / "out"
    segmented(
        new, [SegmentationReport(out, data_name="skin", case_count=0, n_resamples=50, labels=labels, conformal=stored)]
    )
    found = json.loads((out / "summary.json").read_text())["conformal"]
    cut, missed = stored["thresholds"]["lesion"], []
    for item in new[3:]:
        probability = 1 / (1 + np.exp(-item["image"].numpy()))
        missed.append(1 - (probability > cut)[item["label"].numpy() > 0].mean())
    entry = found["classes"]["lesion"]
    assert entry["missed"]["mean"] == pytest.approx(np.mean(missed), abs=1e-6)
    assert entry["images"] == 57 and entry["missed"]["low"] < found["risk"] == 0.2
    assert "at most 20.0% of an image's foreground" in (out / "report.md").read_text()


@pytest.mark.usefixtures("mapie")
def test_too_few_masks_are_refused(weights, tmp_path):
    with pytest.raises(ValueError, match=r"too few images show the class \(lesion in 7\)"):
        segmented(masks(12, empty=5), [RiskFit(weights, tmp_path / "run", labels={"lesion": "foreground"})])


def test_a_risk_that_is_surely_above_is_a_warning(tmp_path):
    stored = {**STORED, "method": "crc", "thresholds": {"lesion": 0.9}}
    del stored["threshold"], stored["classes"]
    labels = {"lesion": "foreground"}
    segmented(masks(30), [SegmentationReport(tmp_path, case_count=0, n_resamples=50, labels=labels, conformal=stored)])
    warnings = " ".join(json.loads((tmp_path / "summary.json").read_text())["warnings"])
    assert "masks whose risk is controlled miss" in warnings and "more than 10.0%" in warnings


def test_thresholds_of_other_classes_are_refused(tmp_path):
    stored = {**STORED, "method": "crc", "thresholds": {"polyp": 0.9}}
    with pytest.raises(ValueError, match="calibrated for the classes polyp, and there are lesion"):
        SegmentationReport(tmp_path, labels={"lesion": "foreground"}, conformal=stored)


class ThreeMaps(torch.nn.Module):
    """Logits of background, liver and tumor from the image."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.zeros_like(x), 1.5 - (x - 1).abs() * 2, 1.5 - (x - 2).abs() * 2], dim=1)


@pytest.mark.usefixtures("mapie")
def test_each_of_several_classes_has_its_threshold_and_what_nobody_has_labeled_counts_for_none(weights, tmp_path):
    labels, rng, data = {"liver": 1, "tumor": 2}, np.random.default_rng(0), []
    for number in range(24):
        truth = np.zeros((1, 12, 12), dtype=np.float32)
        truth[:, 1:8, 1:8] = 1
        truth[:, 3:5, 3:6] = 2
        image = truth + rng.normal(0, 0.3, truth.shape) + rng.normal(0, 0.2)
        truth[:, :, 9:] = -1  # unlabeled, with nothing that could be missed
        meta = {"filename_or_obj": f"p{number:02d}.png"}
        data.append(
            {"image": MetaTensor(torch.tensor(image).float(), meta=meta), "label": MetaTensor(truth, meta=meta)}
        )
    fit = RiskFit(weights, tmp_path / "run", coverage=0.8, labels=labels)
    post = Activationsd("pred", softmax=True)
    SupervisedEvaluator(
        "cpu", DataLoader(Dataset(data), batch_size=3), ThreeMaps(), postprocessing=post, val_handlers=[fit]
    ).run()
    thresholds = read_conformal(weights)["thresholds"]
    assert list(thresholds) == ["liver", "tumor"]
    for channel, (name, threshold) in enumerate(thresholds.items(), start=1):
        missed = []
        for item in data:
            probability = torch.softmax(ThreeMaps()(item["image"][None]), dim=1)[0, channel].numpy()
            missed.append((probability <= threshold)[item["label"][0].numpy() == channel].mean())
        assert (sum(missed) + 1) / 25 <= 0.2 + 1e-9, name
