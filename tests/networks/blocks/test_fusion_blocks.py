"""Blocks of ClinicalFMamba against the formulas written out."""

from __future__ import annotations

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F

from medssm_monai.networks.blocks import (
    ChannelExchangeBlock,
    CrossChannelExcitation,
    CrossMambaBlock,
    DilatedGatedConv,
    MambaBlock,
    MambaMixer,
    exchange_channels,
)
from medssm_monai.networks.layers import SCAN_SETS

SETS = [(name, dims) for name, by_dims in SCAN_SETS.items() for dims in by_dims if dims > 1]


@pytest.mark.parametrize(("name", "dims"), SETS)
@pytest.mark.parametrize("size", [(3, 5, 7), (1, 9, 4), (7, 1, 1)])
def test_a_mixer_sees_the_tokens_of_each_direction_in_its_order(name, dims, size):
    """The mixer again, with the tokens of every direction put in a row of their own."""
    torch.manual_seed(0)
    mixer = MambaMixer(6, d_state=3, orders=name, spatial_dims=dims).double()
    x = torch.randn(2, *size[:dims], 6, dtype=torch.float64)
    branches = []
    u, z = mixer.in_proj(x).chunk(2, dim=-1)
    for g, order in enumerate(mixer.orders):
        conv, x_proj, dt_proj = (
            (p if len(mixer.orders) == 1 else p[g])
            for p in (mixer.conv1d.weight, mixer.x_proj.weight, mixer.dt_proj.weight)
        )
        biases = (mixer.conv1d.bias, mixer.dt_proj.bias, mixer.A_log, mixer.D)
        conv_bias, dt_bias, a_log, skip = (p if len(mixer.orders) == 1 else p[g] for p in biases)
        tokens, gate = order.to_tokens(u), order.to_tokens(z)  # (B, L, E) each
        tokens = F.conv1d(F.pad(tokens.transpose(1, 2), (3, 0)), conv, conv_bias, groups=12)
        tokens = F.silu(tokens)  # (B, E, L)
        dt, b, c = F.linear(tokens.transpose(1, 2), x_proj).split([1, 3, 3], dim=-1)
        step = F.softplus(F.linear(dt, dt_proj, dt_bias)).transpose(1, 2)
        state, outputs = torch.zeros(2, 12, 3, dtype=torch.float64), []
        for t in range(tokens.shape[-1]):
            decay = torch.exp(-step[..., t, None] * torch.exp(a_log))
            state = decay * state + (step * tokens)[..., t, None] * b[:, t, None]
            outputs.append((state * c[:, t, None]).sum(-1) + skip * tokens[..., t])
        y = torch.stack(outputs, 1) * F.silu(gate)  # (B, L, E)
        branches.append(order.to_map(y, size[:dims]))
    expected = mixer.out_proj(mixer.norm(torch.stack(branches).mean(0)))
    torch.testing.assert_close(mixer(x), expected)
    torch.testing.assert_close(mixer.float()(x.float()), expected.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("dilation", [1, 3, 5])
def test_dilated_gated_conv_is_its_formula(dims, dilation):
    torch.manual_seed(0)
    block = DilatedGatedConv(dims, 6, dilation).double().eval()
    conv = {2: F.conv2d, 3: F.conv3d}[dims]
    for module in block.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)):
            for tensor in (module.weight, module.bias, module.running_mean):
                tensor.data.normal_()
            module.running_var.uniform_(0.5, 2)

    def norm(m, x):
        shape = (1, -1, *(1,) * dims)
        scale = m.weight / (m.running_var + m.eps).sqrt()
        return x * scale.view(shape) + (m.bias - m.running_mean * scale).view(shape)

    def leaky(x):
        return torch.where(x > 0, x, 0.2 * x)

    def convolved(m, x, dilation=1):
        return conv(x, m.weight, m.bias, padding=dilation * (m.kernel_size[0] // 2), dilation=dilation)

    x = torch.randn(2, 6, *(9, 8, 7)[:dims], dtype=torch.float64)
    a = leaky(convolved(block.wide[1], norm(block.wide[0], x)))
    b = leaky(convolved(block.narrow[1], norm(block.narrow[0], x)))
    expected = leaky(convolved(block.dilated[1], norm(block.dilated[0], a * b), dilation))
    if dims == 2:
        p = block.pyramid
        q = leaky(norm(block.pyramid_norm[0], expected))
        pq, ppq = convolved(p, q), convolved(p, convolved(p, q))
        expected = pq + ppq + convolved(p, ppq)
    torch.testing.assert_close(block(x), x + expected)


def test_exchange_swaps_every_second_channel():
    a, b = torch.zeros(1, 2, 5), torch.ones(1, 2, 5)
    for swapped, row in zip(exchange_channels(a, b), ([0, 1, 0, 1, 0], [1, 0, 1, 0, 1]), strict=True):
        assert swapped.tolist() == [[row, row]]


def test_residual_blocks_are_their_formulas():
    torch.manual_seed(0)
    a, b = torch.randn(2, 1, 3, 4, 8)
    block = MambaBlock(8, orders="cross")
    torch.testing.assert_close(block(a), a + block.mixer(block.norm(a)))
    cross = CrossMambaBlock(8, orders="cross")
    nn.init.normal_(cross.source_norm.weight)
    torch.testing.assert_close(cross(a, b), a + cross.mixer(cross.norm(a), cross.source_norm(b)))
    exchange = ChannelExchangeBlock(8)
    odd = torch.tensor([0.0, 1.0]).repeat(4)
    swapped = a * (1 - odd) + b * odd, b * (1 - odd) + a * odd
    for out, own, mixed, norm, mix in zip(
        exchange(a, b), (a, b), swapped, exchange.norms, exchange.mixers, strict=True
    ):
        torch.testing.assert_close(out, own + mix(norm(mixed)))


@pytest.mark.parametrize("dims", [2, 3])
def test_cross_channel_excitation_is_its_formula(dims):
    block = CrossChannelExcitation(dims, 4)
    a, b = torch.randn(2, 2, 4, *(5, 6, 3)[:dims])
    pa, pb = (
        torch.einsum("oi,bi...->bo...", p.weight.flatten(1), m) for p, m in ((block.proj_a, a), (block.proj_b, b))
    )
    expected = torch.empty_like(a)
    for i in range(2):
        for c in range(4):
            weigh_a = torch.sigmoid(pa[i, c].mean() + pa[i, c].max())
            weigh_b = torch.sigmoid(pb[i, c].mean() + pb[i, c].max())
            expected[i, c] = pa[i, c] * weigh_b + pb[i, c] * weigh_a
    torch.testing.assert_close(block(a, b), expected)
