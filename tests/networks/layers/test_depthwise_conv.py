"""Depthwise convolutions of channel-last maps in bfloat16 on the CPU, beside float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from medssm_monai.networks.blocks import MultiScaleFusionBridge
from medssm_monai.networks.blocks.context_gate import ContextGate
from medssm_monai.networks.layers import DEPTHWISE_CONV, for_depthwise

KINDS = ["autocast", "whole"]
"""Autocast of float32 parameters, or parameters and maps in bfloat16."""


def dirty_memory() -> None:
    """Free memory holds NaN, so that an operator which reads what it did not write gives NaN, not an older result."""
    blocks = [torch.full((n,), float("nan")) for n in (32, 64, 100, 216, 432, 864, 1728, 3456, 5000, 20000) * 3]
    assert len(blocks) == 30


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.double() - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [3, 16])
@pytest.mark.parametrize(
    ("kernel", "spatial"),
    [
        (3, (2, 2, 2)),
        (3, (2, 5, 6)),
        (3, (1, 4, 2)),
        (5, (3, 3, 3)),
        (7, (4, 4, 4)),
        (3, (4, 5, 6)),
        (3, (2, 2)),
        (7, (4, 5)),
    ],
    ids=str,
)
def test_gradients_in_bfloat16_are_those_of_float64(kernel, spatial, channels, kind):
    torch.manual_seed(0)
    layer = DEPTHWISE_CONV[len(spatial)](channels, kernel)
    x, grad = torch.randn(2, *spatial, channels), torch.randn(2, *spatial, channels)
    if kind == "whole":
        layer, x, grad = layer.bfloat16(), x.bfloat16(), grad.bfloat16()
    exact = [t.detach().double().requires_grad_() for t in (x, layer.weight, layer.bias)]
    conv = F.conv2d if len(spatial) == 2 else F.conv3d
    y = conv(exact[0].movedim(-1, 1), *exact[1:], padding=kernel // 2, groups=channels).movedim(1, -1)
    y.backward(grad.double())

    x.requires_grad_()
    for _ in range(5):
        x.grad = layer.weight.grad = layer.bias.grad = None
        dirty_memory()
        with torch.autocast("cpu", torch.bfloat16, enabled=kind == "autocast"):
            found = layer(x)
        found.backward(grad.to(found.dtype))
        assert found.dtype == torch.bfloat16
        assert relative(found, y) < 0.02
        for tensor, reference in zip((x, layer.weight, layer.bias), exact, strict=True):
            assert relative(tensor.grad, reference.grad) < 0.02


@pytest.mark.parametrize("hooked", [False, True])
def test_a_bridge_of_small_volumes_in_bfloat16_has_the_gradients_of_float32(hooked):
    torch.manual_seed(0)
    bridge = MultiScaleFusionBridge([8, 16], attention=False, spatial_dims=3)
    if hooked:  # one convolution at a time
        for pair in bridge.fusion.pairs:
            pair.register_forward_hook(lambda *_: None)
    maps = [torch.randn(2, 4, 4, 4, 8), torch.randn(2, 2, 2, 2, 16)]

    def gradients(half: bool) -> list[torch.Tensor]:
        bridge.zero_grad()
        dirty_memory()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            out = bridge(maps)
        sum(o.float().square().mean() for o in out).backward()
        return [p.grad.clone() for p in bridge.fusion.pairs.parameters()]

    full = gradients(half=False)
    for _ in range(5):
        for found, expected in zip(gradients(half=True), full, strict=True):
            assert relative(found, expected.double()) < 0.1


def test_a_context_gate_of_small_volumes_in_channel_last_memory():
    torch.manual_seed(0)
    gate = ContextGate(3, 12)
    x = torch.randn(2, 12, 2, 2, 2).to(memory_format=torch.channels_last_3d)

    def gradient(half: bool) -> torch.Tensor:
        gate.zero_grad()
        dirty_memory()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            out = gate(x)
        out.float().square().mean().backward()
        return gate.context[0].weight.grad.clone()

    full = gradient(half=False).double()
    for _ in range(5):
        assert relative(gradient(half=True), full) < 0.1


@pytest.mark.parametrize(
    ("shape", "dtype", "copied"),
    [
        ((1, 4, 2, 2, 2), torch.bfloat16, True),
        ((1, 4, 2, 2, 2), torch.float32, False),
        ((1, 4, 2, 2), torch.bfloat16, False),
    ],
    ids=str,
)
def test_only_the_maps_that_need_it_are_copied(shape, dtype, copied):
    x = torch.randn(shape[0], *shape[2:], shape[1], dtype=dtype).movedim(-1, 1)
    assert (for_depthwise(x) is not x) == copied
    assert torch.equal(for_depthwise(x), x)
