"""Masks with a number for each class, read as these numbers."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medssm_monai.data import ImageReadError
from medssm_monai.data.readers.label_map import read_label_map

from .builders import save, truncate


@pytest.fixture
def classes():
    return np.random.default_rng(0).integers(0, 5, (6, 9), dtype=np.uint8)


def nifti(array, path, affine=None):
    nib.save(nib.Nifti1Image(array, np.diag([2.0, 3, 4, 1]) if affine is None else affine), path)
    return path


def test_an_indexed_picture_is_read_by_its_indices(tmp_path, classes):
    indexed = Image.fromarray(classes, mode="P")
    indexed.putpalette([0, 0, 0, 200, 10, 10, 10, 200, 10, 10, 10, 200, 90, 90, 0])
    indexed.save(tmp_path / "mask.png")
    values, affine = read_label_map(tmp_path / "mask.png", 2)
    assert values.dtype == np.int32
    assert np.array_equal(values, classes)
    assert np.array_equal(affine, np.eye(4))


@pytest.mark.parametrize(
    ("suffix", "stored"),
    [
        ("png", lambda c: c),
        ("png", lambda c: np.repeat(c[..., None], 3, axis=2)),
        ("png", lambda c: c.astype(np.uint16) * 300),
        ("tif", lambda c: c.astype(np.float32)),
        ("tif", lambda c: c.astype(np.int32) * 300),
        ("bmp", lambda c: c),
    ],
)
def test_gray_pictures_of_every_type(tmp_path, classes, suffix, stored):
    array = stored(classes)
    save(array, tmp_path / f"mask.{suffix}")
    values, _ = read_label_map(tmp_path / f"mask.{suffix}", 2)
    assert np.array_equal(values, array if array.ndim == 2 else array[..., 0])


def test_a_slice_is_turned_to_rows_and_columns(tmp_path, classes):
    values, affine = read_label_map(nifti(classes[..., None], tmp_path / "slice.nii.gz"), 2)
    assert np.array_equal(values, classes.T)
    assert np.array_equal(affine[:3, :2], [[0, 2], [3, 0], [0, 0]])


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("extra", [(), (1,)])
def test_volumes_keep_axes_and_affine(tmp_path, dtype, extra):
    stored = np.random.default_rng(1).integers(0, 4, (3, 4, 5, *extra)).astype(dtype)
    turned = np.array([[0, -2.0, 0, 7], [3, 0, 0, 8], [0, 0, 4, 9], [0, 0, 0, 1]])
    values, affine = read_label_map(nifti(stored, tmp_path / "seg.nii.gz", turned), 3)
    assert np.array_equal(values, stored.reshape(3, 4, 5))
    assert np.allclose(affine, turned)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((3, 4, 5), 0.5, np.float32), "60 values are not whole numbers.*export a label map"),
        (np.full((3, 4, 5), np.nan, np.float32), "NaN"),
        (np.arange(180, dtype=np.uint8).reshape(3, 4, 5, 3), "holds colors"),
        (np.arange(120, dtype=np.int16).reshape(3, 4, 5, 2), "2 numbers for each voxel"),
        (np.full((3, 4, 5), 1e30, np.float64), "no numbers of classes"),
    ],
)
def test_values_that_are_no_numbers_of_classes(tmp_path, array, message):
    with pytest.raises(ValueError, match=message):
        read_label_map(nifti(array, tmp_path / "seg.nii"), 3)


def test_color_pictures_and_gray_between_numbers(tmp_path):
    save(np.random.default_rng(0).integers(0, 255, (4, 5, 3), dtype=np.uint8), tmp_path / "color.png")
    with pytest.raises(ValueError, match=r"color\.png: holds colors.*export a label map"):
        read_label_map(tmp_path / "color.png", 2)
    save(np.full((4, 5), 1.5, np.float32), tmp_path / "half.tif")
    with pytest.raises(ValueError, match="not whole numbers"):
        read_label_map(tmp_path / "half.tif", 2)


def test_what_cannot_be_read(tmp_path, classes):
    picture, slice_ = save(classes, tmp_path / "mask.png"), nifti(classes[..., None], tmp_path / "slice.nii.gz")
    with pytest.raises(ImageReadError, match="picture, not a volume"):
        read_label_map(picture, 3)
    with pytest.raises(ImageReadError, match="no volume; expected three axes"):
        read_label_map(slice_, 3)
    volume = nifti(np.zeros((3, 4, 5), np.uint8), tmp_path / "volume.nii.gz")
    with pytest.raises(ImageReadError, match="expected a single slice"):
        read_label_map(volume, 2)
    with pytest.raises(FileNotFoundError):
        read_label_map(tmp_path / "none.nii.gz", 3)
    noise = np.random.default_rng(0).integers(0, 200, (9, 9, 9), dtype=np.uint8)
    with pytest.raises(ImageReadError, match="truncated or damaged"):
        read_label_map(truncate(nifti(noise, tmp_path / "cut.nii.gz")), 3)
    big = Image.fromarray(np.random.default_rng(0).integers(0, 200, (60, 60), dtype=np.uint8), mode="P")
    big.putpalette(list(range(256)) * 3)
    big.save(tmp_path / "cut.png")
    with pytest.raises(ImageReadError):
        read_label_map(truncate(tmp_path / "cut.png"), 2)
