"""Batch normalization over processes, each of which has the whole batch here: then it is PyTorch's."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
from torch import nn

from medssm_monai.networks.layers import SynchronizedBatchNorm, synchronized_norm, synchronized_norms

TYPES = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}


@pytest.fixture
def two(monkeypatch):
    """Two processes with equal batches: every sum is doubled."""
    monkeypatch.setattr(synchronized_norm, "world_size", lambda: 2)
    monkeypatch.setattr(dist, "all_reduce", lambda values: values.mul_(2))


@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5), (2, 3, 4, 5), (2, 3, 4, 3, 2)])
@pytest.mark.parametrize("affine", [True, False])
def test_a_repeated_batch_has_the_statistics_and_gradients_of_one(two, shape, affine):
    torch.manual_seed(0)
    oracle = TYPES[len(shape)](3, affine=affine)
    ours = synchronized_norms(nn.Sequential(TYPES[len(shape)](3, affine=affine)))
    assert isinstance(ours[0], SynchronizedBatchNorm)
    values = torch.randn(shape) * 3 + 5
    twice = torch.cat([values, values]).requires_grad_()
    own = values.clone().requires_grad_()
    weights = torch.randn(shape)
    expected, found = oracle(twice), ours(own)
    torch.testing.assert_close(found, expected[: len(values)])
    (expected * torch.cat([weights, weights])).sum().backward()
    (found * weights).sum().backward()
    torch.testing.assert_close(own.grad, twice.grad[: len(values)], rtol=1e-4, atol=1e-5)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        torch.testing.assert_close(getattr(ours[0], name), getattr(oracle, name))


def test_half_precision_keeps_a_mean_beside_which_the_spread_is_small(two):
    """Pixels of mean 50 and spread 1: a mean rounded to bfloat16 would move all of them by up to .125."""
    values = (torch.randn(8, 2, 16, 16) + torch.tensor([50.06, -50.06]).reshape(1, 2, 1, 1)).bfloat16()
    found = synchronized_norms(nn.BatchNorm2d(2))(values)
    assert found.dtype == torch.bfloat16
    wide = values.double()
    mean, variance = wide.mean((0, 2, 3), keepdim=True), wide.var((0, 2, 3), unbiased=False, keepdim=True)
    expected = (wide - mean) / (variance + 1e-5).sqrt()
    assert (found.double() - expected).abs().max() < 0.02


def test_evaluation_is_pytorchs(two):
    ours, values = synchronized_norms(nn.BatchNorm2d(3)).eval(), torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(ours(values), nn.BatchNorm2d(3).eval()(values))
