"""LoadImage2Dd inside a MONAI pipeline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import DataLoader, Dataset, MetaTensor, decollate_batch
from monai.transforms import Compose, Invertd, RandFlipd, Resized

from medssm_monai.data import ImageReadError
from medssm_monai.transforms import CopyMetad, LoadImage2D, LoadImage2DD, LoadImage2Dd, LoadImage2DDict

from ..data.builders import picture, save, square_mask, truncate

SIZES = [(288, 384), (37, 53), (53, 37), (64, 64)]


@pytest.fixture
def pair(tmp_path):
    def make(height: int, width: int, name: str = "a") -> dict[str, str]:
        image = save(picture(height, width), tmp_path / "images" / f"{name}.png")
        label = save(square_mask(height, width), tmp_path / "masks" / f"{name}.png")
        return {"image": str(image), "label": str(label), "name": name}

    return make


def load() -> Compose:
    return Compose([LoadImage2Dd("image"), LoadImage2Dd("label", kind="mask")])


def test_metatensors_with_their_file_and_size(pair):
    item = pair(37, 53)
    loaded = load()(item)
    assert isinstance(loaded["image"], MetaTensor)
    assert loaded["image"].shape == (3, 37, 53)
    assert loaded["image"].dtype == loaded["label"].dtype == torch.float32
    assert loaded["image"].meta["filename_or_obj"] == item["image"]
    assert list(loaded["image"].meta["file_size"]) == [37, 53]
    assert loaded["image"].affine.shape == (4, 4)
    np.testing.assert_array_equal(loaded["label"][0].numpy(), square_mask(37, 53) > 0)
    assert item["image"].endswith("a.png")  # the datalist itself is not changed


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("size", [(64, 96), (96, 96)])
@pytest.mark.parametrize("plain", [False, True])
def test_resize_and_back_gives_the_original_pixels(tmp_path, height, width, size, plain):
    mask = np.zeros((height, width), np.uint8)
    mask[height // 8 : height // 2, width // 3 : width // 3 * 2] = 255
    item = {"image": save(picture(height, width), tmp_path / "a.png"), "label": save(mask, tmp_path / "m.png")}
    transform = Compose([load(), Resized(("image", "label"), size, mode=("bilinear", "nearest-exact"))])
    data = transform(item)
    assert data["image"].shape[1:] == size
    data["pred"] = data["label"].as_tensor() if plain else MetaTensor(data["label"].as_tensor())
    invert = Invertd("pred", transform=transform, orig_keys="image", nearest_interp=False)
    restored = Compose([CopyMetad("pred"), invert])(data)["pred"]
    assert restored.shape == (1, height, width)
    found, truth = restored[0].numpy() > 0.5, mask > 0
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.95
    assert restored.meta["filename_or_obj"] == str(item["image"])


def test_files_of_different_size_go_through_a_batch_and_back(pair):
    transform = Compose([load(), Resized(("image", "label"), (32, 32)), RandFlipd(("image", "label"), prob=1.0)])
    items = [pair(height, width, f"n{i}") for i, (height, width) in enumerate(SIZES)]
    batch = next(iter(DataLoader(Dataset(items, transform), batch_size=4)))
    assert batch["image"].shape == (4, 3, 32, 32)
    batch["pred"] = batch["image"][:, :1] * 1.0
    invert = Invertd("pred", transform=transform, orig_keys="image")
    restored = [invert(item) for item in decollate_batch(batch)]
    assert [tuple(item["pred"].shape) for item in restored] == [(1, *size) for size in SIZES]
    assert [list(item["image"].meta["file_size"]) for item in restored] == [list(size) for size in SIZES]


def test_a_damaged_file_is_not_handed_to_other_readers(pair):
    item = pair(64, 64)
    truncate(Path(item["image"]))
    with pytest.raises(ImageReadError, match=r"a.png: cannot be decoded"):
        LoadImage2Dd("image")(item)


def test_copy_meta_needs_a_reference_with_metadata_and_keeps_what_is_there(pair):
    with pytest.raises(TypeError, match="'image' is a Tensor without metadata"):
        CopyMetad("pred")({"image": torch.zeros(3, 4, 4), "pred": torch.zeros(1, 4, 4)})
    loaded = load()(pair(8, 8))
    assert CopyMetad("label")(loaded)["label"].meta["filename_or_obj"] == loaded["label"].meta["filename_or_obj"]


def test_missing_keys(pair):
    item = {"image": pair(8, 8)["image"]}
    with pytest.raises(KeyError, match="label"):
        LoadImage2Dd(("image", "label"))(item)
    assert "label" not in LoadImage2Dd(("image", "label"), allow_missing_keys=True)(item)


def test_array_version_aliases_and_config(pair):
    assert LoadImage2DD is LoadImage2DDict is LoadImage2Dd
    assert LoadImage2D(channels=1)(pair(8, 9)["image"]).shape == (1, 8, 9)
    target = "medssm_monai.transforms.LoadImage2Dd"
    parsed = ConfigParser({"t": {"_target_": target, "keys": "image", "channels": 1}}).get_parsed_content("t")
    assert parsed(pair(8, 9))["image"].shape == (1, 8, 9)
