from __future__ import annotations

import pytest
import torch

from medssm_monai.visualize.scan_pictures import peak_token


@pytest.mark.parametrize(
    ("size", "tokens", "pixel", "token"),
    [
        ((16, 16), (4, 4), (0, 0), (0, 0)),
        ((16, 16), (4, 4), (15, 4), (3, 1)),
        ((16, 24), (4, 3), (7, 15), (1, 1)),
        ((10, 10), (4, 4), (9, 2), (3, 0)),
    ],
)
def test_peak_token_is_the_one_whose_part_of_the_image_holds_the_peak(size, tokens, pixel, token):
    heatmap = torch.zeros(1, *size)
    heatmap[0, pixel[0], pixel[1]] = 1.0
    assert peak_token(heatmap, tokens) == token
