"""Images inside .npz files go through the same loaders as files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset
from PIL import Image

from medssm_monai.data import ImageReadError, classification_datalists
from medssm_monai.transforms import LoadImage2D, LoadImage2Dd, LoadImage3D, LoadImage3Dd

from .class_builders import npz_arrays, save_npz


@pytest.mark.parametrize(
    ("dtype", "color"),
    [(np.uint8, ()), (np.uint16, ()), (bool, ()), (np.uint8, (1,)), (np.uint8, (3,)), (np.uint8, (4,))],
)
@pytest.mark.parametrize("channels", [1, 3, None])
def test_an_array_loads_as_a_png_of_it_does(tmp_path, dtype, color, channels):
    images = np.random.default_rng(0).integers(0, 2 if dtype is bool else np.iinfo(dtype).max, (3, 10, 12, *color))
    images = images.astype(dtype)
    np.savez(tmp_path / "x.npz", images=images)
    Image.fromarray(images[2][..., 0] if color == (1,) else images[2]).save(tmp_path / "x.png")
    load = LoadImage2D(channels=channels)
    array, file = load(f"{tmp_path}/x.npz/images/2"), load(tmp_path / "x.png")
    np.testing.assert_array_equal(array.numpy(), file.numpy())
    assert array.dtype == torch.float32
    assert array.meta.keys() == file.meta.keys()
    assert array.meta["filename_or_obj"] == f"{tmp_path}/x.npz/images/2"


def test_arrays_and_files_share_a_batch(tmp_path):
    file = save_npz(tmp_path / "breastmnist.npz")
    items = classification_datalists(file)["training"]
    Image.fromarray(npz_arrays()["test_images"][0]).save(tmp_path / "a.png")
    items = [*items, {"image": str(tmp_path / "a.png"), "label": 0, "name": "a"}]
    batch = next(iter(DataLoader(Dataset(items, LoadImage2Dd("image")), batch_size=9, num_workers=1)))
    assert batch["image"].shape == (9, 3, 10, 12)
    assert batch["label"].tolist() == [0, 1] * 4 + [0]
    np.testing.assert_allclose(batch["image"][8, 0], npz_arrays()["test_images"][0] / 255, atol=1e-7)


@pytest.mark.parametrize(("shape", "channels"), [((6, 7, 8), 1), ((6, 7, 8), 3), ((6, 7, 8, 1), None)])
def test_volumes(tmp_path, shape, channels):
    file = save_npz(tmp_path / "nodulemnist3d.npz", **npz_arrays(shape=shape))
    lists = classification_datalists(file, spatial_dims=3)
    assert lists.class_names == ["benign", "malignant"]
    load = LoadImage3Dd("image", channels=channels)
    batch = next(iter(DataLoader(Dataset(lists["validation"], load), batch_size=4)))
    assert batch["image"].shape == (4, channels or 1, 6, 7, 8)
    expected = npz_arrays(shape=shape)["val_images"].reshape(4, 1, 6, 7, 8) / 255
    np.testing.assert_allclose(batch["image"].numpy(), np.broadcast_to(expected, batch["image"].shape), atol=1e-6)


def test_nifti_volumes(tmp_path):
    nib = pytest.importorskip("nibabel")
    values = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32)
    nib.save(nib.Nifti1Image(values, np.diag([2.0, 2, 3, 1])), tmp_path / "v.nii.gz")
    volume = LoadImage3D()(tmp_path / "v.nii.gz")
    np.testing.assert_allclose(volume[0].numpy(), (values - values.min()) / np.ptp(values), atol=1e-6)
    assert np.diag(volume.affine).tolist() == [2, 2, 3, 1]


@pytest.mark.parametrize(
    ("address", "words"),
    [("images/3", "number 3"), ("pictures/0", "no array 'pictures'"), ("objects/0", "pickled"), ("flat/0", "shape")],
)
def test_what_cannot_be_read(tmp_path, address, words):
    np.savez(
        tmp_path / "x.npz", images=np.zeros((3, 4, 4)), objects=np.array([{}], dtype=object), flat=np.zeros((3, 4))
    )
    with pytest.raises(ImageReadError, match=words):
        LoadImage2D()(f"{tmp_path}/x.npz/{address}")
    with pytest.raises(FileNotFoundError):
        LoadImage2D()(f"{tmp_path}/y.npz/images/0")


def test_a_volume_is_no_picture_and_a_picture_no_volume(tmp_path):
    np.savez(tmp_path / "x.npz", volumes=np.zeros((3, 6, 7, 8)), images=np.zeros((3, 6, 7)))
    with pytest.raises(ImageReadError, match="LoadImage3Dd"):
        LoadImage2D()(f"{tmp_path}/x.npz/volumes/0")
    with pytest.raises(ImageReadError, match="no volume"):
        LoadImage3D()(f"{tmp_path}/x.npz/images/0")


def test_a_changed_file_is_read_anew(tmp_path):
    load = LoadImage2D(channels=1)
    for value in (0, 255):
        np.savez(tmp_path / "x.npz", images=np.full((1, 4, 4), value, dtype=np.uint8), pad=np.zeros(value))
        assert load(f"{tmp_path}/x.npz/images/0").unique().tolist() == [value / 255]
