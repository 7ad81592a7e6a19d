"""Predictions of several classes and of volumes: arrays, names, files, uncertainty, against counts by hand."""

from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image

from medssm_monai.bundle import SegmentationPrediction, SegmentationTask
from medssm_monai.data.labels import LabelSet

EXCLUSIVE = LabelSet.of({"liver": 2, "spleen": 5})
REGIONS = LabelSet.of({"whole": [1, 2, 3], "core": [1, 3], "enhancing": 3})
ONE = LabelSet.of({"lesion": 7})
AFFINE = np.array([[-1.1, 0.3, 0.05, 40.5], [0.25, 1.4, -0.1, -20.25], [0.07, 0.2, 2.5, 5.125], [0, 0, 0, 1]])


def item(channels, size, seed=0, softmax=False, source="nowhere.nii.gz"):
    """A post-processed item."""
    values = torch.rand(channels, *size, generator=torch.Generator().manual_seed(seed))
    values = values / values.sum(0, keepdim=True) if softmax else values
    meta = {"filename_or_obj": source, "file_kind": "raster" if len(size) == 2 else "nifti"}
    meta |= {"file_size": size, "file_shape": size, "file_affine": AFFINE}
    return {"probability": values, "image": MetaTensor(torch.zeros(1, *size), meta=meta)}


@pytest.mark.parametrize("size", [(6, 8), (6, 8, 5)])
def test_classes_that_exclude_each_other(size):
    given = item(3, size, softmax=True)
    found = SegmentationTask(labels=EXCLUSIVE).result(given)
    probability = given["probability"].numpy()
    expected = np.array([0, 2, 5])[probability.argmax(0)]
    assert (found.class_names, found.labels) == (("liver", "spleen"), EXCLUSIVE)
    np.testing.assert_array_equal(found.probabilities, probability)
    np.testing.assert_array_equal(found.label_map, expected)
    np.testing.assert_array_equal(found.mask, expected > 0)
    np.testing.assert_array_equal(found.class_mask("spleen"), expected == 5)
    np.testing.assert_allclose(found.foreground, probability[1:].sum(0), atol=1e-6)
    assert found.confidences["liver"] == pytest.approx(probability[1][expected == 2].mean())
    assert found.confidence == pytest.approx(probability.max(0)[expected > 0].mean())
    np.testing.assert_array_equal(replace(found, threshold=0.9).label_map, expected)  # the most probable channel holds


@pytest.mark.parametrize("size", [(6, 8), (6, 8, 5)])
def test_regions_that_overlap(size):
    given = item(3, size)
    found = SegmentationTask(0.6, labels=REGIONS).result(given)
    masks = given["probability"].numpy() >= np.float32(0.6)
    expected = np.where(masks[2], 3, np.where(masks[1], 1, np.where(masks[0], 2, 0)))
    np.testing.assert_array_equal(found.label_map, expected)
    np.testing.assert_array_equal(found.mask, masks.any(0))
    for name, mask in zip(REGIONS.names, masks, strict=True):
        np.testing.assert_array_equal(found.class_mask(name), mask)
    np.testing.assert_array_equal(found.foreground, given["probability"].max(0).values)
    assert replace(found, threshold=0.999999).confidences == {"whole": None, "core": None, "enhancing": None}


def test_one_class_is_what_it_was():
    given = item(1, (6, 8))
    found = SegmentationTask(0.3, ["polyp"]).result(given)
    probability = given["probability"].numpy()[0]
    assert (found.probability.shape, found.probabilities.shape) == ((6, 8), (1, 6, 8))
    np.testing.assert_array_equal(found.mask, probability >= np.float32(0.3))
    np.testing.assert_array_equal(found.label_map, found.mask)
    np.testing.assert_array_equal(found.class_mask("polyp"), found.mask)
    by_hand = SegmentationPrediction("array", {}, probability, 0.3, ("polyp",))
    assert by_hand.labels.by_rule
    assert by_hand.labels.names == ("polyp",)
    assert by_hand.confidence == found.confidence == found.confidences["polyp"]


def test_unknown_classes_and_other_channels_are_named():
    with pytest.raises(ValueError, match="no class 'kidney'; there are liver, spleen"):
        SegmentationTask(labels=EXCLUSIVE).result(item(3, (6, 8))).class_mask("kidney")
    with pytest.raises(ValueError, match="has 2 channels, expected 3: background, liver, spleen"):
        SegmentationTask(labels=EXCLUSIVE).result(item(2, (6, 8)))


def test_files_of_a_picture(tmp_path):
    found = SegmentationTask(labels=EXCLUSIVE).result(item(3, (6, 8), softmax=True, source="deep/a.png"))
    with Image.open(found.save(tmp_path / "labels.png")) as saved:
        np.testing.assert_array_equal(np.asarray(saved), found.label_map)
        assert saved.mode == "P"
    assert [path.name for path in tmp_path.iterdir()] == ["labels.png"]
    with pytest.raises(ValueError, match="3 pictures, one per class; give a folder"):
        found.save(tmp_path / "probability.png", probability=True)
    assert found.save(tmp_path / "all", probability=True).name == "a_background.png"
    assert sorted(path.name for path in (tmp_path / "all").glob("*.png")) == [
        *("a_background.png", "a_liver.png", "a_spleen.png")
    ]


@pytest.mark.parametrize(("labels", "channels"), [(EXCLUSIVE, 3), (REGIONS, 3), (ONE, 1), (None, 1)])
def test_files_of_a_volume(tmp_path, labels, channels):
    found = SegmentationTask(labels=labels).result(item(channels, (6, 8, 5)))
    for name in ("one.nii", "two.nii.gz"):
        saved = nib.load(found.save(tmp_path / name))
        assert saved.get_data_dtype() == np.uint8
        np.testing.assert_array_equal(np.asarray(saved.dataobj), found.label_map)
        np.testing.assert_allclose(saved.affine, AFFINE, atol=1e-6)
        assert len(saved.header.extensions) == (0 if labels is None else 1)
    saved = nib.load(found.save(tmp_path / "probability.nii.gz", probability=True))
    stored = found.probabilities if channels == 1 else np.moveaxis(found.probabilities, 0, -1)[None]
    np.testing.assert_array_equal(np.asarray(saved.dataobj)[None], stored)
    with pytest.raises(ValueError, match="end the name in .nii.gz"):
        found.save(tmp_path / "mask.png")


def entropy(p):
    return -(p * np.log(p)).sum(0) / np.log(len(p))


def test_uncertainty_of_classes_that_exclude_each_other():
    drawn = [item(3, (6, 8, 5), seed, softmax=True)["probability"].double().numpy() for seed in range(4)]
    total = entropy(np.mean(drawn, axis=0))
    expected = total - np.mean([entropy(one) for one in drawn], axis=0)
    task = SegmentationTask(labels=EXCLUSIVE)
    found = task.uncertainty_map(iter(drawn))
    assert (found.shape, found.dtype) == ((6, 8, 5), np.float32)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    figures = task.uncertainty(iter(drawn))
    assert figures == {
        "entropy": pytest.approx(total.mean(), abs=1e-6),
        "epistemic": pytest.approx(expected.mean(), abs=1e-6),
    }


def test_uncertainty_of_regions_is_the_mean_over_the_regions():
    drawn = [item(3, (6, 8), seed)["probability"].double().numpy() for seed in range(4)]
    alone = []
    for channel in range(3):
        pairs = [np.stack([one[channel], 1 - one[channel]]) for one in drawn]
        alone.append(entropy(np.mean(pairs, axis=0)) - np.mean([entropy(pair) for pair in pairs], axis=0))
    task = SegmentationTask(labels=REGIONS)
    found = task.uncertainty_map(iter(drawn))
    assert found.shape == (6, 8)
    np.testing.assert_allclose(found, np.mean(alone, axis=0), atol=1e-6)
    assert task.uncertainty(iter(drawn))["epistemic"] == pytest.approx(np.mean(alone), abs=1e-6)
