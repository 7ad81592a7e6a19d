"""Predictions averaged over mirror images."""

from __future__ import annotations

from itertools import chain, combinations

import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import SimpleInferer, SlidingWindowInferer

from medssm_monai.engines import FlippedInferer


def places(x: torch.Tensor) -> torch.Tensor:
    """A network that sees where it looks: its output is no mirror image when its input is mirrored."""
    return x * torch.arange(1, 1 + x[0, 0].numel(), dtype=x.dtype).view(x.shape[2:])


@pytest.mark.parametrize("spatial", [(4, 6), (3, 4, 5)])
@pytest.mark.parametrize("flips", [[[-1]], [[0]], [[-1], [-2], [-1, -2]]])
def test_maps_are_mirrored_back_and_averaged(spatial, flips):
    x = torch.randn(2, 1, *spatial, dtype=torch.float64)
    weight = torch.arange(1, 1 + x[0, 0].numel(), dtype=x.dtype).view(spatial)
    mirrored = [weight.flip([axis % len(spatial) for axis in flip]) for flip in flips]
    expected = x * torch.stack([weight, *mirrored]).mean(0)
    torch.testing.assert_close(FlippedInferer(SimpleInferer(), flips)(x, places), expected)


def test_all_mirror_images_make_a_network_equivariant():
    x = torch.randn(1, 2, 6, 8)
    flips = [list(axes) for axes in chain.from_iterable(combinations((-1, -2), n) for n in (1, 2))]
    inferer = FlippedInferer(SlidingWindowInferer((4, 4), overlap=0.5), flips)
    assert not torch.allclose(places(x.flip(3)), places(x).flip(3))
    torch.testing.assert_close(inferer(x.flip(3), places), inferer(x, places).flip(3))


def test_class_logits_are_averaged_as_they_are():
    x = torch.randn(3, 1, 4, 4)
    expected = (places(x).flatten(1) + places(x.flip(3)).flatten(1)) / 2
    given = FlippedInferer(SimpleInferer(), [[-1]])(x, lambda y: places(y).flatten(1))
    torch.testing.assert_close(given, expected)


@pytest.mark.parametrize("flips", [False, None, []])
def test_without_flips_the_inferer_s_own_answer_comes_through(flips):
    x = MetaTensor(torch.randn(1, 1, 4, 4), meta={"name": "a"})
    answer = FlippedInferer(SimpleInferer(), flips)(x, lambda y: y)
    assert answer is x


@pytest.mark.parametrize(
    ("flips", "said"),
    [
        (True, "must be false or a list of lists"),
        ([-1], "must be false or a list of lists"),
        ([[]], "must be false or a list of lists"),
        ([["left"]], "must be false or a list of lists"),
        ("[[-1]]", "must be false or a list of lists"),
        ([[-1], [-1]], "twice"),
        ([[-1, -1]], "twice"),
    ],
)
def test_what_are_no_flips_is_refused(flips, said):
    with pytest.raises(ValueError, match=said):
        FlippedInferer(SimpleInferer(), flips)


def test_an_axis_that_the_images_lack_is_named():
    with pytest.raises(ValueError, match=r"\[2\] names an axis that images with 2 spatial axes lack"):
        FlippedInferer(SimpleInferer(), [[2]])(torch.zeros(1, 1, 4, 4), places)
