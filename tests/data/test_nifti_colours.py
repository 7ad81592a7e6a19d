"""Colours and 8 bits in NIfTI: the same numbers as in a PNG of the same picture, as 3D Slicer and ITK write them."""

from __future__ import annotations

import itk
import nibabel as nib
import numpy as np
import pytest

from medssm_monai.data import ImageReadError
from medssm_monai.data.readers.nifti import nifti_facts
from medssm_monai.data.readers.volume import is_volume, read_volume
from medssm_monai.transforms import LoadImage2D, SaveImage2D

from .builders import picture, save, square_mask

RGB = picture(5, 7)
RGBA = np.dstack([RGB, np.full((5, 7), 200, np.uint8)])
VECTOR = 1007


def by_itk(values, path, as_pixel):
    """As ITK writes a vector image (3D Slicer, SimpleITK), or pixels of colours."""
    kind = None if as_pixel else itk.VectorImage[itk.UC, values.ndim - 1]
    image = itk.image_from_array(values, is_vector=True) if as_pixel else itk.image_from_array(values, ttype=kind)
    itk.imwrite(image, str(path))


def by_nibabel(values, path, shape, intent=0):
    image = nib.Nifti1Image(values.transpose(1, 0, 2).reshape(shape), np.eye(4))
    image.header["intent_code"] = intent
    nib.save(image, path)


@pytest.mark.parametrize(
    ("write", "shape"),
    [
        (lambda path: by_itk(RGB[None], path, False), (7, 5, 1, 1, 3)),
        (lambda path: by_nibabel(RGBA, path, (7, 5, 1, 1, 4), VECTOR), (7, 5, 1, 1, 4)),
        (lambda path: by_itk(RGB[None], path, True), (7, 5, 1)),
        (lambda path: by_itk(RGB, path, True), (7, 5)),
        (lambda path: by_nibabel(RGB, path, (7, 5, 1, 1, 3)), (7, 5, 1, 1, 3)),
        (lambda path: by_nibabel(RGB, path, (7, 5, 1, 3)), (7, 5, 1, 3)),
        (lambda path: by_nibabel(RGBA, path, (7, 5, 1, 4)), (7, 5, 1, 4)),
        (lambda path: by_nibabel(RGB, path, (7, 5, 3), VECTOR), (7, 5, 3)),
    ],
    ids=["vector", "vector of 4", "pixel", "flat pixel", "fifth axis", "fourth axis", "alpha", "third axis, by intent"],
)  # fmt: skip
def test_a_colour_slice_is_the_picture_it_shows(tmp_path, write, shape):
    path = tmp_path / "colour.nii.gz"
    write(path)
    assert nib.load(path).shape == shape
    expected = LoadImage2D()(save(RGB, tmp_path / "colour.png"))
    found = LoadImage2D()(path)
    np.testing.assert_array_equal(found.numpy(), expected.numpy())
    np.testing.assert_allclose(found.numpy(), RGB.transpose(2, 0, 1) / 255, rtol=1e-6)
    assert nifti_facts(path).sides == shape[:2] + (shape[2:3] if len(shape) > 3 or shape[2:] == (1,) else ())
    assert not is_volume(path)


def test_a_mask_is_written_without_the_axis_of_the_colours(tmp_path):
    by_itk(RGB[None], tmp_path / "a.nii.gz", False)
    image = LoadImage2D()(tmp_path / "a.nii.gz")
    assert tuple(image.meta["file_shape"]) == (7, 5, 1, 0)
    saver = SaveImage2D(tmp_path / "out")
    saver(image[:1] * 0)
    (written,) = (tmp_path / "out").rglob("*.nii.gz")
    assert nib.load(written).shape == (7, 5, 1)


@pytest.mark.parametrize(
    ("shape", "dtype", "intent"),
    [
        ((7, 5, 3), np.uint8, 0),
        ((7, 5, 4), np.int16, 0),
        ((7, 5, 1, 3), np.int16, 0),
        ((7, 5, 1, 1, 2), np.uint8, VECTOR),
        ((7, 5, 1, 2, 3), np.uint8, 0),
        ((7, 5, 6, 1, 3), np.uint8, VECTOR),
        ((7, 5, 6, 3), np.uint8, 0),
    ],
)
def test_slices_time_points_and_volumes_are_no_colours_of_a_slice(tmp_path, shape, dtype, intent):
    image = nib.Nifti1Image(np.zeros(shape, dtype), np.eye(4))
    image.header["intent_code"] = intent
    nib.save(image, tmp_path / "a.nii")
    with pytest.raises(ImageReadError, match=r"a\.nii: .*expected a single slice"):
        LoadImage2D()(tmp_path / "a.nii")


@pytest.mark.parametrize(
    "write",
    [
        lambda values, path: by_itk(values, path, False),
        lambda values, path: by_itk(values, path, True),
        lambda values, path: nib.save(nib.Nifti1Image(values.transpose(2, 1, 0, 3), np.eye(4)), path),
    ],
    ids=["vector", "pixel", "fourth axis"],
)
def test_a_colour_volume_is_read_as_its_luma(tmp_path, write):
    values = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), dtype=np.uint8)  # z, y, x
    write(values, tmp_path / "a.nii.gz")
    assert is_volume(tmp_path / "a.nii.gz")
    colours = values.transpose(3, 2, 1, 0) / 255
    np.testing.assert_allclose(read_volume(tmp_path / "a.nii.gz", channels=3).numpy(), colours, rtol=1e-6)
    luma = np.tensordot([0.299, 0.587, 0.114], colours, 1)
    np.testing.assert_allclose(read_volume(tmp_path / "a.nii.gz").numpy()[0], luma, rtol=1e-5)


def test_two_values_of_a_voxel_are_no_volume(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6, 2), np.int16), np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(ImageReadError, match="a.nii: 2 values for each voxel"):
        read_volume(tmp_path / "a.nii")


def scaled(values, path, slope=None):
    image = nib.Nifti1Image(values, np.eye(4))
    image.header.set_slope_inter(slope if slope is not None else 1, 0)
    nib.save(image, path)
    return path


def test_eight_bits_are_divided_by_255_as_in_a_png(tmp_path):
    grey = (RGB[..., 0] // 4 + 20).astype(np.uint8)  # neither 0 nor 255
    assert grey.min() >= 20 and grey.max() < 90
    expected = LoadImage2D(channels=1)(save(grey, tmp_path / "a.png")).numpy()
    found = LoadImage2D(channels=1)(scaled(grey.T[..., None], tmp_path / "a.nii.gz")).numpy()
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(found[0], grey / 255, rtol=1e-6)


@pytest.mark.parametrize(("dtype", "slope"), [(np.uint8, 0.5), (np.int16, None), (np.uint16, None), (np.float32, None)])
def test_other_values_have_no_range_but_their_own(tmp_path, dtype, slope):
    grey = (RGB[..., 0] // 4 + 20).astype(dtype)
    found = LoadImage2D(channels=1)(scaled(grey.T[..., None], tmp_path / "a.nii.gz", slope)).numpy()
    assert (found.min(), found.max()) == (0, 1)


@pytest.mark.parametrize(("dtype", "extremes"), [(np.uint8, (40 / 255, 200 / 255)), (np.int16, (0, 1))])
def test_volumes_follow_the_same_rule(tmp_path, dtype, extremes):
    values = np.random.default_rng(0).integers(40, 201, (6, 5, 4)).astype(dtype)
    values.flat[:2] = 40, 200
    found = read_volume(scaled(values, tmp_path / "a.nii.gz")).numpy()
    np.testing.assert_allclose((found.min(), found.max()), extremes, rtol=1e-6)
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii.gz", scale=False).numpy()[0], values)


@pytest.mark.parametrize("value", [1, 255])
def test_masks_of_eight_bits_stay_masks(tmp_path, value):
    mask = square_mask(value=value)
    found = LoadImage2D(kind="mask")(scaled(mask.T[..., None], tmp_path / "m.nii.gz")).numpy()
    np.testing.assert_array_equal(found[0], mask > 0)


def test_complex_values_and_other_kinds_of_file_are_refused(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((7, 5, 1), np.complex64), np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(ImageReadError, match="complex64 values are no picture"):
        LoadImage2D()(tmp_path / "a.nii")
