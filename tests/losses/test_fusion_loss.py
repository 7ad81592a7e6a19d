"""The fusion loss against SciPy's Sobel operator and scikit-image's SSIM."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, sobel
from skimage.metrics import structural_similarity

from medssm_monai.losses import FusionLoss

SIZES = {2: (24, 19), 3: (14, 17, 13)}


def images(dims: int, count: int, seed: int = 0) -> np.ndarray:
    """``(count, *size)`` smooth images in [0, 1]."""
    noise = np.random.default_rng(seed).normal(size=(count, *SIZES[dims]))
    return np.stack([np.clip(gaussian_filter(n, 1.5) * 2 + 0.5, 0, 1) for n in noise])


def plane_gradients(image: np.ndarray) -> list[np.ndarray]:
    """Sobel of every slice of every orientation: ``|gx| + |gy|``."""
    if image.ndim == 2:
        return [sum(np.abs(sobel(image, axis=axis, mode="nearest")) for axis in (0, 1))]
    return [
        np.stack([plane_gradients(plane)[0] for plane in np.moveaxis(image, still, 0)], axis=still)
        for still in range(3)
    ]


def expected_terms(fused, a, b) -> dict[str, float]:
    ssim = {"data_range": 1.0, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    slopes = zip(*(plane_gradients(x) for x in (fused, a, b)), strict=True)
    return {
        "intensity": np.abs(fused - np.maximum(a, b)).mean(),
        "gradient": sum(np.abs(f - np.maximum(x, y)).mean() for f, x, y in slopes),
        "ssim": 1 - structural_similarity(fused, a, **ssim) / 2 - structural_similarity(fused, b, **ssim) / 2,
    }


@pytest.mark.parametrize(("dims", "weights"), [(2, (2, 10, 5)), (3, (2, 10, 1))])
def test_terms_and_weights(dims, weights):
    fused, a, b = (images(dims, 2, seed) for seed in range(3))
    loss = FusionLoss(dims)
    tensors = torch.tensor(fused)[:, None], torch.tensor(np.stack([a, b], axis=1))
    each = [expected_terms(*triple) for triple in zip(fused, a, b, strict=True)]
    expected = {name: np.mean([terms[name] for terms in each]) for name in each[0]}
    got = {name: value.item() for name, value in loss.terms(*tensors).items()}
    assert got == pytest.approx(expected, rel=1e-4)
    total = sum(w * value for w, value in zip(weights, expected.values(), strict=True))
    assert loss(*tensors).item() == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize("dims", [2, 3])
def test_two_equal_sources_are_their_own_best_fusion(dims):
    source = torch.tensor(images(dims, 1))[:, None].float()
    pair = source.repeat(1, 2, *(1,) * dims)
    loss = FusionLoss(dims)
    assert loss(source, pair).item() == pytest.approx(0, abs=1e-5)
    worse = (source + 0.1 * torch.rand_like(source)).requires_grad_()
    value = loss(worse, pair)
    value.backward()
    assert value > 0.1
    assert worse.grad.isfinite().all() and worse.grad.abs().max() > 0


def test_own_weights():
    fused, pair = torch.rand(1, 1, 16, 16), torch.rand(1, 2, 16, 16)
    terms = FusionLoss(2).terms(fused, pair)
    loss = FusionLoss(2, intensity_weight=0, gradient_weight=0, ssim_weight=3)
    torch.testing.assert_close(loss(fused, pair), 3 * terms["ssim"])


@pytest.mark.parametrize(
    ("arguments", "message"), [({"spatial_dims": 1}, "spatial_dims"), ({"gradient_weight": -1}, "weights")]
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        FusionLoss(**arguments)


@pytest.mark.parametrize(
    ("fused", "pair"),
    [
        ((1, 1, 16, 16), (1, 1, 16, 16)),
        ((1, 2, 16, 16), (1, 2, 16, 16)),
        ((1, 1, 16, 16), (1, 2, 16, 15)),
        ((2, 1, 16, 16), (1, 2, 16, 16)),
        ((1, 1, 16, 16, 16), (1, 2, 16, 16, 16)),
    ],
)
def test_bad_shapes_are_named(fused, pair):
    with pytest.raises(ValueError, match=r"\(B, 2, \*spatial\)"):
        FusionLoss(2)(torch.rand(fused), torch.rand(pair))


def test_images_smaller_than_the_window_are_named():
    with pytest.raises(ValueError, match="at least 11"):
        FusionLoss(2)(torch.rand(1, 1, 10, 16), torch.rand(1, 2, 10, 16))
