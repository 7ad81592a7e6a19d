from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from medssm_monai.visualize import overlay_heatmap, save_explanations
from medssm_monai.visualize.explanations import WEAK_COLOR
from medssm_monai.visualize.heatmap import MARK_COLOR

VIOLET, YELLOW = (68, 1, 84), (253, 231, 37)  # published ends of viridis


def count(picture: np.ndarray, color: tuple[int, int, int]) -> int:
    return int((picture == np.array(color)).all(-1).sum())


def test_heat_map_runs_from_violet_to_yellow_over_the_image():
    heat = np.zeros((6, 8))
    heat[2, 3] = 5.0
    opaque = overlay_heatmap(np.full((6, 8), 0.5), heat, alpha=1.0, min_size=1)
    assert opaque.shape == (6, 8, 3)
    assert tuple(opaque[2, 3]) == YELLOW and count(opaque, VIOLET) == 47
    half = overlay_heatmap(np.full((3, 6, 8), 0.5), torch.as_tensor(heat)[None], alpha=0.5, min_size=1)
    expected = (128 + np.array(YELLOW)) / 2
    assert np.abs(half[2, 3] - expected).max() <= 1
    gray = overlay_heatmap(np.full((6, 8), 0.5), heat, alpha=0.0, min_size=1)
    assert (gray == 128).all()
    assert count(overlay_heatmap(np.zeros((6, 8)), heat, peak=500.0, alpha=1.0, min_size=1), YELLOW) == 0
    assert count(overlay_heatmap(np.zeros((6, 8)), np.zeros((6, 8)), alpha=1.0, min_size=1), VIOLET) == 48


def test_coarse_map_fills_its_part_and_the_mark_frames_it():
    heat = np.array([[0.0, 1.0], [0.0, 0.0]])
    picture = overlay_heatmap(np.zeros((20, 30)), heat, alpha=1.0, min_size=60)
    assert picture.shape == (40, 60, 3)
    assert (picture[:20, 30:] == YELLOW).all() and count(picture, YELLOW) == 20 * 30
    marked = overlay_heatmap(np.zeros((20, 30)), heat, alpha=1.0, min_size=60, mark=(1, 0))
    frame = (marked == np.array(MARK_COLOR)).all(-1)
    assert frame.sum() == 20 * 30 - 16 * 26 and not frame[:20].any() and not frame[:, 30:].any()


@pytest.mark.parametrize(
    "heat", [np.full((4, 4), -1.0), np.full((4, 4), np.nan), np.zeros((2, 4, 4)), np.zeros((0, 4))]
)
def test_bad_heat_maps_are_named(heat):
    with pytest.raises(ValueError, match="finite values >= 0"):
        overlay_heatmap(np.zeros((4, 4)), heat)


def explained(folder, **options):
    torch.manual_seed(0)
    images, maps = torch.rand(7, 3, 24, 24), torch.rand(7, 1, 24, 24)
    maps[4] *= 0.05
    labels, predictions = torch.tensor([[0], [1], [1], [0], [1], [2], [1]]), [0, 1, 0, 0, 1, 2, 1]
    arguments = {"class_names": ["benign", "malignant", "normal"], "names": [f"case {i}" for i in range(7)]}
    return maps, save_explanations(folder, images, maps, labels, predictions, **arguments, **options)


def test_overlays_sheets_and_flags(tmp_path):
    maps, cases = explained(tmp_path / "cam")
    assert [c.label for c in cases] == [0, 1, 1, 0, 1, 2, 1] and [c.predicted for c in cases][2] == 0
    assert [c.weak for c in cases] == [False] * 4 + [True] + [False] * 2
    assert [c.peak for c in cases] == pytest.approx(maps.flatten(1).amax(1).tolist())
    written = sorted(p.name for p in (tmp_path / "cam").iterdir())
    assert written == [f"overlay_{i:04d}.png" for i in range(7)] + [f"sheet_class_{k}.png" for k in range(3)]
    pictures = [np.asarray(Image.open(c.overlay)).astype(float) for c in cases]
    assert all(p.shape == (336, 336, 3) for p in pictures)
    sheets = [np.asarray(Image.open(tmp_path / "cam" / f"sheet_class_{k}.png")) for k in range(3)]
    frames = [count(s, WEAK_COLOR) for s in sheets]
    assert frames[0] == frames[2] == 0 and frames[1] > 4 * 300
    assert sheets[1].shape[0] > sheets[0].shape[0] and sheets[0].shape[1] > sheets[2].shape[1]


def test_weak_map_is_shown_as_weak(tmp_path):
    """Opaque colors of the weak case must stay below yellow although its own peak is the largest value it has."""
    _, cases = explained(tmp_path)
    yellowness = [(np.asarray(Image.open(c.overlay))[..., 1]).astype(float).max() for c in cases]
    assert yellowness[4] < min(y for i, y in enumerate(yellowness) if i != 4)


def test_sheet_takes_the_first_images_of_each_class(tmp_path):
    explained(tmp_path / "all")
    explained(tmp_path / "one", per_class=1)
    all_of, one_of = (np.asarray(Image.open(tmp_path / d / "sheet_class_1.png")) for d in ("all", "one"))
    assert one_of.shape[1] < all_of.shape[1]
    assert np.array_equal(one_of[8:-8, 8:-8], all_of[8 : one_of.shape[0] - 8, 8 : one_of.shape[1] - 8])


@pytest.mark.parametrize("short", ["maps", "labels", "predictions", "names"])
def test_unequal_lengths_are_named(short, tmp_path):
    arguments = {"maps": torch.rand(2, 1, 4, 4), "labels": [0, 1], "predictions": [0, 1], "names": ["a", "b"]}
    arguments[short] = arguments[short][:1]
    with pytest.raises(ValueError, match="one entry per image"):
        save_explanations(tmp_path, torch.rand(2, 3, 4, 4), **arguments)
