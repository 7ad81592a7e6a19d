"""A pair that comes as one stacked tensor."""

from __future__ import annotations

import pytest
import torch

from medssm_monai.transforms import SplitPaird

KEYS = ["image_a", "image_b"]


@pytest.mark.parametrize("channels", [1, [1, 3], [3, 1]])
def test_channels_go_to_their_sources(channels):
    first, second = (channels, channels) if channels == 1 else channels
    stacked = torch.arange(first + second)[:, None, None].expand(-1, 4, 5)
    result = SplitPaird(KEYS, channels)({"image": stacked, "name": "x"})
    assert result.keys() == {"image_a", "image_b", "name"}
    assert result["image_a"][:, 0, 0].tolist() == list(range(first))
    assert result["image_b"][:, 0, 0].tolist() == list(range(first, first + second))


def test_two_files_are_left_alone():
    item = {"image_a": 1, "image_b": 2}
    assert SplitPaird(KEYS)(item) == item
    assert SplitPaird(KEYS)({**item, "image": 3}) == {**item, "image": 3}


def test_other_channels_and_keys_are_named():
    with pytest.raises(ValueError, match="has 3 channels, expected 1 of source A and 1 of source B"):
        SplitPaird(KEYS)({"image": torch.zeros(3, 4, 4)})
    with pytest.raises(ValueError, match="keys of source A and source B"):
        SplitPaird("image")
