from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from medssm_monai.visualize import contact_sheet, overlay_contours, save_png, titled_panel, to_rgb
from medssm_monai.visualize.overlay import LABEL_COLOR, PREDICTION_COLOR


def color_mask(picture: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    return (picture == np.array(color)).all(axis=-1)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_to_rgb_keeps_values_in_range(channels: int) -> None:
    image = torch.rand(channels, 5, 7)
    picture = to_rgb(image)
    assert picture.shape == (5, 7, 3) and picture.dtype == np.uint8
    for channel in range(3):
        source = image[channel if channels == 3 else 0].numpy()
        assert np.abs(picture[..., channel] / 255.0 - source).max() <= 0.5 / 255 + 1e-6


def test_to_rgb_stretches_other_ranges_and_survives_nan() -> None:
    picture = to_rgb(np.array([[-2.0, 0.0], [2.0, np.nan]]))
    assert picture[..., 0].tolist() == [[0, 128], [255, 128]]
    assert (to_rgb(np.full((2, 2), 7.0)) == 0).all()
    with pytest.raises(ValueError, match="H, W"):
        to_rgb(np.zeros((2, 2, 2, 2)))


def test_to_rgb_at_the_size_of_the_masks() -> None:
    picture = to_rgb(np.full((1, 4, 6), 0.2), size=(8, 9))
    assert picture.shape == (8, 9, 3) and (picture == 51).all()


def test_outlines_lie_on_the_edge_of_each_mask() -> None:
    label, pred = np.zeros((1, 40, 40)), np.zeros((1, 40, 40))
    label[0, 5:15, 5:15] = 1
    pred[0, 22:35, 20:35] = 0.8
    picture = overlay_contours(torch.full((3, 40, 40), 0.5), label, pred, min_size=40, width=1)
    edge = np.zeros((40, 40), dtype=bool)
    edge[5:15, 5:15] = True
    edge[6:14, 6:14] = False
    assert np.array_equal(color_mask(picture, LABEL_COLOR), edge)
    assert color_mask(picture, PREDICTION_COLOR).sum() == 2 * 13 + 2 * 13
    assert (picture[edge == 0][:5] == 128).all()


def test_equal_masks_are_white() -> None:
    mask = np.zeros((20, 20))
    mask[4:9, 4:9] = 1
    picture = overlay_contours(np.full((20, 20), 0.2), mask, mask, min_size=20, width=1)
    assert color_mask(picture, (255, 255, 255)).sum() == 16
    assert not color_mask(picture, LABEL_COLOR).any() and not color_mask(picture, PREDICTION_COLOR).any()


def test_small_images_grow_and_empty_masks_draw_nothing() -> None:
    image = np.full((3, 30, 50), 0.5)
    picture = overlay_contours(image, np.zeros((30, 50)), None, min_size=120)
    assert picture.shape == (90, 150, 3)
    assert (picture == 128).all()


def test_mask_of_another_size_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"label must have the image's size \(8, 8\)"):
        overlay_contours(np.zeros((8, 8)), np.zeros((4, 4)))


def test_panel_and_sheet() -> None:
    picture = np.full((60, 80, 3), 200, dtype=np.uint8)
    panel = titled_panel([picture, picture], "a very long file name that cannot fit into so narrow a panel " * 3)
    assert panel.shape[1] == 80 * 2 + 4 and panel.shape[0] > 60
    assert (panel[-60:, :80] == 200).all()
    captioned = titled_panel([picture, picture], "", legend=False, captions=["MRI", "CT"])
    assert captioned.shape[0] == 60 + 20 and (captioned[:20, :84] > 128).any() and (captioned[:20, 84:] > 128).any()
    with pytest.raises(ValueError, match="2 pictures need as many captions, got 1"):
        titled_panel([picture, picture], "title", captions=["MRI"])
    named = titled_panel([picture], "", legend=[("liver", (230, 159, 0)), ("tumor", (0, 114, 178))])
    lines = named.shape[0] - 60 - 2
    assert lines == 2 * 18  # too narrow for both on one line
    for color in ((230, 159, 0), (0, 114, 178)):
        assert color_mask(named, color).sum() == 10 * 10
    assert titled_panel([picture], "", legend=[]).shape[0] == 62
    sheet = contact_sheet([picture, picture, picture], columns=2)
    assert sheet.shape == (2 * 68 + 8, 2 * 88 + 8, 3)
    assert (sheet == 200).all(axis=-1).sum() == 3 * 60 * 80
    for pictures, columns in (([], 2), ([picture], 0)):
        with pytest.raises(ValueError, match="sheet"):
            contact_sheet(pictures, columns)


def test_saved_picture_reads_back(tmp_path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (9, 11, 3)).astype(np.uint8)
    save_png(picture, tmp_path / "a.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), picture)


@pytest.mark.realdata
def test_outlines_on_a_real_frame(real_data) -> None:
    masks = sorted((real_data / "polyp_cvc_clinicdb").rglob("*"))
    pairs = [path for path in masks if path.suffix.lower() in {".png", ".tif"} and "mask" in path.parent.name.lower()]
    if not pairs:
        pytest.skip("no mask folder in polyp_cvc_clinicdb")
    mask = np.asarray(Image.open(pairs[0]).convert("L")) > 127
    picture = overlay_contours(np.full(mask.shape, 0.4), mask, None, min_size=1, width=1)
    outline = color_mask(picture, LABEL_COLOR)
    assert 0 < outline.sum() < mask.sum()
    assert not (outline & ~mask).any()
