"""Whoever has loaded an image: its channels come first, rows before columns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import LoadImage

from medssm_monai.transforms import LoadImage2D, ToChannelFirst, ToChannelFirstd

from ..data.builders import picture, save

PICTURE = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
FRONT = PICTURE.transpose(2, 0, 1)
VOLUME = np.arange(5 * 6 * 7, dtype=np.int16).reshape(5, 6, 7)
DICOM = {"original_channel_dim": "no_channel", "row_pixel_spacing": 0.5}


@pytest.mark.parametrize(
    ("image", "meta", "spatial_dims", "expected"),
    [
        (PICTURE[..., 0], None, 2, FRONT[:1]),
        (PICTURE, None, 2, FRONT),
        (FRONT, None, 2, FRONT),
        (PICTURE, {"original_channel_dim": -1}, 2, FRONT),
        (PICTURE, {"original_channel_dim": float("nan")}, 2, FRONT),
        (PICTURE, {"original_channel_dim": "no_channel"}, 2, FRONT),
        (PICTURE[..., 0], {"original_channel_dim": "no_channel"}, 2, FRONT[:1]),
        (np.zeros((2, 2, 9)), {"original_channel_dim": 2}, 2, np.zeros((9, 2, 2))),
        (FRONT[:1].transpose(2, 1, 0), DICOM, 2, FRONT[:1]),
        (VOLUME, DICOM, 3, VOLUME[None]),
        (VOLUME, None, 3, VOLUME[None]),
        (VOLUME[..., None], None, 3, VOLUME[None]),
        (VOLUME[None], {"original_channel_dim": 0}, 3, VOLUME[None]),
    ],
)
def test_axes(image, meta, spatial_dims, expected):
    source = image if meta is None else MetaTensor(torch.as_tensor(image), meta=dict(meta))
    converted = ToChannelFirst(spatial_dims)(source)
    np.testing.assert_array_equal(np.asarray(converted), expected)
    assert str(converted.dtype) == f"torch.{image.dtype}"  # what stands for 1.0 is read from the type later
    if meta is not None:
        assert converted.meta["original_channel_dim"] == 0


def test_what_our_loader_and_monais_give_is_the_same_picture(tmp_path):
    file = save(picture(12, 9), tmp_path / "a.png")
    ours = ToChannelFirst(2)(LoadImage2D(channels=None, scale=False)(file))
    theirs = ToChannelFirst(2)(LoadImage(image_only=True, reverse_indexing=False, converter=lambda image: image)(file))
    np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
    assert ours.shape == (3, 12, 9)


@pytest.mark.parametrize(
    ("image", "meta", "spatial_dims", "said"),
    [
        (np.zeros((7, 8, 2)), DICOM, 2, "2 slices of .*one slice at a time"),
        (np.zeros((7, 8, 9)), None, 2, "neither its first nor its last axis can be channels"),
        (np.zeros((7, 8)), None, 3, "expected 3 spatial axes"),
        (np.zeros(7), None, 2, "expected 2 spatial axes"),
    ],
)
def test_other_axes_are_refused(image, meta, spatial_dims, said):
    source = image if meta is None else MetaTensor(torch.as_tensor(image), meta=dict(meta))
    with pytest.raises(ValueError, match=said):
        ToChannelFirst(spatial_dims)(source)


def test_dictionaries_and_bad_arguments():
    both = ToChannelFirstd(["image", "other"], 2, allow_missing_keys=True)({"image": PICTURE, "name": "x"})
    assert both["image"].shape == (3, 5, 7) and both["name"] == "x"
    with pytest.raises(KeyError):
        ToChannelFirstd("other", 2)({"image": PICTURE})
    with pytest.raises(ValueError, match="2 or 3"):
        ToChannelFirst(4)
