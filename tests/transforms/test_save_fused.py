"""Fused images lie on source A, in gray, in color and as volumes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from medssm_monai.transforms import LoadImage2Dd, LoadImage3Dd, SaveImageFused, SaveImageFusedd

nib = pytest.importorskip("nibabel")
AFFINE = np.array([[-0.9, 0, 0.1, 12], [0, 1.1, 0, -7], [0.1, 0, 2.0, 30], [0, 0, 0, 1]])


@pytest.fixture
def picture(tmp_path):
    values = np.arange(30 * 41, dtype=np.uint8).reshape(30, 41)
    (tmp_path / "MRI").mkdir()
    Image.fromarray(values).save(tmp_path / "MRI" / "a b.png")
    return LoadImage2Dd("image", channels=None)({"image": str(tmp_path / "MRI" / "a b.png")})["image"]


def test_gray_pictures_come_back_as_they_are(picture, tmp_path):
    path = SaveImageFused(tmp_path / "out")(picture, picture.meta)
    assert path == tmp_path / "out" / "a b_fused.png"
    with Image.open(path) as saved:
        assert (saved.mode, saved.size) == ("L", (41, 30))
        np.testing.assert_array_equal(np.asarray(saved), np.asarray(Image.open(tmp_path / "MRI" / "a b.png")))


def test_color_is_saved_as_rgb(picture, tmp_path):
    color = torch.stack([picture[0], 1 - picture[0], torch.full_like(picture[0], 0.5)])
    path = SaveImageFused(tmp_path / "out")(color, picture.meta)
    with Image.open(path) as saved:
        assert (saved.mode, saved.size) == ("RGB", (41, 30))
        np.testing.assert_array_equal(np.asarray(saved)[5, 7], (color[:, 5, 7] * 255).round().numpy())


@pytest.mark.parametrize(
    ("size", "loader"), [((20, 31, 12), LoadImage3Dd), ((20, 31, 1), LoadImage2Dd), ((20, 1, 12), LoadImage2Dd)]
)
def test_nifti_keeps_shape_and_affine(tmp_path, size, loader):
    values = np.random.default_rng(0).random(size).astype(np.float32)
    values.flat[0], values.flat[1] = 0, 1
    nib.save(nib.Nifti1Image(values, AFFINE), tmp_path / "s_t1ce.nii.gz")
    image = loader("image", channels=None)({"image": str(tmp_path / "s_t1ce.nii.gz")})["image"]
    data = {"pred": image, "image": image, "name": "s", "folder": "p 1"}
    result = SaveImageFusedd("pred", tmp_path / "out")(data)
    assert result["saved_to"] == str(tmp_path / "out" / "p 1" / "s_fused.nii.gz")
    saved = nib.load(result["saved_to"])
    np.testing.assert_allclose(saved.affine, AFFINE, atol=1e-6)
    np.testing.assert_allclose(saved.get_fdata(), values, atol=1e-6)


def test_two_pairs_of_one_name_are_both_kept(picture, tmp_path):
    save = SaveImageFused(tmp_path / "out")
    first = save(picture, picture.meta, "x")
    other = {**picture.meta, "filename_or_obj": str(tmp_path / "second" / "x.png")}
    second = save(1 - picture, other, "x")
    assert first != second and first.is_file() and second.is_file()
    assert save(picture, picture.meta, "x") == first  # a pair is replaced by itself alone


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (torch.rand(2, 30, 41), r"expected \(1, H, W\)"),
        (torch.rand(1, 30, 40), r"the result is \(30, 40\), source A \(30, 41\)"),
        (torch.full((1, 30, 41), torch.nan), "NaN"),
        (torch.rand(3, 4, 5, 6), "to save, got"),
    ],
)
def test_what_cannot_be_saved_is_named(picture, tmp_path, result, message):
    with pytest.raises(ValueError, match=message):
        SaveImageFused(tmp_path / "out")(result, picture.meta)
    assert not (tmp_path / "out").exists()
    with pytest.raises(TypeError, match="carries no metadata"):
        SaveImageFusedd("pred", tmp_path)({"pred": result, "image": torch.rand(1, 2, 2)})
