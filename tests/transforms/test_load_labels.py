"""LoadLabelsd: masks as the numbers of their classes, one class by rule as ever."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from medssm_monai.data import LabelSet, MaskValuesError, prepare_structures_demo
from medssm_monai.transforms import LoadImage2Dd, LoadLabels, LoadLabelsd

from ..data.builders import save, square_mask

REGIONS = {"whole": [1, 2, 4], "core": [1, 4], "enhancing": 4}
AFFINE = np.array([[-1.0, 0, 0, 24], [0, 0.8, 0, 20], [0, 0, 2.5, -110], [0, 0, 0, 1]])


def volume_mask(path, values=(0, 1), dtype=np.uint8, shape=(6, 5, 4)):
    mask = np.random.default_rng(0).choice(np.asarray(values, dtype), shape)
    nib.save(nib.Nifti1Image(mask, AFFINE), path)
    return mask


@pytest.mark.parametrize("foreground", ["auto", "nonzero", "half", [255]])
def test_one_class_by_rule_in_pictures_is_what_it_was(tmp_path, foreground):
    path = save(square_mask(), tmp_path / "a.png")
    expected = LoadImage2Dd("label", kind="mask", foreground=foreground)({"label": str(path)})["label"]
    found = LoadLabelsd("label", {"lesion": "foreground"}, foreground=foreground)({"label": str(path)})["label"]
    assert found.dtype == expected.dtype
    assert torch.equal(found.as_tensor(), expected.as_tensor())
    assert found.meta.keys() == expected.meta.keys()
    assert set(found.unique().tolist()) == {0, 1}


@pytest.mark.parametrize("other", [1, 7, 255])
def test_one_class_by_rule_in_volumes_is_what_is_above_zero(tmp_path, other):
    mask = volume_mask(tmp_path / "a.nii.gz", (0, other))
    found = LoadLabels({"organ": "foreground"}, 3)(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(found.numpy()[0], mask > 0)
    np.testing.assert_allclose(found.affine.numpy(), AFFINE)
    assert found.meta["filename_or_obj"] == str(tmp_path / "a.nii.gz")
    assert found.dtype == torch.float32


def test_an_empty_mask_by_rule(tmp_path):
    volume_mask(tmp_path / "a.nii.gz", (0,))
    assert not LoadLabels({"organ": "foreground"}, 3)(tmp_path / "a.nii.gz").any()


def test_more_values_by_rule_are_an_error_that_names_them(tmp_path):
    mask = volume_mask(tmp_path / "a.nii.gz", (0, 1, 2))
    with pytest.raises(MaskValuesError, match=r"a\.nii\.gz: values 0, 1, 2: .*labels, \{liver: 1, tumor: 2\}"):
        LoadLabels({"organ": "foreground"}, 3)(tmp_path / "a.nii.gz")
    volume_mask(tmp_path / "b.nii.gz", (0, -1), np.int16)
    with pytest.raises(MaskValuesError, match="values -1, 0"):
        LoadLabels({"organ": "foreground"}, 3)(tmp_path / "b.nii.gz")
    for foreground, expected in (("nonzero", mask > 0), ([2], mask == 2), ([1, 2], mask > 0)):
        found = LoadLabels({"organ": "foreground"}, 3, foreground)(tmp_path / "a.nii.gz")
        np.testing.assert_array_equal(found.numpy()[0], expected)
    with pytest.raises(ValueError, match="whole numbers"):
        LoadLabels({"organ": "foreground"}, 3, [[64, 0, 0]])(tmp_path / "a.nii.gz")


def test_half_in_volumes(tmp_path):
    mask = volume_mask(tmp_path / "a.nii.gz", (0, 100, 200))
    found = LoadLabels({"organ": "foreground"}, 3, "half")(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(found.numpy()[0], mask == 200)


def test_values_become_their_places(tmp_path):
    mask = volume_mask(tmp_path / "a.nii.gz", (0, 1, 2, 4))
    found = LoadLabelsd("label", REGIONS, 3)({"label": tmp_path / "a.nii.gz"})["label"]
    places = np.zeros(5)
    places[[1, 2, 4]] = 1, 2, 3
    np.testing.assert_array_equal(found.numpy()[0], places[mask])
    labels = LabelSet.of(REGIONS)
    np.testing.assert_array_equal(labels.to_target(found).numpy()[1], np.isin(mask, (1, 4)))


def test_indexed_pictures_are_read_by_their_indices(tmp_path):
    mask = np.random.default_rng(0).integers(0, 3, (9, 12), dtype=np.uint8)
    picture = Image.fromarray(mask, "P")
    picture.putpalette([0, 0, 0, 200, 10, 10, 10, 200, 10])
    picture.save(tmp_path / "a.png")
    found = LoadLabels(LabelSet.of({"a": 1, "b": 2}))(str(tmp_path / "a.png"))
    np.testing.assert_array_equal(found.numpy()[0], mask)


def test_unknown_values_are_named(tmp_path):
    volume_mask(tmp_path / "a.nii.gz", (0, 1, 3))
    with pytest.raises(ValueError, match=r"a\.nii\.gz: values 3 \(.* times\).*liver 1"):
        LoadLabels({"liver": 1}, 3)(tmp_path / "a.nii.gz")


def test_arrays_in_memory():
    mask = np.random.default_rng(0).integers(0, 3, (4, 5, 6), dtype=np.uint8)
    for source in (mask, mask[None], torch.from_numpy(mask)[None]):
        np.testing.assert_array_equal(LoadLabels({"a": 1, "b": 2}, 3)(source).numpy()[0], mask)
    with pytest.raises(ValueError, match="a mask of 2 axes"):
        LoadLabels({"a": 1, "b": 2}, 2)(mask)


@pytest.mark.parametrize("dims", [2, 3])
def test_every_structure_of_the_demo_set(tmp_path, dims):
    folder = prepare_structures_demo(tmp_path, dims, (1, 1, 1), 32)
    labels = {"background": 0, "organ": 1, "vessel": 2, "capsule": 3, "nodule": 4}
    (path,) = (folder / "labelsTr").glob("demo_training_000*")
    assert LoadLabels(labels, dims)(path).unique().tolist() == [0, 1, 2, 3, 4]


def test_bad_arguments():
    with pytest.raises(ValueError, match="spatial_dims must be 2 or 3"):
        LoadLabels({"a": 1}, 4)
    with pytest.raises(ValueError, match="tells one class by rule"):
        LoadLabels({"a": 1, "b": 2}, foreground="nonzero")
    with pytest.raises(ValueError, match="foreground must be"):
        LoadLabels({"a": "foreground"}, foreground="most")
