"""LoadImageVolumed: any number of channels, in the units and at the place of the file."""

from __future__ import annotations

import os

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor, decollate_batch
from monai.transforms import Compose, Invertd, Orientationd, Spacingd

from medssm_monai.data import DatalistError, ImageReadError, TooLargeError
from medssm_monai.data.readers.channels import files_of, volume_header
from medssm_monai.transforms import LoadImageVolume, LoadImageVolumed

from ..data.builders import picture, save, truncate
from ..data.test_series import save_series
from ..data.test_series import values as series_values

SHAPE = (7, 6, 5)


def oblique(steps=(0.8, 1.1, 2.5), turn: float = 0.3) -> np.ndarray:
    """An affine that lies askew to the axes of the body."""
    c, s = np.cos(turn), np.sin(turn)
    rotation = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag(steps)
    affine[:3, 3] = (-30.5, 12.25, 7)
    return affine


def volume(path, shape=SHAPE, dtype=np.int16, affine=None, seed=0):
    values = np.random.default_rng(seed).integers(-100, 100, shape).astype(dtype)
    nib.save(nib.Nifti1Image(values, np.eye(4) if affine is None else affine), path)
    return values


def test_values_and_place_of_an_oblique_file(tmp_path):
    values = volume(tmp_path / "a.nii.gz", affine=oblique())
    found = LoadImageVolume()(tmp_path / "a.nii.gz")
    assert isinstance(found, MetaTensor)
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(found.numpy()[0], values)
    stored = nib.load(tmp_path / "a.nii.gz")
    for key in ("affine", "original_affine", "file_affine"):
        np.testing.assert_array_equal(np.asarray(found.meta[key]), stored.affine)
    assert found.meta["filename_or_obj"] == str(tmp_path / "a.nii.gz")
    assert found.meta["file_kind"] == "nifti"
    assert found.meta["file_size"].tolist() == list(SHAPE)
    assert found.meta["file_shape"].tolist() == [*SHAPE, 0]


@pytest.mark.parametrize("codes", [(0, 2), (1, 1), (1, 0), (3, 4)])
def test_codes_of_both_affines(tmp_path, codes):
    image = nib.Nifti1Image(np.zeros(SHAPE, np.uint8), oblique())
    image.set_qform(oblique(), codes[0])
    image.set_sform(oblique(), codes[1])
    nib.save(image, tmp_path / "a.nii")
    found = LoadImageVolume()(str(tmp_path / "a.nii"))
    assert (found.meta["qform_code"], found.meta["sform_code"]) == codes
    np.testing.assert_allclose(found.affine.numpy(), oblique(), atol=1e-5)


def test_channels_of_the_fourth_axis(tmp_path):
    values = volume(tmp_path / "a.nii.gz", (*SHAPE, 4))
    found = LoadImageVolume(4)(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(found.numpy(), np.moveaxis(values, -1, 0))
    assert found.meta["file_shape"].tolist() == [*SHAPE, 4]
    assert found.meta["spatial_shape"].tolist() == list(SHAPE)


@pytest.mark.parametrize("count", [3, 4])
def test_eight_bits_on_the_fourth_axis_are_channels_and_lose_none(tmp_path, count):
    values = volume(tmp_path / "a.nii.gz", (*SHAPE, count), np.uint8)
    np.testing.assert_array_equal(LoadImageVolume()(tmp_path / "a.nii.gz").numpy(), np.moveaxis(values, -1, 0))


def test_the_standards_vectors_and_packed_colors(tmp_path):
    values = volume(tmp_path / "a.nii.gz", (*SHAPE, 1, 5))
    np.testing.assert_array_equal(
        LoadImageVolume(5)(tmp_path / "a.nii.gz").numpy(), np.moveaxis(values[..., 0, :], -1, 0)
    )
    colors = np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    colors["G"] = 7
    nib.save(nib.Nifti1Image(colors, np.eye(4)), tmp_path / "b.nii.gz")
    assert LoadImageVolume(3)(tmp_path / "b.nii.gz").amax((1, 2, 3)).tolist() == [0, 7, 0]


@pytest.mark.parametrize("dtype", [np.int8, np.int16])
def test_slope_and_intercept_are_applied(tmp_path, dtype):
    values = np.random.default_rng(0).integers(-100, 100, SHAPE).astype(dtype)
    image = nib.Nifti1Image(values, np.eye(4))
    nib.save(image, tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[112:120] = np.array([0.5, -1024.0], "<f4").tobytes()  # scl_slope and scl_inter
    (tmp_path / "a.nii").write_bytes(content)
    np.testing.assert_array_equal(LoadImageVolume()(tmp_path / "a.nii").numpy()[0], values * 0.5 - 1024)


def test_a_file_for_each_channel(tmp_path):
    files = [tmp_path / f"case_{number:04d}.nii.gz" for number in range(3)]
    nearly = oblique()
    nearly[0, 3] += 5e-4  # below 1e-3 of the smallest side of a voxel, 0.8 mm
    stored = [volume(file, affine=nearly if n == 2 else oblique(), seed=n) for n, file in enumerate(files)]
    found = LoadImageVolumed("image", channels=3)({"image": [str(file) for file in files], "name": "case"})
    np.testing.assert_array_equal(found["image"].numpy(), np.stack(stored))
    assert found["image"].meta["filename_or_obj"] == str(files[0])
    assert found["image"].meta["file_shape"].tolist() == [*SHAPE, 0]
    assert LoadImageVolume()([files[1]]).shape == (1, *SHAPE)


def test_files_that_do_not_belong_together_are_named(tmp_path):
    volume(tmp_path / "a.nii.gz", affine=oblique())
    volume(tmp_path / "b.nii.gz", (7, 6, 4), affine=oblique())
    moved = oblique()
    moved[1, 3] += 2e-3
    volume(tmp_path / "c.nii.gz", affine=moved)
    volume(tmp_path / "d.nii.gz", (*SHAPE, 2), affine=oblique())
    with pytest.raises(ImageReadError, match=r"b\.nii\.gz is \(7, 6, 4\)(.|\n)*affine of .*c\.nii\.gz is 0\.002 off"):
        LoadImageVolume()([tmp_path / f"{name}.nii.gz" for name in "abc"])
    with pytest.raises(ImageReadError, match=r"d\.nii\.gz holds 2 channels"):
        LoadImageVolume()([tmp_path / "a.nii.gz", tmp_path / "d.nii.gz"])
    with pytest.raises(FileNotFoundError, match="none"):
        LoadImageVolume()([tmp_path / "a.nii.gz", tmp_path / "none.nii.gz"])
    with pytest.raises(ValueError, match="empty list"):
        LoadImageVolume()([])


def test_a_dicom_series(tmp_path):
    folder = save_series(tmp_path / "series")
    found = LoadImageVolume(1)(folder)
    np.testing.assert_array_equal(found.numpy()[0], series_values().transpose(2, 1, 0))
    assert (found.meta["file_kind"], found.meta["filename_or_obj"]) == ("dicom", str(folder))
    assert np.linalg.norm(found.affine.numpy()[:3, :3], axis=0).tolist() == [1, 1, 2]
    assert (found.meta["qform_code"], found.meta["sform_code"]) == (1, 1)
    assert found.meta["file_size"].tolist() == [5, 6, 3]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatalistError, match="no DICOM pictures"):
        LoadImageVolume()(tmp_path / "empty")


def test_arrays_in_memory():
    values = np.random.default_rng(0).integers(-1000, 1000, (*SHAPE, 2)).astype(np.int16)
    np.testing.assert_array_equal(LoadImageVolume(2)(values).numpy(), np.moveaxis(values, -1, 0))
    assert LoadImageVolume(1)(values[..., 0]).shape == (1, *SHAPE)
    tensor = MetaTensor(torch.zeros(2, *SHAPE, dtype=torch.int16), affine=torch.as_tensor(oblique()))
    found = LoadImageVolume()(tensor)
    assert found.shape == (2, *SHAPE)
    np.testing.assert_allclose(found.affine.numpy(), oblique())
    assert (found.meta["filename_or_obj"], found.meta["qform_code"]) == ("array", 0)
    with pytest.raises(ImageReadError, match="spatial_dims 2"):
        LoadImageVolume()(np.zeros((4, 5), np.int16))


def test_pictures_and_slices_are_told(tmp_path):
    save(picture(), tmp_path / "photo.png")
    volume(tmp_path / "slice.nii.gz", (7, 6, 1))
    volume(tmp_path / "flat.nii.gz", (7, 6))
    for name in ("photo.png", "slice.nii.gz", "flat.nii.gz"):
        with pytest.raises(ImageReadError, match=f"{name}(.|\n)*spatial_dims 2"):
            LoadImageVolume()(tmp_path / name)


def test_other_numbers_of_channels(tmp_path):
    volume(tmp_path / "a.nii.gz", (*SHAPE, 2))
    with pytest.raises(ImageReadError, match=r"a\.nii\.gz: 2 channel\(s\), expected 4; .*channel_names"):
        LoadImageVolume(4)(tmp_path / "a.nii.gz")
    volume(tmp_path / "b.nii.gz", (*SHAPE, 2, 3))
    with pytest.raises(ImageReadError, match=r"expected \(X, Y, Z\) or \(X, Y, Z, channels\)"):
        LoadImageVolume()(tmp_path / "b.nii.gz")
    for wrong in (0, True, 1.5):
        with pytest.raises(ValueError, match="channels must be a whole number"):
            LoadImageVolume(wrong)


def test_values_that_are_none(tmp_path):
    for bad in (np.nan, np.inf, 1e300):
        values = np.zeros(SHAPE)
        values[0, 0, 0] = bad
        nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "a.nii.gz")
        with pytest.raises(ValueError, match=r"a\.nii\.gz: NaN or infinite"), np.errstate(over="ignore"):
            LoadImageVolume()(tmp_path / "a.nii.gz")


def test_damaged_and_too_large_files(tmp_path, monkeypatch):
    volume(tmp_path / "a.nii.gz", (20, 20, 20))
    truncate(tmp_path / "a.nii.gz")
    with pytest.raises(ImageReadError, match=r"a\.nii\.gz: cannot be read as a volume"):
        LoadImageVolume()(tmp_path / "a.nii.gz")
    volume(tmp_path / "b.nii.gz", (10, 10, 10, 4))
    monkeypatch.setenv("MEDSSM_MAX_PIXELS", "1000")  # 3000 voxels of one channel
    with pytest.raises(TooLargeError, match=r"4 channel\(s\)"):
        LoadImageVolume()(tmp_path / "b.nii.gz")


def test_a_voxel_size_of_zero(tmp_path):
    for name, affine in (("flat", np.diag([1.0, 1, 0, 1])), ("nan", np.diag([1.0, 1, np.nan, 1]))):
        image = nib.Nifti1Image(np.zeros(SHAPE, np.uint8), np.eye(4))
        nib.save(image, tmp_path / f"{name}.nii")
        content = bytearray((tmp_path / f"{name}.nii").read_bytes())
        content[280:328] = affine[:3].astype("<f4").tobytes()  # srow_x, srow_y, srow_z
        (tmp_path / f"{name}.nii").write_bytes(content)
        for read in (LoadImageVolume(), volume_header):
            with pytest.raises(ImageReadError, match=f"{name}.nii: its header gives voxels of 1 x 1 x"):
                read(tmp_path / f"{name}.nii")


def test_the_header_alone(tmp_path):
    volume(tmp_path / "a.nii.gz", (*SHAPE, 2), affine=oblique())
    sides, affine = volume_header([str(tmp_path / "a.nii.gz")])
    assert sides == SHAPE
    np.testing.assert_allclose(affine, oblique(), atol=1e-6)
    assert volume_header(save_series(tmp_path / "series"))[0] == (5, 6, 3)
    volume(tmp_path / "b.nii", (20, 20, 20))
    truncate(tmp_path / "b.nii", 0.5)  # the header is whole
    assert volume_header(tmp_path / "b.nii")[0] == (20, 20, 20)


@pytest.mark.parametrize("axes", ["RAS", "LPS", "PIR", "SAL"])
def test_what_is_resampled_comes_back_on_the_file(tmp_path, axes):
    """A ball found in RAS at 1 mm lies on the ball of the file, whatever its axes."""
    grid = np.stack(np.meshgrid(*(np.arange(side) for side in (24, 20, 14)), indexing="ij"), -1)
    mask = (((grid - (11, 9, 6)) * (1, 1, 1.5)) ** 2).sum(-1) < 36
    ras = nib.Nifti1Image(mask.astype(np.float32), np.diag([1.0, 1.0, 1.5, 1.0]))
    turn = nib.orientations.ornt_transform(nib.io_orientation(ras.affine), nib.orientations.axcodes2ornt(axes))
    nib.save(ras.as_reoriented(turn), tmp_path / "a.nii.gz")
    prepare = Compose(
        [
            LoadImageVolumed("image"),
            Orientationd("image", axcodes="RAS", labels=None),
            Spacingd("image", pixdim=(0.9, 0.9, 0.9), mode="bilinear"),
        ]
    )
    (batch,) = DataLoader(Dataset([{"image": str(tmp_path / "a.nii.gz")}], prepare), batch_size=1)
    assert batch["image"].shape[2:] != mask.shape
    item = decollate_batch(batch)[0]
    item["pred"] = MetaTensor((item["image"].as_tensor() > 0.5).float(), meta=item["image"].meta)
    item["pred"].applied_operations = item["image"].applied_operations
    back = Invertd("pred", prepare, "image", nearest_interp=False)(item)["pred"]
    stored = nib.load(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(back.affine.numpy(), stored.affine, atol=1e-5)
    assert back.shape[1:] == stored.shape
    found, truth = back.numpy()[0] > 0.5, stored.get_fdata() > 0.5
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.93


def test_the_files_of_channels_are_known_whatever_they_are_called(tmp_path):
    folder = tmp_path / f'a{os.pathsep}b, "c'.replace('"', "" if os.name == "nt" else '"')
    folder.mkdir()
    for number in range(2):
        volume(folder / f"v_{number:04d}.nii.gz")
    files = [str(folder / f"v_{number:04d}.nii.gz") for number in range(2)]
    assert files_of(LoadImageVolume(2)(files).meta, "none") == files
    assert files_of(LoadImageVolume(1)(files[0]).meta, files[0]) == files[0]
