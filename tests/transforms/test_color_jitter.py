from __future__ import annotations

import colorsys

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image, ImageEnhance

from medssm_monai.transforms import RandColourJitter, RandColourJitterd

PICTURE = np.random.default_rng(0).integers(40, 200, (9, 7, 3), dtype=np.uint8)


def jitter(**factors):
    """A transform that applies these factors."""
    made = RandColourJitter(prob=1.0)
    made.randomize()
    made.factors = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0, **factors}
    return made


def apply(made, pixels=PICTURE):
    return made(torch.tensor(pixels / 255.0, dtype=torch.float32).permute(2, 0, 1), randomize=False)


@pytest.mark.parametrize("factor", [0.0, 0.6, 1.4])
@pytest.mark.parametrize(
    ("name", "enhance"),
    [("brightness", ImageEnhance.Brightness), ("contrast", ImageEnhance.Contrast), ("saturation", ImageEnhance.Color)],
)
def test_equals_pillow_within_its_rounding(name, enhance, factor):
    expected = np.asarray(enhance(Image.fromarray(PICTURE)).enhance(factor), dtype=float)
    got = apply(jitter(**{name: factor})).permute(1, 2, 0).numpy() * 255
    assert np.abs(got - expected).max() <= 2


def test_hue_turns_as_colorsys_says():
    got = apply(jitter(hue=0.3))
    red, green, blue = PICTURE[4, 3] / 255
    hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
    expected = colorsys.hsv_to_rgb((hue + 0.3) % 1.0, saturation, value)
    np.testing.assert_allclose(got[:, 4, 3], expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 6, 5), (3, 6, 5), (1, 4, 5, 6)], ids=str)
def test_shape_range_and_meta_stay(shape):
    image = MetaTensor(torch.rand(shape), meta={"filename_or_obj": "a.png"})
    made = RandColourJitterd("image", prob=1.0, brightness=1.0, contrast=1.0, saturation=1.0, hue=0.5)
    for seed in range(5):
        result = made.set_random_state(seed)({"image": image})["image"]
        assert result.shape == shape and result.dtype == image.dtype
        assert 0 <= result.min() <= result.max() <= 1
        assert result.meta["filename_or_obj"] == "a.png"
        again = made.set_random_state(seed)({"image": image})["image"]
        assert torch.equal(result, again) and not torch.equal(result, image)


def test_grey_pictures_in_three_channels_stay_grey():
    grey = np.repeat(PICTURE[..., :1], 3, axis=2)
    result = apply(jitter(saturation=1.4, hue=0.4), grey)
    torch.testing.assert_close(result, apply(jitter(), grey), atol=1e-6, rtol=0)


@pytest.mark.parametrize("wrong", [{"prob": 2}, {"brightness": -0.1}, {"hue": 0.6}], ids=str)
def test_values_outside_their_range_are_refused(wrong):
    with pytest.raises(ValueError, match=r"hue in \[0, 0.5\]"):
        RandColourJitter(**wrong)
