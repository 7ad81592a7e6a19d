"""Floors against values counted by hand, and warnings that fire where they should and nowhere else."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from medssm_monai.reports.sanity import (
    LEAST_SPREAD,
    beside_floors,
    classification_floors,
    classification_warnings,
    describe_floors,
    few_cases,
    fusion_floors,
    fusion_warnings,
    sanity_section,
    segmentation_floors,
    segmentation_warnings,
)

BOOTSTRAP = {"n_resamples": 500, "confidence": 0.95, "seed": 0}
NAMES = ["a", "b", "c"]


def masks(*pairs, spread=(0.0, 1.0)):
    """Records of predicted and labeled masks, given as texts of 0 and 1: ``masks(("01", "11"))``."""
    records = []
    for pred, label in pairs:
        counted = [
            sum(p == a and t == b for p, t in zip(pred, label, strict=True)) for a, b in ("11", "10", "01", "00")
        ]
        records.append(SimpleNamespace(counts=np.array(counted), probability_range=spread))
    return records


@pytest.mark.parametrize("labels", [[0, 1, 1, 2], [0, 0, 1, 1], [2, 2, 2, 0, 2]])
def test_the_majority_class_is_scikit_learn_s_dummy(labels):
    labels = np.array(labels)
    ((name, entries),) = classification_floors(labels, NAMES, BOOTSTRAP).items()
    dummy = DummyClassifier(strategy="most_frequent").fit(labels[:, None], labels)
    named = dummy.predict(labels[:, None])
    assert name == f"majority class ({NAMES[named[0]]})"
    assert entries["accuracy"]["value"] == pytest.approx(dummy.score(labels[:, None], labels))
    assert entries["accuracy"]["low"] < entries["accuracy"]["value"] < entries["accuracy"]["high"]
    assert entries["balanced_accuracy"]["value"] == pytest.approx(balanced_accuracy_score(labels, named))
    area = roc_auc_score(labels == labels[0], np.zeros(len(labels)))
    assert set(entries["roc_auc"].values()) == {area} == {0.5}


def test_the_majority_class_of_one_class_has_no_area():
    (entries,) = classification_floors(np.array([1, 1]), NAMES, BOOTSTRAP).values()
    assert entries["accuracy"]["value"] == entries["balanced_accuracy"]["value"] == 1
    assert math.isnan(entries["roc_auc"]["value"])


def test_floors_of_whole_patients_have_wider_intervals():
    labels, patients = np.repeat([0, 1, 1, 0, 1], 8), np.repeat(np.arange(5), 8)
    (single,) = classification_floors(labels, NAMES, BOOTSTRAP).values()
    (grouped,) = classification_floors(labels, NAMES, BOOTSTRAP, patients.tolist()).values()
    width = [entry["accuracy"]["high"] - entry["accuracy"]["low"] for entry in (single, grouped)]
    assert width[1] > 1.5 * width[0] and single["accuracy"]["value"] == grouped["accuracy"]["value"] == 0.6


def test_floors_of_masks_follow_the_convention_for_empty_masks():
    floors = segmentation_floors(masks(("0110", "1000"), ("0000", "0000"), ("1111", "1111")), BOOTSTRAP)
    full, empty = floors["all foreground"], floors["all background"]
    assert full["dice"]["value"] == pytest.approx((2 / 5 + 0 + 1) / 3)
    assert full["iou"]["value"] == pytest.approx((1 / 4 + 0 + 1) / 3)
    assert empty["dice"]["value"] == empty["iou"]["value"] == pytest.approx((0 + 1 + 0) / 3)
    assert full["dice"]["low"] < full["dice"]["value"] < full["dice"]["high"]


def test_floors_of_a_fusion_are_its_plain_rows():
    rows = {row: {"ssim_mean": {"mean": v, "low": v - 1, "high": v + 1}} for row, v in (("fused", 3), ("average", 2))}
    floors = fusion_floors(rows, "fused", "ssim_mean")
    assert floors == {"average": {"ssim_mean": {"value": 2, "low": 1, "high": 3}}}
    assert list(describe_floors(floors)) == ["average: ssim_mean 2.0000"]


@pytest.mark.parametrize(("count", "fires"), [(1, True), (19, True), (20, False)])
def test_few_images(count, fires):
    assert bool(few_cases(count, "images")) == fires
    assert few_cases(1, "pairs")[0].startswith("only 1 pair: ")


def probabilities(first: list[float]) -> np.ndarray:
    return np.stack([first, np.subtract(1, first)], axis=1)


@pytest.mark.parametrize(
    ("first", "labels", "said"),
    [
        ([0.9, 0.2, 0.8], [0, 1, 0], []),
        ([0.9, 0.6, 0.8], [0, 1, 0], ["all 3 images get the class a"]),
        ([0.9, 0.6, 0.8], [0, 0, 0], []),  # naming the only class is right
        ([0.499, 0.501, 0.5], [0, 1, 0], ["differ by 0.002 at most"]),
        ([0.3, 0.3 + LEAST_SPREAD / 2, 0.3], [0, 1, 1], ["all 3 images get the class b", "differ by 0.005 at most"]),
        ([0.3, 0.3 + 2 * LEAST_SPREAD, 0.3], [0, 1, 1], ["all 3 images get the class b"]),
        ([0.3], [0], []),
    ],
)
def test_constant_classes_and_probabilities(first, labels, said):
    warnings = classification_warnings(probabilities(first), np.array(labels), NAMES[:2])
    assert len(warnings) == len(said)
    for warning, part in zip(warnings, said, strict=True):
        assert warning.startswith("constant output: ") and part in warning


@pytest.mark.parametrize(
    ("pairs", "spread", "said"),
    [
        ([("0110", "0010"), ("1000", "1100")], (0.0, 1.0), []),
        ([("0000", "0010"), ("0000", "0000")], (0.0, 0.4), ["all 2 masks are empty"]),
        ([("0000", "0010")], (0.0, 0.4), ["the mask is empty"]),
        ([("0000", "0000"), ("0000", "0000")], (0.0, 0.4), []),  # nothing to find, nothing found
        ([("1111", "0010"), ("1111", "1111")], (0.6, 1.0), ["all 2 masks are full"]),
        ([("1111", "1111")], (0.6, 1.0), []),
        ([("0110", "0010")], (0.498, 0.503), ["lie within 0.005"]),
        ([("0000", "0010")], (0.498, 0.499), ["the mask is empty", "lie within 0.001"]),
        ([("0111", "0100"), ("0000", "0000")], (0.0, 1.0), ["37.50% predicted on average, 12.50% in the labels"]),
        ([("0111", "0100"), ("0000", "0100")], (0.0, 1.0), []),  # a factor of 1.5
        ([("01000000", "01110000")], (0.0, 1.0), ["12.50% predicted on average, 37.50% in the labels"]),
        ([("0100", "0110")], (0.0, 1.0), []),  # a factor of 2, the bound
    ],
)
def test_constant_masks_and_wrong_shares(pairs, spread, said):
    warnings = segmentation_warnings(masks(*pairs, spread=spread))
    assert len(warnings) == len(said)
    for warning, part in zip(warnings, said, strict=True):
        assert part in warning


def test_fused_images_that_show_nothing():
    flat = [SimpleNamespace(flat=flat) for flat in (True, False, True)]
    assert fusion_warnings(flat[1:2]) == []
    assert fusion_warnings(flat)[0].startswith("constant output: 2 of 3 fused images")


FLOORS = {"one": {"dice": {"value": 0.5}, "iou": {"value": 0.2}}, "two": {"dice": {"value": 0.7}}}


@pytest.mark.parametrize(
    ("low", "named"), [(0.8, []), (0.7, ["two (0.7000)"]), (0.4, ["one (0.5000)", "two (0.7000)"]), (math.nan, [])]
)
def test_a_figure_whose_interval_reaches_a_floor(low, named):
    figures = {"dice": {"mean": 0.85, "low": low, "high": 0.9}, "hd95": {"mean": 1.0, "low": 0, "high": 2}}
    floors = {"one": {"dice": FLOORS["one"]["dice"]}, "two": FLOORS["two"]}
    said = beside_floors(figures, floors)
    assert len(said) == bool(named)
    for sentence in said:
        assert sentence.startswith("dice: ") and sentence.endswith(", " + ", ".join(named))
        assert ("floors" in sentence) == (len(named) > 1) and "0.9000 does not lie above" in sentence


def test_paired_differences_decide_where_they_are_known():
    figures = {"dice": {"mean": 0.85, "low": 0.1, "high": 0.9}}
    floors = {name: {"dice": {"value": 0.5, "low": 0.4, "high": 0.6}} for name in ("one", "two")}
    leads = {"one": {"dice": {"low": 0.01, "high": 0.02}}, "two": {"dice": {"low": -0.01, "high": 0.02}}}
    (said,) = beside_floors(figures, floors, leads)
    assert said.endswith("does not lie above 0 for the floor, two (difference -0.0100 to 0.0200)")


@pytest.mark.parametrize("warnings", [[], ["one"], ["one", "two"]])
def test_the_section_of_a_page(warnings):
    full = {"value": 0.5, "low": 0.4, "high": 0.6}
    floors = {"majority <b>": {"accuracy": full, "roc_auc": dict.fromkeys(full, 0.5)}}
    summary = {"floors": floors, "warnings": warnings, "bootstrap": {"confidence": 0.95}}
    lines = sanity_section(summary, {"accuracy": {"value": 0.9, "low": 0.8, "high": 1.0}})
    assert lines[0] == "## Sanity"
    assert "| **this evaluation** | 0.9000 (0.8000 to 1.0000) | not evaluated |" in lines
    assert "| majority &lt;b&gt; | 0.5000 (0.4000 to 0.6000) | 0.5000 |" in lines
    count = {0: "No warning.", 1: "1 warning, at the head", 2: "2 warnings, at the head"}[len(warnings)]
    assert lines[-2].startswith(count)
    assert not any(line.startswith("|") for line in sanity_section({**summary, "floors": {}}, {}))
