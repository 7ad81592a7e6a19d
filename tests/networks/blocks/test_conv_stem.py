from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import correlate

from medssm_monai.networks.blocks import ConvStem, PatchEmbed


@pytest.mark.parametrize(
    ("arguments", "input_shape", "output_shape"),
    [
        ((3, 8, 2), (2, 3, 6, 10), (2, 3, 5, 8)),
        ((1, 12, 4), (1, 1, 28, 28), (1, 7, 7, 12)),
        ((3, 16, 8), (2, 3, 16, 40), (2, 2, 5, 16)),
        ((3, 192, 16), (1, 3, 112, 112), (1, 7, 7, 192)),
        ((1, 8, 4, 3), (2, 1, 8, 12, 16), (2, 2, 3, 4, 8)),
    ],
    ids=str,
)
def test_shape_is_that_of_a_patch_embedding(arguments, input_shape, output_shape):
    image = torch.rand(input_shape)
    assert ConvStem(*arguments).eval()(image).shape == output_shape
    assert PatchEmbed(*arguments)(image).shape == output_shape


def expected(stem: ConvStem, image: np.ndarray) -> np.ndarray:
    """By SciPy's correlation, one kernel at a time, in float64."""

    def number(tensor: torch.Tensor) -> np.ndarray:
        return tensor.detach().double().numpy()

    maps, dims = image, image.ndim - 1
    column = (-1, *[1] * dims)
    for layer in stem.convs:
        conv, norm = layer.conv, layer.adn.N
        padded = np.pad(maps, [(0, 0)] + [(1, 1)] * dims)
        whole = np.stack([correlate(padded, kernel, "valid")[0] for kernel in number(conv.weight)])
        maps = whole[(slice(None), *[slice(None, None, 2)] * dims)]
        scale = number(norm.weight) / np.sqrt(number(norm.running_var) + norm.eps)
        maps = (maps - number(norm.running_mean).reshape(column)) * scale.reshape(column)
        maps = np.maximum(maps + number(norm.bias).reshape(column), 0)
    mixed = np.tensordot(number(stem.proj.weight).reshape(len(stem.proj.weight), -1), maps, 1)
    tokens = np.moveaxis(mixed + number(stem.proj.bias).reshape(column), 0, -1)
    centered = tokens - tokens.mean(-1, keepdims=True)
    tokens = centered / np.sqrt((centered**2).mean(-1, keepdims=True) + stem.norm.eps)
    return tokens * number(stem.norm.weight) + number(stem.norm.bias)


@pytest.mark.parametrize(("dims", "patch_size", "size"), [(2, 4, (12, 20)), (2, 8, (16, 8)), (3, 2, (4, 6, 8))])
def test_against_correlations_one_by_one(dims, patch_size, size):
    torch.manual_seed(0)
    stem = ConvStem(2, 8, patch_size, dims)
    for _ in range(3):  # the norms' running statistics
        stem(torch.randn(4, 2, *size))
    for parameter in stem.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    image = torch.randn(2, 2, *size)
    with torch.no_grad():
        result = stem.eval()(image).numpy()
    for got, one in zip(result, image.double().numpy(), strict=True):
        np.testing.assert_allclose(got, expected(stem, one), rtol=1e-4, atol=1e-5)


def test_places_overlap():
    """A pixel at the edge of a patch is seen by its neighbor, too; by a patch embedding it is not."""
    torch.manual_seed(0)
    image = torch.randn(1, 1, 16, 16)
    other = image.clone()
    other[0, 0, 7, 7] += 1  # the last of the patch of place (1, 1)
    changed = {}
    for kind in (ConvStem, PatchEmbed):
        stem = kind(1, 8, 4).eval()
        with torch.no_grad():
            changed[kind] = {tuple(place.tolist()) for place in (stem(image) != stem(other))[0].any(-1).nonzero()}
    assert changed[PatchEmbed] == {(1, 1)}
    assert changed[ConvStem] == {(1, 1), (1, 2), (2, 1), (2, 2)}


@pytest.mark.parametrize(
    ("dim", "patch_size", "message"),
    [
        (8, 14, "patch_size must be 2, 4, 8, 16 or a further power of 2, got 14; choose .* stem='patch'"),
        (8, 1, "power of 2, got 1"),
        (3, 8, "embed_dim of at least 4, got 3"),
    ],
)
def test_bad_arguments_are_named(dim, patch_size, message):
    with pytest.raises(ValueError, match=message):
        ConvStem(3, dim, patch_size)
