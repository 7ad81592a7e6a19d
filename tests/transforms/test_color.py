from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image

from medssm_monai.transforms import ExtractLuminanced, RecombineColourd, RGBToYCbCr, YCbCrToRGB


def colours(size=(7, 9), seed=0):
    return torch.tensor(np.random.default_rng(seed).random((3, *size)), dtype=torch.float32)


@pytest.mark.parametrize("size", [(7, 9), (3, 4, 5)])
def test_round_trip(size):
    rgb = colours(size)
    torch.testing.assert_close(YCbCrToRGB()(RGBToYCbCr()(rgb)), rgb, rtol=0, atol=1e-6)


def test_equals_pillow_within_its_rounding():
    levels = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(levels).convert("YCbCr"), dtype=float)
    got = RGBToYCbCr()(torch.tensor(levels / 255).permute(2, 0, 1)).permute(1, 2, 0) * 255
    got[..., 1:] += 0.5  # the neutral chroma is 128 in eight bits
    assert np.abs(got.numpy() - expected).max() <= 1


def test_every_8_bit_colour_survives_the_files_rounding():
    rgb = torch.cartesian_prod(*(torch.arange(0, 256, 15),) * 3).T.double() / 255
    back = YCbCrToRGB()(RGBToYCbCr()(rgb))
    assert torch.equal((back * 255).round(), (rgb * 255).round())


def test_luminance_out_and_colour_back_keeps_metadata():
    rgb = MetaTensor(colours(), meta={"filename_or_obj": "pet.png"})
    data = ExtractLuminanced("image_b")({"image_b": rgb, "name": "x"})
    assert data["image_b"].shape == (1, 7, 9) and data["image_b_chroma"].shape == (2, 7, 9)
    assert data["image_b"].meta["filename_or_obj"] == "pet.png"
    luma = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]
    torch.testing.assert_close(data["image_b"][0].as_tensor(), luma.as_tensor())
    data["pred"] = data["image_b"].as_tensor()
    fused = RecombineColourd("pred", "image_b_chroma")(data)["pred"]
    torch.testing.assert_close(torch.as_tensor(fused), rgb.as_tensor(), rtol=0, atol=1e-6)


def test_impossible_colours_are_cut():
    fused = RecombineColourd("pred", "c")({"pred": torch.ones(1, 2, 2), "c": torch.ones(2, 2, 2)})["pred"]
    assert fused.min() >= 0 and fused.max() <= 1
    assert YCbCrToRGB(clip=False)(torch.ones(3, 2, 2)).max() > 1


def test_grey_and_colour_are_told_apart():
    grey = {"image_b": torch.rand(1, 4, 4)}
    with pytest.raises(ValueError, match="grey.*allow_grey"):
        ExtractLuminanced("image_b")(grey)
    assert set(ExtractLuminanced("image_b", allow_grey=True)(grey)) == {"image_b"}
    with pytest.raises(ValueError, match=r"RGB.*\(4, 4, 4\)"):
        ExtractLuminanced("image_b")({"image_b": torch.rand(4, 4, 4)})
    with pytest.raises(KeyError, match="ExtractLuminanced"):
        RecombineColourd("pred", "chroma")({"pred": torch.rand(1, 4, 4)})
    kept = RecombineColourd("pred", "chroma", allow_missing_chroma=True)({"pred": torch.rand(1, 4, 4)})
    assert kept["pred"].shape == (1, 4, 4)
    with pytest.raises(ValueError, match="do not fit"):
        RecombineColourd("pred", "chroma")({"pred": torch.rand(1, 4, 4), "chroma": torch.rand(2, 4, 5)})
