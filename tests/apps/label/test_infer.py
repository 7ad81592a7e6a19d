"""Answers to requests for segmentations: numbers of classes, volumes, channels; MONAI Label itself has stand-ins."""

from __future__ import annotations

import enum
import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import itk
import nibabel as nib
import numpy as np
import pytest

import medssm_monai
from medssm_monai.apps.label.channels import channel_files, channel_name, channel_number, channel_stem
from medssm_monai.bundle.predictions import ClassificationPrediction
from medssm_monai.metrics import RiskThresholds
from medssm_monai.metrics.conformal import PredictionSets

from ...bundle.volume_bundle import CHANNELS, expected_labels, make_bundle, write_case

pytest.importorskip("fastapi")
TYPES = enum.Enum("InferType", {"SEGMENTATION": "segmentation", "CLASSIFICATION": "classification", "OTHERS": "others"})


class Task:
    def __init__(self, type_of_task, labels, dimension, description):
        self.labels, self.dimension = labels, dimension

    def info(self):
        return {"labels": self.labels, "dimension": self.dimension}


@pytest.fixture
def infer(monkeypatch):
    """The module of the tasks."""
    contents = {"interfaces.exception": {"MONAILabelException": type("M", (Exception,), {})}}
    contents["interfaces.tasks.infer_v2"] = {"InferTask": Task, "InferType": TYPES}
    for name in ("", ".interfaces", ".interfaces.tasks", *(f".{name}" for name in contents)):
        module = ModuleType(f"monailabel{name}")
        vars(module).update(contents.get(name[1:], {}))
        monkeypatch.setitem(sys.modules, f"monailabel{name}", module)
    ours = [f"medssm_monai.apps.label.{name}" for name in ("errors", "infer")]
    for name in ours:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module(ours[-1])
    for name in ours:
        sys.modules.pop(name, None)


@pytest.fixture
def task(infer, tmp_path):
    predictor = medssm_monai.load(make_bundle(tmp_path / "organs"), device="cpu")
    model = SimpleNamespace(name="organs", predictor=lambda: predictor, weights=None, weights_sha256=None)
    return infer.infer_task(model)


def test_classes_are_named_with_their_numbers(task):
    assert task.info() == {"labels": {"liver": 2, "spleen": 5}, "dimension": 3}


def test_a_label_map_of_channels_in_files_of_their_own(task, tmp_path):
    files = write_case(tmp_path / "studies", "case")
    channels = np.stack([nib.load(file).get_fdata() for file in files])
    expected = expected_labels(channels)
    for request in ({}, {"result_extension": ".nii", "result_dtype": "uint16"}):
        made, answer = task({"image": files[0], **request})
        saved = nib.load(made)
        np.testing.assert_array_equal(np.asarray(saved.dataobj), expected)
        np.testing.assert_array_equal(saved.affine, nib.load(files[0]).affine)
        assert saved.get_data_dtype() == np.dtype(request.get("result_dtype", "uint8"))
        assert b"spleen" in saved.header.extensions[0].get_content()
        Path(made).unlink()
        assert answer["label_names"] == {"liver": 2, "spleen": 5}
        assert answer["shares"] == {"liver": (expected == 2).mean(), "spleen": (expected == 5).mean()}
        assert 0 < answer["confidences"]["liver"] <= 1


def test_axes_at_right_angles_are_for_nrrd(task, tmp_path):
    files = write_case(tmp_path / "studies", "case")
    with pytest.raises(Exception, match="400: organs: this result cannot be written in that format .*ask for .nii.gz"):
        task({"image": files[0], "result_extension": ".nrrd"})
    for file in files:
        image = nib.load(file)
        nib.save(nib.Nifti1Image(image.get_fdata(dtype=np.float32), np.diag([-1.0, 2, 3, 1])), file)
    made, _ = task({"image": files[0], "result_extension": ".nrrd", "result_dtype": "uint16"})
    expected = expected_labels(np.stack([nib.load(file).get_fdata() for file in files]))
    np.testing.assert_array_equal(itk.array_from_image(itk.imread(made)).T, expected)
    Path(made).unlink()


def test_a_channel_that_is_missing_is_named(task, tmp_path):
    first, second = write_case(tmp_path / "studies", "case")
    with pytest.raises(Exception, match="400: organs: case_0001.nii.gz is channel 1 of an image; ask for the first"):
        task({"image": second})
    Path(second).unlink()
    with pytest.raises(Exception, match=r"400: organs: beside case_0000.nii.gz there is no case_0001 \(flair\)"):
        task({"image": first})


def test_only_volumes_are_asked_about_and_a_case_once(task, tmp_path):
    first, second = (Path(file) for file in write_case(tmp_path / "studies", "case"))
    nib.save(nib.Nifti1Image(np.zeros((8, 9, 1)), np.eye(4)), tmp_path / "slice.nii.gz")
    (tmp_path / "damaged.nii.gz").write_bytes(b"no NIfTI")
    taken = {"case_0000": first, "case_0001": second, "slice": tmp_path / "slice.nii.gz"}
    taken["damaged"] = tmp_path / "damaged.nii.gz"
    assert [name for name, file in taken.items() if task.takes(name, file)] == ["case_0000", "damaged"]


def test_names_of_channels(tmp_path):
    assert [channel_number(name) for name in ("a_0000", "a_b_0012", "a_12", "_0001", "a")] == [0, 12, None, None, None]
    assert (channel_name("a_b_0000", 3), channel_stem("a_b_0000"), channel_stem("a")) == ("a_b_0003", "a_b", "a")
    assert channel_files(tmp_path / "whole.nii.gz", CHANNELS) == []


@pytest.mark.parametrize("threshold", [None, 0.7, 0.2])
def test_a_classification_says_which_classes_an_image_may_have(infer, tmp_path, threshold):
    sets = None if threshold is None else PredictionSets("lac", 0.9, threshold, 2)
    prediction = ClassificationPrediction("x", {}, np.array([0.4, 0.6]), ("a", "b"), sets=sets)
    predictor = SimpleNamespace(kind="classification", predict=lambda files: prediction, network=None)
    model = SimpleNamespace(name="m", predictor=lambda: predictor, weights=None, weights_sha256=None)
    (tmp_path / "x.png").write_bytes(b"")
    _, answer = infer.infer_task(model)({"image": str(tmp_path / "x.png")})
    assert (answer["class"], answer["confidence"]) == ("b", 0.6)
    assert answer.get("calibrated") == prediction.calibrated
    if threshold is not None:
        members = {0.7: ["b", "a"], 0.2: []}[threshold]
        assert answer["calibrated"]["prediction_set"] == members and answer["calibrated"]["coverage"] == 0.9
        assert json.loads(json.dumps(answer["calibrated"])) == answer["calibrated"]


def test_a_segmentation_says_how_large_the_mask_is_that_misses_little(task, tmp_path):
    predictor = task.model.predictor()
    risk = RiskThresholds(0.9, {"liver": 0.2, "spleen": 0.3})
    predict, seen = predictor.predict, []
    task.model.predictor = lambda: predictor
    predictor.predict = lambda files: seen.append(replace(predict(files), risk=risk)) or seen[0]
    files = write_case(tmp_path / "studies", "case")
    made, answer = task({"image": files[0]})
    Path(made).unlink()
    masks = answer["calibrated"]["masks"]
    (expected,) = seen
    counted = {name: int(expected.controlled_mask(name).sum()) for name in ("liver", "spleen")}
    assert {name: mask["pixels"] for name, mask in masks.items()} == counted
    assert answer["calibrated"]["missed_at_most"] == 0.1
