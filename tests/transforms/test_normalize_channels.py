"""Intensities of channels, and what is not empty."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import CropForegroundd

from medssm_monai.transforms import NormalizeChannels, NormalizeChannelsd, not_empty

CT = {"kind": "ct", "low": -100.0, "high": 300.0, "mean": 50.0, "std": 40.0}
ZSCORE = {"kind": "zscore"}


def image() -> MetaTensor:
    values = np.random.default_rng(0).normal(100, 200, (2, 5, 6, 7)).astype(np.float32)
    values[1, :2] = 0
    return MetaTensor(torch.from_numpy(values), affine=torch.diag(torch.tensor([1.0, 2, 3, 1])))


def test_each_channel_by_its_rule():
    source = image()
    before = source.clone()
    found = NormalizeChannelsd("image", [CT, ZSCORE])({"image": source})["image"]
    values = before.numpy()
    np.testing.assert_allclose(found.numpy()[0], (np.clip(values[0], -100, 300) - 50) / 40, rtol=1e-5, atol=1e-6)
    there = values[1][values[1] != 0]
    expected = np.where(values[1] != 0, (values[1] - there.mean()) / there.std(), 0)
    np.testing.assert_allclose(found.numpy()[1], expected, rtol=1e-4, atol=1e-5)
    assert not found.numpy()[1, :2].any()
    assert torch.equal(source.as_tensor(), before.as_tensor())  # the image itself is not changed
    assert isinstance(found, MetaTensor)
    assert torch.equal(found.affine, source.affine)


def test_integers_become_float32():
    found = NormalizeChannels([ZSCORE])(torch.tensor([[0, 1, 3, 1, 3]], dtype=torch.int16))
    assert found.dtype == torch.float32
    assert found.tolist() == [[0, -1, 1, -1, 1]]


@pytest.mark.parametrize("value", [0.0, 0.1, -1024.0, 1e30])
def test_a_constant_channel_becomes_zero(value):
    found = NormalizeChannels([ZSCORE, {**CT, "low": 50, "high": 50, "std": 0}])(torch.full((2, 9, 9, 9), value))
    assert not found.any()


def test_another_number_of_channels_is_named():
    source = image()
    source.meta["filename_or_obj"] = "case.nii.gz"
    with pytest.raises(ValueError, match=r"case\.nii\.gz: 2 channel\(s\), but intensity describes 1"):
        NormalizeChannels([ZSCORE])(source)


@pytest.mark.parametrize(
    "bad", [[], ZSCORE, "zscore", [{"kind": "minmax"}], [{**CT, "std": float("nan")}], [{**CT, "low": 400}]]
)
def test_bad_descriptions(bad):
    with pytest.raises(ValueError, match="intensity"):
        NormalizeChannels(bad)


def test_not_empty_crops_to_what_is_there():
    values = torch.zeros(2, 6, 6, 6)
    values[0, 2:4, 1:5, 3] = -3
    values[1, 2, 1, 4] = 5
    assert not_empty(values).sum() == 9
    assert CropForegroundd("image", "image", select_fn=not_empty)({"image": values})["image"].shape == (2, 2, 4, 2)
    assert CropForegroundd("image", "image", select_fn=not_empty)({"image": values * 0})["image"].shape == values.shape
