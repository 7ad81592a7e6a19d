"""Files that were dropped on the page."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medssm_monai.apps.viewer.files import eight_bits, kept, new_folder, open_file, picture_of, remove_folder
from medssm_monai.data import ImageReadError

from .conftest import AFFINE


def test_a_picture_is_itself(photo, tmp_path):
    opened = open_file(photo, tmp_path)
    assert (opened.slices, opened.plane(7, tmp_path), opened.name) == (0, photo, "photo.png")
    np.testing.assert_array_equal(picture_of(photo), np.array(Image.open(photo)))


def test_a_slice_has_the_values_and_the_place_of_the_volume(volume, folder):
    opened = open_file(volume, folder)
    assert opened.slices == 5
    plane = opened.plane(4, folder)
    assert plane.name == "volume_slice0004.nii.gz"
    part, whole = nib.load(plane), nib.load(volume)
    np.testing.assert_array_equal(part.get_fdata()[:, :, 0], whole.get_fdata()[:, :, 3])
    np.testing.assert_allclose(part.affine @ [2, 3, 0, 1], AFFINE @ [2, 3, 3, 1])
    shown = picture_of(plane)  # rows are y
    values = whole.get_fdata()[:, :, 3].T
    expected = (values - values.min()) / (values.max() - values.min()) * 255
    assert shown.shape == (20, 30, 3)
    assert np.abs(shown[..., 0] - expected).max() <= 0.51


def test_slices_outside_are_those_at_the_ends(volume, folder):
    opened = open_file(volume, folder)
    assert opened.plane(99, folder).name.endswith("slice0005.nii.gz")
    assert opened.plane(-3, folder).name.endswith("slice0001.nii.gz")


def test_values_with_a_slope_are_kept(tmp_path, folder):
    stored = np.random.default_rng(0).integers(-900, 900, (6, 7, 4)).astype(np.int16)
    image = nib.Nifti1Image(stored, AFFINE)
    image.header.set_slope_inter(0.37, -11.0)
    nib.save(image, tmp_path / "scaled.nii")
    reread = nib.load(tmp_path / "scaled.nii")
    part = nib.load(open_file(tmp_path / "scaled.nii", folder).plane(2, folder))
    np.testing.assert_allclose(part.get_fdata()[:, :, 0], reread.get_fdata()[:, :, 1], rtol=1e-6)


def test_a_flat_nifti_is_a_picture(tmp_path, folder):
    nib.save(nib.Nifti1Image(np.ones((6, 7, 1), np.float32), AFFINE), tmp_path / "flat.nii.gz")
    assert open_file(tmp_path / "flat.nii.gz", folder).slices == 0


def test_a_damaged_volume_is_said_to_be_one(volume, folder, tmp_path):
    cut = tmp_path / "cut.nii.gz"
    cut.write_bytes(volume.read_bytes()[: volume.stat().st_size // 2])
    with pytest.raises(ImageReadError, match=r"cut\.nii\.gz"):
        open_file(cut, folder).plane(5, folder)
    (tmp_path / "text.nii").write_text("no image")
    with pytest.raises(ImageReadError, match=r"text\.nii"):
        open_file(tmp_path / "text.nii", folder)


def test_too_many_voxels_are_refused_by_the_header(volume, folder, monkeypatch):
    monkeypatch.setenv("MEDSSM_MAX_PIXELS", "100")
    with pytest.raises(ImageReadError, match="too large"):
        open_file(volume, folder)


def test_values_become_pictures():
    gray = eight_bits(np.array([[0.0, 0.5], [1.0, 1.7]]))
    np.testing.assert_array_equal(gray[..., 0], [[0, 128], [255, 255]])
    assert gray.shape == (2, 2, 3)
    color = eight_bits(np.array([[[1.0, 0.0, -1.0]]]))
    np.testing.assert_array_equal(color, [[[255, 0, 0]]])


def test_kept_values_and_only_folders_of_results_are_removed(folder, tmp_path):
    result = new_folder()
    assert result.parent == folder
    values = kept(np.arange(6.0).reshape(2, 3), result / "values.npy")
    np.testing.assert_array_equal(values, np.arange(6.0).reshape(2, 3))
    remove_folder(result)
    assert not result.exists()
    remove_folder(tmp_path)
    assert tmp_path.exists()
