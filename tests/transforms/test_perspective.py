from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose

from medssm_monai.transforms import RandPerspective, RandPerspectived


def picture(size=(31, 41), channels=3, seed=0):
    return torch.tensor(np.random.default_rng(seed).random((channels, *size)), dtype=torch.float32)


@pytest.mark.parametrize("size", [(1, 9), (9, 1), (1, 1)])
def test_corners_on_a_line_have_no_perspective(size):
    with pytest.raises(ValueError, match="2 x 2 pixels or more"):
        RandPerspective(prob=1.0)(picture(size))


def test_corners_of_the_image_arrive_where_they_were_drawn_to():
    image = picture()
    view = RandPerspective(prob=1.0, distortion=0.5).set_random_state(0)
    view.randomize()
    view.moves = np.array([[2 / 40, 3 / 30], [4 / 40, 0], [0, 5 / 30], [7 / 40, 6 / 30]])  # whole pixels
    seen = view(image, randomize=False)
    places = [(3, 2), (0, 36), (25, 40), (24, 7)]  # row, column of upper left, upper right, lower right, lower left
    corners = [(0, 0), (0, 40), (30, 40), (30, 0)]
    for (row, column), (own_row, own_column) in zip(places, corners, strict=True):
        torch.testing.assert_close(seen[:, row, column], image[:, own_row, own_column], atol=1e-4, rtol=0)


def test_lines_stay_straight():
    """A ramp along a projective map stays the quotient of two linear functions, which an affine map would not give."""
    view = RandPerspective(prob=1.0, distortion=0.6).set_random_state(1)
    ramp = torch.arange(64.0).expand(1, 64, 64)
    seen = view(ramp)[0, 20:44, 20:44].double()
    rows, columns = torch.meshgrid(*[torch.arange(20.0, 44).double()] * 2, indexing="ij")
    ones = torch.ones_like(rows)
    affine = torch.stack([columns, rows, ones], -1).reshape(-1, 3)
    projective = torch.cat([affine, -seen.reshape(-1, 1) * affine[:, :2]], 1)
    errors = []
    for system in (affine, projective):
        solution = torch.linalg.lstsq(system, seen.reshape(-1, 1)).solution
        errors.append(float((system @ solution - seen.reshape(-1, 1)).abs().max()))
    assert errors[1] < 1e-3 < 0.1 < errors[0]


@pytest.mark.parametrize(("prob", "distortion"), [(0.0, 0.5), (1.0, 0.0)])
def test_nothing_to_do_changes_nothing(prob, distortion):
    image = picture()
    torch.testing.assert_close(RandPerspective(prob, distortion)(image), image, atol=1e-6, rtol=0)


def test_keys_are_seen_from_the_same_place_and_the_seed_decides():
    image = MetaTensor(picture(), meta={"filename_or_obj": "a.png"})
    runs = []
    for seed in (0, 0, 1):
        view = Compose([RandPerspectived(["a", "b"], prob=1.0, distortion=0.4)]).set_random_state(seed)
        seen = view({"a": image, "b": image.clone()})
        assert torch.equal(seen["a"], seen["b"]) and seen["a"].shape == image.shape
        assert seen["a"].meta["filename_or_obj"] == "a.png"
        runs.append(seen["a"])
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"distortion must be in \[0, 1\)"):
        RandPerspective(distortion=1.0)
    with pytest.raises(ValueError, match=r"2D image.*\(1, 4, 4, 4\)"):
        RandPerspective(prob=1.0)(torch.rand(1, 4, 4, 4))
