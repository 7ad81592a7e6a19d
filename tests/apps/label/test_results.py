"""Results in the format that a client asks for."""

from __future__ import annotations

import itk
import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medssm_monai.apps.label.results import write_as
from medssm_monai.data.labels import LabelSet
from medssm_monai.transforms.label_files import label_picture

MASK = np.zeros((20, 24), np.uint8)
MASK[3:9, 5:17] = 1
AFFINE = np.array([[-0.5, 0, 0, 3], [0, 0.7, 0, -4], [0, 0, 2, 5], [0, 0, 0, 1.0]])


@pytest.fixture
def picture(tmp_path):
    Image.fromarray(MASK * 255).save(tmp_path / "made.png")
    return tmp_path / "made.png"


@pytest.fixture
def slice_file(tmp_path):
    nib.save(nib.Nifti1Image(MASK.T[:, :, None], AFFINE), tmp_path / "made.nii.gz")
    return tmp_path / "made.nii.gz"


@pytest.mark.parametrize("dtype", [None, "uint8", "uint16"])
@pytest.mark.parametrize("suffix", [".nrrd", ".nii", ".nii.gz"])
def test_masks_of_pictures_become_one_slice_of_label_numbers(tmp_path, picture, suffix, dtype):
    found = itk.imread(str(write_as(picture, tmp_path / f"x{suffix}", labels=True, dtype=dtype)))
    values = itk.array_from_image(found)
    assert (values.shape, values.dtype) == ((1, 20, 24), np.dtype(dtype or "uint8"))
    np.testing.assert_array_equal(values[0], MASK)
    assert not picture.exists()


@pytest.mark.parametrize("suffix", [".nrrd", ".nii"])
def test_masks_of_slices_keep_their_geometry(tmp_path, slice_file, suffix):
    before = itk.imread(str(slice_file))
    found = itk.imread(str(write_as(slice_file, tmp_path / f"x{suffix}", labels=True, dtype="uint16")))
    np.testing.assert_allclose(found.GetSpacing(), before.GetSpacing())
    np.testing.assert_allclose(found.GetOrigin(), before.GetOrigin())
    np.testing.assert_allclose(
        itk.array_from_matrix(found.GetDirection()), itk.array_from_matrix(before.GetDirection())
    )
    np.testing.assert_array_equal(itk.array_from_image(found)[0], MASK)


CLASSES = LabelSet.of({"liver": 3, "spleen": 200, "stomach": 7})
NUMBERS = np.array([0, 3, 7, 200], np.uint8)[np.random.default_rng(0).integers(0, 4, (20, 24))]


@pytest.mark.parametrize("dtype", [None, "uint16"])
@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz"])
@pytest.mark.parametrize("source", ["indexed", "volume"])
def test_label_maps_keep_their_numbers(tmp_path, suffix, dtype, source):
    if source == "indexed":
        made, (picture, text) = tmp_path / "made.png", label_picture(NUMBERS, CLASSES)
        picture.save(made, pnginfo=text)
    else:
        made = tmp_path / "made.nii.gz"
        nib.save(nib.Nifti1Image(np.stack([NUMBERS.T] * 3, axis=-1), AFFINE), made)
    values = itk.array_from_image(itk.imread(str(write_as(made, tmp_path / f"x{suffix}", labels=True, dtype=dtype))))
    assert (values.shape, values.dtype) == ((1 if source == "indexed" else 3, 20, 24), np.dtype(dtype or "uint8"))
    np.testing.assert_array_equal(values[-1], NUMBERS)


def test_large_label_numbers_need_a_type_that_holds_them(tmp_path):
    labels, values = LabelSet.of({"cortex": 1035}), np.full((20, 24), 1035)
    for name in "ab":
        picture, text = label_picture(values, labels)
        picture.save(tmp_path / f"{name}.png", pnginfo=text)
    found = itk.array_from_image(itk.imread(str(write_as(tmp_path / "a.png", tmp_path / "a.nrrd", labels=True))))
    np.testing.assert_array_equal(found[0], values)
    with pytest.raises(ValueError, match="uint8 cannot hold the label 1035"):
        write_as(tmp_path / "b.png", tmp_path / "b.nrrd", labels=True, dtype="uint8")


def test_uncompressed_nrrd(tmp_path, picture):
    path = write_as(picture, tmp_path / "x.nrrd", labels=True, compress=False)
    assert b"encoding: raw" in path.read_bytes()


def test_a_png_is_for_pictures(tmp_path, picture, slice_file):
    with pytest.raises(ValueError, match=r"result_extension .png is for masks of pictures"):
        write_as(slice_file, tmp_path / "x.png", labels=True)
    with pytest.raises(ValueError, match="with result_dtype uint8"):
        write_as(picture, tmp_path / "x.png", labels=True, dtype="uint16")
    assert write_as(picture, tmp_path / "x.png", labels=True).is_file()


def test_fused_images_keep_values_and_colors(tmp_path):
    values = np.random.default_rng(0).random((4, 5, 6)).astype(np.float32)
    nib.save(nib.Nifti1Image(values, AFFINE), tmp_path / "v.nii.gz")
    found = itk.imread(str(write_as(tmp_path / "v.nii.gz", tmp_path / "v.nrrd")))
    np.testing.assert_allclose(itk.array_from_image(found), values.T, atol=1e-6)
    colors = np.random.default_rng(0).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    Image.fromarray(colors).save(tmp_path / "c.png")
    found = itk.imread(str(write_as(tmp_path / "c.png", tmp_path / "c.nrrd")))
    np.testing.assert_array_equal(itk.array_from_image(found)[0], colors)
