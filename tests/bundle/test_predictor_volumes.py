"""Prediction of volumes: one file per channel, the geometry of an oblique file, several classes."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

import medssm_monai
from medssm_monai.bundle.image_fit import dimensions_of, require_fitting_images
from medssm_monai.data import ImageReadError

from .volume_bundle import AFFINE, expected_labels, make_bundle, write_case


@pytest.fixture
def predictor(tmp_path):
    return medssm_monai.load(make_bundle(tmp_path / "organs"), device="cpu")


@pytest.fixture
def case(tmp_path):
    return write_case(tmp_path / "studies", "case")


def test_channels_in_files_of_their_own(predictor, case, tmp_path):
    channels = np.stack([nib.load(file).get_fdata() for file in case])
    prediction = predictor.predict(case)
    np.testing.assert_array_equal(prediction.label_map, expected_labels(channels))
    assert set(np.unique(prediction.label_map)) == {0, 2, 5}
    assert prediction.probabilities.shape == (3, 9, 12, 7)
    assert prediction.source == case[0]
    np.testing.assert_allclose(prediction.affine, AFFINE, atol=1e-6)
    saved = nib.load(prediction.save(tmp_path / "labels.nii.gz"))
    np.testing.assert_array_equal(np.asarray(saved.dataobj), expected_labels(channels))
    np.testing.assert_array_equal(saved.affine, nib.load(case[0]).affine)
    by_name, listed = predictor.predict({"image": list(case)}), predictor.predict([case, {"image": case}])
    for other in (by_name, *listed):
        np.testing.assert_array_equal(other.label_map, prediction.label_map)


def test_channels_in_one_array(predictor, case, tmp_path):
    channels = np.stack([nib.load(file).get_fdata(dtype=np.float32) for file in case])
    prediction = predictor.predict(channels)
    np.testing.assert_array_equal(prediction.label_map, expected_labels(channels))
    with pytest.raises(ValueError, match="metadata lack"):
        prediction.save(tmp_path / "labels.nii.gz")
    assert list(tmp_path.glob("*.nii.gz")) == []


def test_uncertainty_of_a_volume(predictor, case):
    little, much = (predictor.uncertainty(case, 4, share)["epistemic"] for share in (0.01, 0.5))
    assert 0 <= little < much <= 1
    found = predictor.uncertainty_map(case, 4, 0.5)
    assert found.shape == (9, 12, 7)
    assert float(found.mean()) == pytest.approx(much, rel=1e-4)


def test_wrong_channels_and_dimensions_are_named(predictor, case, tmp_path):
    picture = tmp_path / "photo.png"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(picture)
    for source, kind, message in (
        ((*case, case[0]), ValueError, "takes one image, or 2 files of its channels: t1, flair; got 3"),
        ({"image": [case[0]]}, ValueError, "t1, flair; got 1"),
        ((case[0], np.zeros((8, 8, 8))), ValueError, "channels of an image are file names, got ndarray"),
        (picture, ImageReadError, "photo.png: the image has 2 dimensions, the weights are for images of 3"),
        ((picture, picture), ImageReadError, "photo.png, .*photo.png: the image has 2 dimensions"),
    ):
        with pytest.raises(kind, match=message):
            predictor.predict(source)


def test_pictures_are_one_file_whatever_the_names_of_their_channels(tmp_path, case):
    root = make_bundle(tmp_path / "pictures", {"{spatial_dims: 3, in_channels: 2": "{spatial_dims: 2, in_channels: 2"})
    predictor = medssm_monai.load(root, device="cpu")
    assert predictor.channel_files == ()
    with pytest.raises(ValueError, match="takes one image, got 2"):
        predictor.predict(case)


def test_dimensions_of_channels(case, tmp_path):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "photo.png")
    assert dimensions_of(list(case)) == 3
    assert dimensions_of([case[0], str(tmp_path / "photo.png")]) is None  # only reading can tell what is wrong
    require_fitting_images([{"image": list(case)}], 3, tmp_path / "model.pt")
    with pytest.raises(ImageReadError, match="3 dimensions, the weights are for images of 2"):
        require_fitting_images([{"image": list(case)}], 2, tmp_path / "model.pt")
