"""The step of the preprocessing that notes which images are unlike the training images."""

from __future__ import annotations

import logging
import pickle

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image

from medssm_monai.handlers import TrainingDomain
from medssm_monai.transforms import FlagUnlikeTrainingd, LoadImage2D, LoadImage2Dd, LoadImage3Dd


def pixels(seed, size=(32, 32), mean=90):
    return np.random.default_rng(seed).normal(mean, 20, size).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def domain():
    return TrainingDomain([{"image": pixels(seed)} for seed in range(20)], "toys")()


@pytest.fixture(scope="module")
def pair_domain():
    items = [{"image_a": pixels(seed), "image_b": pixels(seed, mean=170)} for seed in range(20)]
    return TrainingDomain(items, "toys")()


def flagged(domain, source, keys=("image",), **more):
    load = LoadImage2Dd(list(keys), channels=None, scale=False)
    return FlagUnlikeTrainingd(list(keys), domain, **more)(load(dict(zip(keys, source, strict=True))))


CASES = [
    (pixels(50), ""),
    (pixels(50, mean=200), "intensities (training images: another histogram)"),
    (pixels(50, size=(32, 65)), "size (training images: 32 x 32)"),
    (np.stack([pixels(50, mean=mean) for mean in (140, 80, 60)], -1), "color (training images: gray)"),
    (np.repeat(pixels(50)[..., None], 3, -1), ""),
]


@pytest.mark.parametrize(("source", "flag"), CASES, ids=["like", "bright", "wide", "color", "gray saved as color"])
def test_an_image_is_noted_and_not_changed(domain, source, flag):
    load = LoadImage2D(channels=None, scale=False)
    before = load(source)
    item = flagged(domain, [source])
    assert item["unlike_training"] == flag
    assert torch.equal(item["image"], before)
    assert item["image"].meta["full_range"] == before.meta["full_range"]


def test_weights_without_a_domain_say_so():
    assert flagged(None, [pixels(0)])["unlike_training"] == "not recorded"


def test_of_a_pair_each_source_is_compared_with_its_own(pair_domain):
    keys = ("image_a", "image_b")
    fine, swapped = (pixels(50), pixels(51, mean=170)), (pixels(51, mean=170), pixels(50))
    assert flagged(pair_domain, fine, keys)["unlike_training"] == ""
    assert flagged(pair_domain, swapped, keys)["unlike_training"] == (
        "image_a: intensities (training images: another histogram); "
        "image_b: intensities (training images: another histogram)"
    )


def test_a_domain_of_other_images_is_refused(domain, pair_domain):
    with pytest.raises(ValueError, match="describes image, not image_a, image_b; take weights of this bundle"):
        FlagUnlikeTrainingd(["image_a", "image_b"], domain)
    with pytest.raises(ValueError, match="describes image_a, image_b, not image"):
        FlagUnlikeTrainingd("image", pair_domain)


def test_volumes_are_compared_as_pictures_are():
    volumes = [np.random.default_rng(seed).integers(0, 128, (9, 10, 11), dtype=np.uint8) for seed in range(6)]
    found = TrainingDomain([{"image": volume} for volume in volumes[:5]], spatial_dims=3)()
    load, flag = LoadImage3Dd("image", channels=None, scale=False), FlagUnlikeTrainingd("image", found)
    assert flag(load({"image": volumes[5]}))["unlike_training"] == ""
    assert flag(load({"image": volumes[5] + 127}))["unlike_training"].startswith("intensities")
    assert flag(load({"image": np.tile(volumes[5], (1, 1, 3))}))["unlike_training"] == (
        "size (training images: 9 x 10 x 11)"
    )


def test_sixteen_bits_are_scaled_as_the_preprocessing_does_and_warned_of_once(tmp_path, caplog):
    values = (pixels(1).astype(np.uint16) * 16, pixels(2).astype(np.uint16) * 16)  # 12 bits
    for number, value in enumerate(values):
        Image.fromarray(value).save(tmp_path / f"{number}.png")
    items = [{"image": str(tmp_path / "0.png")}]
    found = TrainingDomain(items, intensity_range=4095)()
    assert flagged(found, [str(tmp_path / "1.png")], intensity_range=4095)["unlike_training"] == ""
    with caplog.at_level(logging.WARNING):
        assert flagged(found, [str(tmp_path / "1.png")])["unlike_training"].startswith("intensities")  # nearly black
    assert "16-bit image" not in caplog.text  # ToUnitRanged, which comes next, says it
    step = pickle.loads(pickle.dumps(FlagUnlikeTrainingd("image", found)))  # as to a worker of a loader
    step(LoadImage2Dd("image", channels=None, scale=False)({"image": str(tmp_path / "1.png")}))
    assert "16-bit image" not in caplog.text


def test_bad_values_are_named(domain):
    with pytest.raises(ValueError, match=r"b\.png: NaN"):
        FlagUnlikeTrainingd("image", domain)(
            {"image": MetaTensor(torch.full((1, 4, 4), torch.nan), meta={"filename_or_obj": "b.png"})}
        )
