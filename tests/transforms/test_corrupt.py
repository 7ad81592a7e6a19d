"""Corruptions do what their strengths say, measured by other means than those that make them."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image
from scipy import ndimage, stats

from medssm_monai.transforms import Corrupt, Corruptd


def picture(channels: int = 1, *size: int, seed: int = 0) -> torch.Tensor:
    """Random values of the middle of the range, so that little is cut."""
    generator = np.random.default_rng(seed)
    return torch.from_numpy(generator.uniform(0.4, 0.6, (channels, *(size or (48, 64)))).astype(np.float32))


@pytest.mark.parametrize("size", [(256, 256), (40, 40, 40)])
@pytest.mark.parametrize("strength", [0.02, 0.05, 0.1])
def test_noise_has_the_stated_standard_deviation(strength, size):
    image = picture(1, *size)
    noise = Corrupt("noise", strength)(image) - image
    assert float(noise.std()) == pytest.approx(strength, rel=0.02)
    assert float(noise.mean()) == pytest.approx(0, abs=0.02 * strength)


@pytest.mark.parametrize("size", [(48, 64), (20, 24, 18)])
@pytest.mark.parametrize("strength", [0.5, 1.0, 2.5])
def test_blur_is_a_gaussian_of_so_many_pixels(strength, size):
    image = picture(2, *size)
    edges = np.arange(-12, 14) - 0.5
    expected = image.numpy()
    for axis in range(
        1, image.ndim
    ):  # the Gaussian's share in each pixel; the outermost pixels go on beyond the border
        expected = ndimage.correlate1d(expected, np.diff(stats.norm.cdf(edges, scale=strength)), axis, mode="nearest")
    np.testing.assert_allclose(Corrupt("blur", strength)(image), expected, atol=2e-4)


def test_a_point_is_spread_by_the_stated_number_of_pixels():
    point = torch.zeros(1, 41, 41)
    point[0, 20, 20] = 1
    found = Corrupt("blur", 3.0)(point)[0].numpy()
    moments = [np.sqrt((found.sum(axis=1 - axis) * (np.arange(41) - 20) ** 2).sum()) for axis in (0, 1)]
    np.testing.assert_allclose(moments, 3.0, rtol=0.01)


def test_blur_leaves_a_constant_image_alone_up_to_its_border():
    np.testing.assert_allclose(Corrupt("blur", 3.0)(torch.full((1, 16, 16), 0.7)), 0.7, atol=1e-4)


@pytest.mark.parametrize("strength", [-1, -0.5, 0.3, 1.0])
def test_brightness_multiplies_and_is_cut(strength):
    image = picture(3)
    expected = np.minimum(image.numpy() * (1 + strength), 1)
    np.testing.assert_allclose(Corrupt("brightness", strength)(image), expected, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_the_file_that_pillow_writes(channels):
    image = torch.from_numpy(ndimage.gaussian_filter(np.random.default_rng(1).random((channels, 40, 56)), (0, 2, 2)))
    image = ((image - image.min()) / (image.max() - image.min())).float()
    lost = []
    for quality in (90, 40, 5):
        bits = np.rint(image.numpy() * 255).astype(np.uint8)
        Image.fromarray(bits[0] if channels == 1 else bits.transpose(1, 2, 0)).save(
            stream := io.BytesIO(), "JPEG", quality=quality
        )
        read = np.asarray(Image.open(stream)) / 255
        found = Corrupt("jpeg", quality)(image)
        np.testing.assert_allclose(found, read[None] if channels == 1 else read.transpose(2, 0, 1), atol=1e-6)
        lost.append(float((found - image).abs().mean()))
    assert 0 < lost[0] < lost[1] < lost[2]


@pytest.mark.parametrize("channels", [2, 4])
def test_jpeg_of_a_pair_is_one_file_for_each_source(channels):
    image = torch.rand(channels, 24, 40, generator=torch.Generator().manual_seed(3))
    found = Corrupt("jpeg", 20)(image)
    alone = torch.cat([Corrupt("jpeg", 20)(source[None]) for source in image])
    assert found.shape == image.shape and torch.equal(found, alone) and not torch.allclose(found, image, atol=0.01)


@pytest.mark.parametrize("size", [(48, 64), (16, 12, 20)])
@pytest.mark.parametrize("count", [1, 3])
def test_missing_patches_are_black_squares_of_a_quarter_of_each_side(count, size):
    image = picture(2, *size)
    found = Corrupt("missing", count)(image)
    gone = (found == 0).numpy()
    assert np.array_equal(gone[0], gone[1]) and torch.equal(found[~torch.from_numpy(gone)], image[found > 0])
    share = np.prod([side // 4 for side in size]) / np.prod(size)
    assert share <= gone[0].mean() <= count * share
    sides = [side // 4 for side in size]
    whole = ndimage.binary_opening(gone[0], np.ones(sides))  # what patches of this size cover
    assert np.array_equal(whole, gone[0])


@pytest.mark.parametrize(("kind", "strength"), [("noise", 0.1), ("missing", 2)])
def test_chance_goes_by_seed_and_image_not_by_order(kind, strength):
    first, second = picture(), picture(seed=1)
    corrupt = Corrupt(kind, strength)
    before = corrupt(first)
    corrupt(second)
    assert torch.equal(corrupt(first), before)
    assert not torch.equal(Corrupt(kind, strength, seed=1)(first), before)
    changed = [corrupt(image) - image for image in (first, second)]
    assert not torch.allclose(*changed)


def test_metadata_stay_and_the_input_is_not_changed():
    image = MetaTensor(picture(), meta={"filename_or_obj": "a.png"})
    before = image.clone()
    for kind, strength in (("noise", 0.5), ("blur", 1), ("brightness", 0.5), ("jpeg", 10), ("missing", 4)):
        found = Corrupt(kind, strength)(image)
        assert found.meta["filename_or_obj"] == "a.png" and found.applied_operations == []
        assert found.shape == image.shape and found.dtype == torch.float32
        assert 0 <= float(found.min()) < float(found.max()) <= 1
        assert not torch.equal(found, before) and torch.equal(image, before), kind


@pytest.mark.parametrize(
    ("kind", "strength", "message"),
    [
        ("fog", 1, "one of noise, blur, brightness, jpeg, missing, got 'fog'"),
        ("noise", 0, "standard deviation above 0"),
        ("noise", "0.1", "got '0.1'"),
        ("noise", float("nan"), "got nan"),
        ("blur", -1, "in pixels; got -1"),
        ("brightness", -1.5, "-1"),
        ("brightness", 0, "not 0"),
        ("jpeg", 0, "quality"),
        ("jpeg", 50.5, "whole number"),
        ("missing", True, "got True"),
        ("missing", 0.5, "number of patches"),
    ],
)
def test_strengths_out_of_range_are_named(kind, strength, message):
    with pytest.raises(ValueError, match=message):
        Corrupt(kind, strength)


def test_images_that_cannot_be_corrupted_are_named():
    with pytest.raises(ValueError, match=r"\[0, 1\].*got -1 to 1"):
        Corrupt("noise", 0.1)(torch.tensor([[[-1.0, 1.0]]]))
    with pytest.raises(ValueError, match=r"\[0, 1\].*nan"):
        Corrupt("noise", 0.1)(torch.tensor([[[0.0, float("nan")]]]))
    with pytest.raises(ValueError, match=r"JPEG takes images .*leave this corruption out"):
        Corrupt("jpeg", 50)(torch.zeros(1, 8, 8, 8))
    with pytest.raises(ValueError, match="seed must be"):
        Corrupt("noise", 0.1, seed=-1)


def test_the_setting_of_an_evaluation():
    image = picture()
    assert Corruptd("image")({"image": image})["image"] is image
    found = Corruptd("image", {"kind": "noise", "strength": 0.2, "seed": 3})({"image": image, "label": 1})
    assert torch.equal(found["image"], Corrupt("noise", 0.2, seed=3)(image)) and found["label"] == 1
    for wrong in ({"kind": "noise"}, {"kind": "noise", "strength": 0.1, "strenght": 1}, "noise"):
        with pytest.raises(ValueError, match="a kind, a strength and perhaps a seed"):
            Corruptd("image", wrong)
    with pytest.raises(KeyError):
        Corruptd("image", {"kind": "noise", "strength": 0.2})({})
