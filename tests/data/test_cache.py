"""Prepared items in memory or on disk: never those of other settings."""

from __future__ import annotations

import logging
import os
from typing import ClassVar

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import CacheDataset, DataLoader
from monai.transforms import Compose, Invertd, Lambdad, Orientationd, RandFlipd, Spacingd

from medssm_monai.data import cached_dataset
from medssm_monai.data.cache import DiskCache
from medssm_monai.transforms import LoadImageVolumed, NormalizeChannelsd

SHAPE = (8, 7, 6)
BYTES = 8 * 7 * 6 * 4


@pytest.fixture
def data(tmp_path):
    items = []
    for number in range(4):
        path = tmp_path / f"case{number}.nii.gz"
        values = np.random.default_rng(number).integers(0, 900, SHAPE).astype(np.int16)
        nib.save(nib.Nifti1Image(values, np.diag([-1.0, 1, 1, 1])), path)
        items.append({"image": str(path), "name": path.stem})
    return items


def steps(pixdim=(1.0, 1.0, 1.0), random=True):
    return [
        LoadImageVolumed("image"),
        Orientationd("image", axcodes="RAS", labels=None),
        Spacingd("image", pixdim=pixdim),
        NormalizeChannelsd("image", [{"kind": "zscore"}]),
        *([RandFlipd("image", prob=1.0, spatial_axis=0)] if random else []),
    ]


class Counting(LoadImageVolumed):
    """Counts what it loads, outside of itself."""

    loaded: ClassVar[list[str]] = []

    def __call__(self, item):
        Counting.loaded.append(item["name"])
        return super().__call__(item)


@pytest.fixture
def counting():
    Counting.loaded = []
    return [Counting("image"), *steps()[1:]]


def test_what_fits_lies_in_memory(data, counting, caplog):
    with caplog.at_level(logging.INFO):
        found = cached_dataset(data, counting, cache_gib=4 * BYTES / 2**30)
    assert type(found) is CacheDataset
    assert "4 prepared items of 0.0 MiB take 0.00 GiB" in caplog.text
    before = len(Counting.loaded)
    expected = Compose(steps())(data[2])["image"]
    assert torch.equal(found[2]["image"].as_tensor(), expected.as_tensor())
    assert torch.equal(found[2]["image"].as_tensor(), expected.as_tensor())  # the cache itself is not flipped
    assert len(Counting.loaded) == before


def test_what_does_not_fit_lies_on_disk_and_is_used_again(data, counting, tmp_path, caplog):
    bound = 4 * BYTES / 2**30 * 0.999
    with caplog.at_level(logging.INFO):
        found = cached_dataset(data, counting, bound, tmp_path / "cache")
    assert type(found) is DiskCache
    assert "kept on disk in" in caplog.text
    expected = Compose(steps())(data[1])["image"]
    assert torch.equal(found[1]["image"].as_tensor(), expected.as_tensor())
    count = len(Counting.loaded)
    again = cached_dataset(data, counting, bound, tmp_path / "cache", item_bytes=BYTES)
    item = again[1]
    assert len(Counting.loaded) == count  # neither for the estimate nor for the item
    assert torch.equal(item["image"].as_tensor(), expected.as_tensor())
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_metadata_survive_the_disk_and_the_geometry_comes_back(data, tmp_path, recwarn):
    transforms = Compose(steps((0.5, 1.0, 1.0), random=False))
    for _ in range(2):  # written, then read
        found = cached_dataset(data, transforms, 0, tmp_path / "cache")
        (batch,) = DataLoader(torch.utils.data.Subset(found, [0]), batch_size=1)
    assert not [warning for warning in recwarn if "orrupt" in str(warning.message)]
    image = found[0]["image"]
    expected = transforms(data[0])["image"]
    assert image.meta.keys() == expected.meta.keys()
    for key in ("file_affine", "file_size", "original_affine"):
        np.testing.assert_array_equal(image.meta[key], expected.meta[key])
    assert batch["image"].shape[2] > SHAPE[0]
    back = Invertd("pred", transforms, "image", nearest_interp=False)({"image": image, "pred": image.clone()})
    assert back["pred"].shape[1:] == SHAPE


def folders(tmp_path):
    return {path.name for path in (tmp_path / "cache").iterdir()}


def test_other_settings_and_files_never_use_what_is_old(data, tmp_path):
    def prepare(items, transforms):
        return cached_dataset(items, transforms, 0, tmp_path / "cache", item_bytes=BYTES)

    low, high = 0.0, 1.0
    variants = [
        steps(),
        steps((1.0, 1.0, 2.0)),
        steps()[:3],
        [*steps(random=False), Lambdad("image", lambda image: image + low)],
        [*steps(random=False), Lambdad("image", lambda image: image + high)],
        [*steps(random=False), Lambdad("image", lambda image: image - high)],
    ]
    for number, transforms in enumerate(variants, start=1):
        prepare(data, transforms)
        assert len(folders(tmp_path)) == number
    prepare(data, [*steps(random=False), RandFlipd("image", prob=0.2)])  # only what is random differs
    assert len(folders(tmp_path)) == number
    prepare(data[:3], steps())
    assert len(folders(tmp_path)) == number + 1
    first = prepare(data, steps())[0]["image"]
    nib.save(nib.Nifti1Image(np.arange(336).reshape(SHAPE).astype(np.int16), np.eye(4)), data[0]["image"])
    os.utime(data[0]["image"], ns=(1, 1))
    assert not torch.equal(prepare(data, steps())[0]["image"].as_tensor(), first.as_tensor())
    assert len(folders(tmp_path)) == number + 2


@pytest.mark.parametrize("left", [0, 6, 1000, -1])
def test_a_damaged_file_of_the_cache_is_made_again(data, tmp_path, left, caplog):
    expected = cached_dataset(data, steps(), 0, tmp_path / "cache")[0]["image"]
    (file,) = (tmp_path / "cache").rglob("*.pt")
    file.write_bytes(file.read_bytes()[:left])
    found = cached_dataset(data, steps(), 0, tmp_path / "cache", item_bytes=BYTES)[0]["image"]
    assert "is damaged" in caplog.text
    assert torch.equal(found.as_tensor(), expected.as_tensor())
    assert torch.load(file, weights_only=False)["name"] == "case0.nii"


def test_a_share_in_memory(data):
    found = cached_dataset(data, steps(), 2 * BYTES / 2**30, cache_rate=0.5)
    assert type(found) is CacheDataset
    assert (len(found), found.cache_num) == (4, 2)


def test_nowhere_to_lie(data):
    with pytest.raises(ValueError, match=r"4 prepared items .*cache_gib=1e-06 .*name one with cache_dir"):
        cached_dataset(data, steps(), 1e-6)
    with pytest.raises(ValueError, match="cache_dir"):
        cached_dataset(data, steps(), 0)


def test_no_items():
    assert len(cached_dataset([], steps())) == 0


@pytest.mark.parametrize(
    "arguments", [{"cache_gib": -1}, {"cache_rate": 1.1}, {"cache_rate": -0.1}, {"item_bytes": -1}]
)
def test_bad_arguments(data, arguments):
    with pytest.raises(ValueError, match="expected cache_gib >= 0"):
        cached_dataset(data, steps(), **arguments)


def test_a_folder_that_cannot_be_written(data, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="name a writable folder"):
        cached_dataset(data, steps(), 0, tmp_path / "file")
