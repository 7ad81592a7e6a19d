"""Large images are reduced to what MONAI's Resize gives, by another way; small ones by its own."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, Resize, Resized

from medssm_monai.transforms import CopyMetad, LargeResize, LargeResized
from medssm_monai.transforms import resize as module

SIZES = [((3, 90, 70), (16, 16)), ((1, 41, 97), (5, 31)), ((1, 40, 36, 44), (8, 9, 10)), ((2, 64, 33), (1, 16))]


def image(shape):
    return MetaTensor(torch.rand(shape, generator=torch.Generator().manual_seed(0)), meta={"name": "x"})


def mode(size):
    return "bilinear" if len(size) == 2 else "trilinear"


@pytest.fixture
def large(monkeypatch):
    monkeypatch.setattr(module, "LARGE", 100)


@pytest.mark.parametrize(("shape", "size"), SIZES)
def test_a_large_image_is_what_monai_makes_of_it(large, shape, size, monkeypatch):
    taken = []
    monkeypatch.setattr(module, "reduction", lambda *sides, make=module.reduction: taken.append(sides) or make(*sides))
    options = {"spatial_size": size, "mode": mode(size), "anti_aliasing": True}
    expected, found = Resize(**options)(image(shape)), LargeResize(**options)(image(shape))
    assert sorted(taken) == sorted(zip(shape[1:], size, strict=True))
    torch.testing.assert_close(found.as_tensor(), expected.as_tensor(), rtol=0, atol=2e-6)
    torch.testing.assert_close(found.affine, expected.affine)
    assert found.dtype == expected.dtype
    assert found.meta["name"] == "x"


@pytest.mark.parametrize(
    "options",
    [
        {"anti_aliasing": False, "mode": "bilinear"},
        {"anti_aliasing": True, "mode": "nearest"},
        {"anti_aliasing": True, "mode": "bilinear", "align_corners": True},
        {"anti_aliasing": True, "mode": "bilinear", "spatial_size": (90, 16)},
        {"anti_aliasing": True, "mode": "bilinear", "spatial_size": (60, 40)},
        {"anti_aliasing": True, "mode": "bilinear", "anti_aliasing_sigma": 2.0},
    ],
)
def test_everything_else_goes_monais_way_to_the_bit(large, options):
    options = {"spatial_size": (16, 16), **options}
    assert torch.equal(LargeResize(**options)(image((3, 90, 70))), Resize(**options)(image((3, 90, 70))))


def test_below_the_limit_results_are_those_of_monai_to_the_bit():
    options = {"spatial_size": (64, 48), "mode": "bilinear", "anti_aliasing": True}
    assert torch.equal(LargeResize(**options)(image((3, 700, 500))), Resize(**options)(image((3, 700, 500))))


def test_the_dictionary_version_treats_each_key_as_told_and_can_be_inverted(large):
    options = {"keys": ["image", "label"], "spatial_size": (16, 16), "mode": ["bilinear", "nearest-exact"]}
    options["anti_aliasing"] = [True, False]
    item = {"image": image((3, 90, 70)), "label": (image((1, 90, 70)) > 0.5).float()}
    expected, found = Resized(**options)(item), LargeResized(**options)(item)
    torch.testing.assert_close(found["image"].as_tensor(), expected["image"].as_tensor(), rtol=0, atol=2e-6)
    assert torch.equal(found["label"], expected["label"])
    transform = Compose([LargeResized(**options)])
    found = transform(item)
    found["pred"] = found["image"].as_tensor()[:1]
    found = Invertd("pred", transform, "image", nearest_interp=False)(CopyMetad("pred")(found))
    assert found["pred"].shape == (1, 90, 70)
    back = Resize((90, 70), mode="bilinear")(expected["image"][:1].as_tensor())
    torch.testing.assert_close(torch.as_tensor(found["pred"]), torch.as_tensor(back), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("old", "new"), [(6000, 64), (5000, 7), (2048, 1024)])
def test_a_constant_inside_stays_constant(old, new):
    weights = module.reduction(old, new)
    assert weights.shape == (new, old)
    middle = weights.sum(dim=1)[new // 2]
    torch.testing.assert_close(middle, torch.tensor(1.0), rtol=0, atol=1e-3)
