"""Results for the page: those of Python, at any threshold, with files in the geometry of the image."""

from __future__ import annotations

from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

import medssm_monai
from medssm_monai.apps.viewer.classification import classify
from medssm_monai.apps.viewer.files import new_folder, open_file
from medssm_monai.apps.viewer.fusion import fuse
from medssm_monai.apps.viewer.models import find_models
from medssm_monai.apps.viewer.segmentation import MASK, PROBABILITY, UNCERTAINTY, segment, segment_volume
from medssm_monai.bundle import SegmentationTask
from medssm_monai.data.labels import LabelSet
from medssm_monai.transforms import LoadImage2D

from .conftest import AFFINE


@pytest.fixture
def segmentation(tiny):
    return find_models([tiny["mamba_mis"]], device="cpu")["segmentation"][0]


@pytest.fixture
def classification(tiny):
    return find_models([tiny["medconvmamba"]], device="cpu")["classification"][0]


def test_a_mask_is_that_of_python_at_any_threshold(segmentation, photo, folder, tmp_path, tiny):
    result = new_folder()
    found = segment(segmentation, open_file(photo, result), 1, result)
    expected = medssm_monai.load(tiny["mamba_mis"], device="cpu").predict(photo)
    np.testing.assert_array_equal(found.prediction.probability, expected.probability)
    threshold = float(np.median(expected.probability))
    files = {path.name: path for path in found.save(threshold, 0.4)}
    assert set(files) == {"photo_mask.png", "photo_probability.png", "photo_overlay.png"}
    mask = np.array(Image.open(files["photo_mask.png"]))
    np.testing.assert_array_equal(mask, (expected.probability >= threshold) * 255)
    assert 0 < mask.mean() < 255
    assert Image.open(files["photo_overlay.png"]).size == (50, 40)


def test_the_layers_differ_and_uncertainty_must_be_asked_for(segmentation, photo, folder):
    result = new_folder()
    found = segment(segmentation, open_file(photo, result), 1, result)
    with pytest.raises(ValueError, match="has not been computed yet"):
        found.drawn(UNCERTAINTY, 0.5, 0.5)
    found = found.with_uncertainty()
    drawn = [found.drawn(layer, 0.5, 0.5) for layer in (MASK, PROBABILITY, UNCERTAINTY)]
    assert len({picture.tobytes() for picture in drawn}) == 3
    unsure = np.array(Image.open({path.name: path for path in found.save(0.5, 0.4)}["photo_uncertainty.png"]))
    assert np.abs(unsure / 255 - segmentation.predictor.uncertainty_map(photo)).max() < 0.003


def test_every_slice_of_a_volume_is_in_its_mask(segmentation, volume, folder):
    result = new_folder()
    found = segment(segmentation, open_file(volume, result), 3, result)
    seen: list[tuple[int, int]] = []
    threshold = float(np.median(found.prediction.probability))
    whole = nib.load(segment_volume(found, threshold, lambda done, total: seen.append((done, total))))
    assert (whole.shape, whole.get_data_dtype()) == ((30, 20, 5), np.uint8)
    np.testing.assert_allclose(whole.affine, AFFINE)
    assert seen == [(number, 5) for number in range(1, 6)]
    (mask,) = (path for path in found.save(threshold, 0.5) if path.name.endswith("_mask.nii.gz"))
    np.testing.assert_array_equal(whole.get_fdata()[:, :, 2:3], nib.load(mask).get_fdata())
    assert 0 < whole.get_fdata().mean() < 1


def test_a_picture_has_no_slices_to_segment(segmentation, photo, folder):
    result = new_folder()
    found = segment(segmentation, open_file(photo, result), 1, result)
    with pytest.raises(ValueError, match="one picture, no volume"):
        segment_volume(found, 0.5)


@pytest.fixture
def classes():
    """A model of three classes that go by the brightness of a pixel."""

    def predict(file):
        gray = LoadImage2D(channels=1)(file)
        steps = torch.stack([(0.25 * n - gray[0]).abs() for n in range(4)])
        return task.result({"probability": torch.softmax(-20 * steps, 0), "image": gray})

    task = SegmentationTask(labels=LabelSet.of({"liver": 3, "spleen": 5, "stomach": 9}))
    return SimpleNamespace(label="organs", spatial_dims=2, predictor=SimpleNamespace(predict=predict))


def test_classes_are_drawn_and_written_in_their_colors(classes, folder, tmp_path):
    levels = np.repeat(np.array([0, 64, 128, 191], np.uint8), 100)[None].repeat(400, 0)
    Image.fromarray(levels).save(tmp_path / "steps.png")
    result = new_folder()
    found = segment(classes, open_file(tmp_path / "steps.png", result), 1, result)
    drawn = found.drawn(MASK, 0.5, 1.0)
    assert [tuple(drawn[200, column]) for column in (50, 150, 250, 350)] == [(0, 0, 0), *found.prediction.labels.colors]
    files = {path.name: path for path in found.save(0.5, 0.4)}
    names = ["background", "liver", "spleen", "stomach"]
    assert set(files) == {"steps_mask.png", "steps_overlay.png", *(f"steps_{name}.png" for name in names)}
    with Image.open(files["steps_mask.png"]) as saved:
        np.testing.assert_array_equal(np.asarray(saved), np.repeat([0, 3, 5, 9], 100)[None].repeat(400, 0))
    assert found.drawn(PROBABILITY, 0.5, 0.5).shape == drawn.shape
    tab = pytest.importorskip("medssm_monai.apps.viewer.segmentation_tab", exc_type=ImportError)  # needs Gradio
    legend = tab._facts(found, MASK, 0.5)
    assert all(f"</span>{name}</div>" in legend and f"Area of {name}" in legend for name in names[1:])


def test_every_slice_of_a_volume_is_in_its_label_map(classes, folder, volume):
    result = new_folder()
    found = segment(classes, open_file(volume, result), 3, result)
    whole = nib.load(segment_volume(found, 0.5))
    part = nib.load(found.save(0.5, 0.4)[0])
    np.testing.assert_array_equal(whole.get_fdata()[:, :, 2:3], part.get_fdata())
    assert set(np.unique(whole.get_fdata())) == {0, 3, 5, 9}
    np.testing.assert_allclose(whole.affine, AFFINE)
    assert b"stomach" in whole.header.extensions[0].get_content()


def test_a_model_of_volumes_says_where_to_go(classes, folder, photo):
    classes.spatial_dims = 3
    with pytest.raises(ValueError, match="segments volumes as a whole.*medssm predict"):
        segment(classes, open_file(photo, folder), 1, folder)


def test_a_class_with_its_explanation_and_files(classification, photo, folder, tiny):
    result = new_folder()
    found = classify(classification, open_file(photo, result), 1, result)
    predictor = medssm_monai.load(tiny["medconvmamba"], device="cpu")
    expected = predictor.predict(photo)
    assert found.prediction.by_class() == pytest.approx(expected.by_class())
    assert found.explanation.class_name == expected.class_name
    other = min(expected.by_class(), key=expected.by_class().get)
    again = found.explained(other)
    assert again.explanation.class_name == other
    np.testing.assert_allclose(again.explanation.heatmap, predictor.explain(photo, other).heatmap, atol=1e-6)
    table, picture = again.save()
    assert (table.name, picture.name) == ("photo_prediction.csv", "photo_explained.png")
    assert expected.class_name in table.read_text()
    assert str(photo.parent) not in table.read_text()
    assert found.with_uncertainty().unsure == predictor.uncertainty(photo)


def test_a_slice_is_classified_by_itself(classification, volume, folder):
    result = new_folder()
    opened = open_file(volume, result)
    found = classify(classification, opened, 2, result)
    expected = classification.predictor.predict(opened.plane(2, folder))
    np.testing.assert_allclose(found.prediction.probabilities, expected.probabilities, atol=1e-6)
    assert found.picture.shape == (20, 30, 3)


def test_two_pictures_are_fused_in_the_geometry_of_the_first(tiny, folder, tmp_path):
    rng = np.random.default_rng(0)
    for name in "ab":
        Image.fromarray(rng.integers(0, 256, (32, 40), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    (model,) = find_models([tiny["clinical_fmamba"]], device="cpu")["fusion"]
    result = new_folder()
    pair = [open_file(tmp_path / f"{name}.png", result) for name in "ab"]
    found = fuse(model, *pair, result)
    expected = model.predictor.predict((tmp_path / "a.png", tmp_path / "b.png"))
    np.testing.assert_array_equal(found.prediction.image, expected.image)
    np.testing.assert_array_equal(found.source(1, 1)[..., 0], np.array(Image.open(tmp_path / "b.png")))
    fused, picture = found.save(1)
    assert (fused.name, picture.name, found.slices) == ("a_fused.png", "a_panel.png", 0)
    np.testing.assert_array_equal(
        np.array(Image.open(fused)), np.array(Image.open(expected.save(tmp_path / "own.png")))
    )


def test_volumes_are_fused_and_shown_slice_by_slice(tiny, folder, tmp_path):
    rng = np.random.default_rng(0)
    for name in "ab":
        nib.save(nib.Nifti1Image(rng.random((12, 10, 8), dtype=np.float32), AFFINE), tmp_path / f"{name}.nii.gz")
    (model,) = find_models([tiny["volumes"]], device="cpu")["fusion"]
    result = new_folder()
    found = fuse(model, *(open_file(tmp_path / f"{name}.nii.gz", result) for name in "ab"), result)
    assert found.slices == 8
    image = found.prediction.image
    np.testing.assert_array_equal(found.fused(3)[..., 0], np.floor(image[:, :, 2].T * 255 + np.float32(0.5)))
    values = nib.load(tmp_path / "a.nii.gz").get_fdata()
    expected = (values[:, :, 2].T - values.min()) / (values.max() - values.min()) * 255
    assert np.abs(found.source(0, 3)[..., 0] - expected).max() <= 0.51
    with pytest.raises(ValueError, match="has not been computed yet"):
        found.drawn(3, 0.5, True)
    unsure = found.with_uncertainty()
    assert unsure.unsure.shape == (12, 10, 8)
    assert (unsure.drawn(3, 0.5, True)[2] != unsure.drawn(3, 0.5)[2]).any()
    saved = nib.load(found.save(3)[0])
    np.testing.assert_allclose(saved.affine, AFFINE)
    np.testing.assert_allclose(saved.get_fdata(), image, atol=1e-6)
