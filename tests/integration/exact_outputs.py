"""What a network gives in float64, and how far a file in float32 may be from it."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn


def assert_close_to_exact(network: nn.Module, x: Tensor, results: Mapping[str, Tensor]) -> Tensor:
    """Each result is within 1e-4 of the largest exact value, or within four times what float32 does to PyTorch itself.

    Two files that keep this limit may be twice as far from one another: each rounds at places of its own. Returns the
    exact output of the network for the batch ``x``, in float64.
    """
    with torch.no_grad():
        exact = copy.deepcopy(network).double()(x.double())
        rounded = network(x)
    assert exact.std() > 0
    scale = exact.abs().max()
    own = ((rounded - exact).abs().max() / scale).item()
    assert own <= 1e-4, f"rounding alone changes the output by {own:.2g} of its largest value"
    for name, result in results.items():
        assert result.shape == exact.shape
        error = ((result - exact).abs().max() / scale).item()
        assert error <= max(1e-4, 4 * own), f"{name}: {error:.2g}, PyTorch in float32: {own:.2g}"
    return exact
