"""Planes of volumes, right side up, and classes in their colors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Orientation

from medssm_monai.visualize import class_legend, overlay_classes, plane_image, volume_plane, volume_slice

COLORS = ((230, 159, 0), (86, 180, 233))


def test_the_slice_with_most_foreground() -> None:
    label, pred = np.zeros((2, 2, 8, 8, 5), dtype=bool)
    assert volume_slice(label, pred) == 2
    label[0, :3, :3, 1] = label[1, :3, :3, 4] = True
    assert volume_slice(label) == 1
    pred[1, 0, 0, 4] = True
    assert volume_slice(label, pred) == 4


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS", "ARS", "PLI"])
def test_anterior_is_up_and_the_right_side_left_however_it_is_stored(codes: str) -> None:
    ras = torch.zeros(1, 6, 8, 5)
    ras[0, 5, 7, 2] = 1  # right, anterior
    ras[0, 5, 0, 2] = 2  # right, posterior
    stored = Orientation(codes)(MetaTensor(ras, affine=torch.diag(torch.tensor([2.0, 2, 4, 1]))))
    plane = volume_plane(stored.numpy(), 2, stored.affine.numpy())
    assert plane.shape == (1, 8, 6) and plane[0, 0, 0] == 1 and plane[0, -1, 0] == 2 and np.count_nonzero(plane) == 2
    if codes == "RAS":
        assert np.array_equal(volume_plane(stored.numpy(), 2), plane)


def test_superior_is_up_in_a_sagittal_stack() -> None:
    volume = np.zeros((8, 6, 4))  # axes: anterior, superior, right
    volume[7, 5, 1] = 1
    affine = np.array([[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    plane = volume_plane(volume, 1, affine)
    assert plane.shape == (6, 8) and plane[0, 0] == 1


def test_the_image_behind_the_masks() -> None:
    volume = torch.zeros(4, 6, 8, 10)
    volume[0] = torch.arange(10.0)
    volume[0, :, 0, 9] = 100
    plane = plane_image(volume, 4, count=5)
    assert plane.shape == (1, 8, 6) and plane.max() == 1 and plane.min() == 0 and (plane[0, -1] == 1).all()
    assert (plane_image(volume, 0, count=5) == 0).all()


def test_each_class_has_its_color_and_the_later_lies_on_top() -> None:
    masks = np.zeros((2, 40, 40), dtype=bool)
    masks[0, 5:25, 5:25] = masks[1, 10:20, 10:20] = True
    picture = overlay_classes(np.full((40, 40), 0.5), masks, COLORS, min_size=40, width=1)
    assert (picture[5, 5:25] == COLORS[0]).all() and (picture[10, 10:20] == COLORS[1]).all()
    assert (picture[7, 7] == np.round(0.6 * 128 + 0.4 * np.array(COLORS[0]))).all()
    assert not (picture[15, 15] == picture[7, 7]).all() and (picture[30, 30] == 128).all()
    grown = overlay_classes(np.full((40, 40), 0.5), masks * 0.7, COLORS, min_size=100)
    assert grown.shape == (120, 120, 3)


def test_the_legend_names_what_is_shown() -> None:
    masks = np.zeros((2, 4, 4), dtype=bool)
    assert class_legend(["liver", "tumor"], COLORS, masks) == []
    other = masks.copy()
    other[1, 2, 2] = True
    assert class_legend(["liver", "tumor"], COLORS, masks, other) == [("tumor", COLORS[1])]


def test_masks_that_do_not_fit_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"\(2, 8, 8\).*\(3, 8, 8\)"):
        overlay_classes(np.zeros((8, 8)), np.zeros((3, 8, 8)), COLORS)
    with pytest.raises(ValueError, match=r"\(2, 8, 8\).*\(2, 4, 8\)"):
        overlay_classes(np.zeros((8, 8)), np.zeros((2, 4, 8)), COLORS)
