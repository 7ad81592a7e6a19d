"""Depthwise convolutions over named neighbors against PyTorch's convolutions in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from medssm_monai.networks.layers import DEPTHWISE_CONV, SCAN_SETS, DepthwiseConv2d, StackedConv1d
from medssm_monai.ops import use_backend
from medssm_monai.ops.depthwise import Neighbors


def outcome(run, x, parameters, gradient):
    y = run(x)
    return y, torch.autograd.grad(y, [x, *parameters], gradient)


def close(got, expected):
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("activation", [False, True])
@pytest.mark.parametrize("layout", ["dense", "channel first", "half of the channels"])
@pytest.mark.parametrize(
    ("channels", "size", "kernel"),
    [(8, (2, 7, 5), 3), (13, (3, 4, 6), 3), (32, (1, 1, 1), 3), (16, (2, 40, 33), 3), (3, (1, 6, 7), 5)]
    + [(8, (2, 4, 7, 5), 3), (13, (2, 1, 4, 3), 3), (16, (1, 9, 8, 10), 3), (3, (1, 3, 6, 4), 5)],  # volumes
)
def test_maps_are_those_of_a_convolution(channels, size, kernel, layout, activation):
    torch.manual_seed(0)
    conv = DEPTHWISE_CONV[len(size) - 1](channels, kernel)
    x = torch.randn(*size, channels)
    if layout == "channel first":
        x = x.movedim(-1, 1).contiguous().movedim(1, -1)
    elif layout == "half of the channels":
        x = torch.cat([x, x], -1)[..., :channels]
    gradient = torch.randn(*size, channels)
    y, grads = outcome(lambda x: conv(x, activation), x.requires_grad_(), conv.parameters(), gradient)
    x64, w64, b64 = (t.detach().double().requires_grad_() for t in (x, conv.weight, conv.bias))

    def convolution(x):
        convolve = F.conv2d if len(size) == 3 else F.conv3d
        y = convolve(x.movedim(-1, 1), w64, b64, padding=kernel // 2, groups=channels).movedim(1, -1)
        return F.silu(y) if activation else y

    expected, exact = outcome(convolution, x64, (w64, b64), gradient.double())
    close([y, *grads], [expected, *exact])
    with torch.no_grad():
        assert torch.equal(conv(x, activation), y)


def test_a_map_too_large_for_a_table_is_left_to_pytorch(monkeypatch):
    torch.manual_seed(0)
    conv, x = DEPTHWISE_CONV[3](8), torch.randn(1, 4, 5, 6, 8)
    fused = conv(x, activation=True)
    monkeypatch.setattr("medssm_monai.networks.layers.depthwise_conv.LARGEST_TABLE", 4 * 5 * 6 * 27 - 1)
    monkeypatch.setattr("medssm_monai.networks.layers.depthwise_conv.depthwise", None)
    torch.testing.assert_close(conv(x, activation=True), fused, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "dims"), [(name, dims) for name, sets in SCAN_SETS.items() for dims in sets])
def test_tokens_see_those_before_them_in_every_order(name, dims):
    torch.manual_seed(0)
    orders, size = SCAN_SETS[name][dims], (3, 4, 5)[:dims]
    conv = StackedConv1d(len(orders), 9, 4)
    x = torch.randn(2, *size, 9, requires_grad=True)
    y = conv(x, orders, activation=True)
    gradient = torch.randn_like(y)
    grads = torch.autograd.grad(y, [x, *conv.parameters()], gradient)
    exact = StackedConv1d(len(orders), 9, 4).double()
    exact.load_state_dict(conv.state_dict())
    x64 = x.detach().double().requires_grad_()
    branches = []
    for g, order in enumerate(orders):
        weight, bias = ((p if len(orders) == 1 else p[g]) for p in (exact.weight, exact.bias))
        tokens = F.conv1d(F.pad(order.to_tokens(x64).transpose(1, 2), (3, 0)), weight, bias, groups=9)
        branches.append(order.to_map(F.silu(tokens).transpose(1, 2), size).flatten(1, -2))
    expected = torch.stack(branches, 2)
    close([y, *grads], [expected, *torch.autograd.grad(expected, [x64, *exact.parameters()], gradient.double())])
    with use_backend("blocked"):
        torch.testing.assert_close(conv(x, orders, activation=True), y, rtol=1e-5, atol=1e-5)


def test_neighbors_know_who_sees_whom():
    seen = torch.tensor([[[-1, 0], [0, 1], [1, 2]]])  # each place sees the one before it and itself
    neighbors = Neighbors.from_table(seen)
    assert neighbors.seeing.tolist() == [[[1, 0], [2, 1], [-1, 2]]]


def test_a_place_outside_the_map_is_refused():
    with pytest.raises(ValueError, match=r"below 2, got 2"):
        Neighbors.from_table(torch.tensor([[[0], [2]]]))


def test_other_channels_are_refused():
    with pytest.raises(ValueError, match="16 neighbors each|C channels"):
        DepthwiseConv2d(16)(torch.randn(1, 4, 4, 8))


def test_the_gradient_of_overlapping_tokens_is_that_of_each():
    torch.manual_seed(0)
    conv, x = DepthwiseConv2d(16), torch.randn(1, 1, 17).unfold(2, 16, 1)  # tokens that share memory
    copy = x.clone(memory_format=torch.contiguous_format).requires_grad_()
    x = x.detach().requires_grad_()
    gradient = torch.randn(1, 1, 2, 16)
    torch.testing.assert_close(
        torch.autograd.grad(conv(x), x, gradient)[0], torch.autograd.grad(conv(copy), copy, gradient)[0]
    )
