"""Previews and overlays."""

from __future__ import annotations

import numpy as np
import pytest

from medssm_monai.apps.viewer.pictures import SHOWN, map_over, mask_over, panel, shown, shown_map, shown_mask
from medssm_monai.visualize.overlay import PREDICTION_COLOR


@pytest.mark.parametrize(
    ("size", "expected"), [((4000, 2000), (SHOWN, SHOWN // 2)), ((28, 14), (392, 196)), ((500, 400), (500, 400))]
)
def test_previews_have_a_size_that_a_browser_shows(size, expected):
    assert shown(np.zeros((*size, 3), np.uint8)).shape == (*expected, 3)
    assert shown_map(np.zeros(size, np.float32)).shape == expected
    assert shown_mask(np.zeros(size, bool)).shape == expected


def test_small_images_keep_their_pixels():
    values = np.random.default_rng(0).random((10, 12)).astype(np.float32)
    large = shown_map(values)
    np.testing.assert_array_equal(large[::32, ::32], values)


def test_large_maps_keep_their_mean():
    values = np.random.default_rng(0).random((2048, 2048)).astype(np.float32)
    assert shown_map(values).mean() == pytest.approx(values.mean(), abs=1e-5)


def test_a_mask_has_its_color_by_opacity_and_an_outline_always():
    picture = np.full((40, 40, 3), 100, np.uint8)
    mask = np.zeros((40, 40), bool)
    mask[10:30, 10:30] = True
    for opacity in (0.0, 0.5, 1.0):
        result = mask_over(picture, mask, opacity)
        expected = np.round(100 * (1 - opacity) + np.array(PREDICTION_COLOR) * opacity)
        assert np.abs(result[20, 20].astype(int) - expected).max() <= 1
        np.testing.assert_array_equal(result[10, 15], PREDICTION_COLOR)
        np.testing.assert_array_equal(result[~mask], picture[~mask])
    assert (picture == 100).all()


def test_a_map_is_the_image_at_opacity_zero_and_its_colors_at_one():
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    values = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    np.testing.assert_array_equal(map_over(picture, values, 0.0), picture)
    colors = map_over(picture, values, 1.0)
    assert tuple(colors[0, 0]) == (68, 1, 84)  # ends of viridis
    assert tuple(colors[-1, -1]) == (253, 231, 36) or tuple(colors[-1, -1]) == (253, 231, 37)


def test_a_panel_holds_pictures_of_any_size():
    made = panel([np.zeros((30, 60, 3), np.uint8), np.full((90, 45, 3), 255, np.uint8)], ["a", "b"], "two")
    assert made.shape[0] > 512
    assert made.shape[1] == 1024 + 4 + 256
