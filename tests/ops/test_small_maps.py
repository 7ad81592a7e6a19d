"""Convolutions of small maps in bfloat16 on the CPU, beside float64."""

from __future__ import annotations

from contextlib import nullcontext
from copy import deepcopy

import pytest
import torch
from monai.inferers import SimpleInferer
from torch.overrides import TorchFunctionMode

from medssm_monai import get_network
from medssm_monai.bundle import AutocastInferer
from medssm_monai.networks.blocks import MultiScaleFusionBridge
from medssm_monai.networks.blocks.context_gate import ContextGate
from medssm_monai.networks.layers import DEPTHWISE_CONV
from medssm_monai.ops import SmallMapsInFloat32, backend_for
from medssm_monai.ops.tracing import is_eager

KINDS = ["autocast", "whole"]
"""Autocast of float32 parameters, or parameters and maps in bfloat16."""
SPATIAL = [
    (3, (2, 2, 2)),
    (3, (2, 5, 6)),
    (3, (1, 4, 2)),
    (5, (3, 3, 3)),
    (7, (4, 4, 4)),
    (3, (4, 5, 6)),
    (3, (2, 2)),
    (7, (4, 5)),
]
CONVOLUTIONS = {
    "every channel": lambda k: torch.nn.Conv3d(16, 16, k, padding=k // 2),
    "no blocks of channels": lambda k: torch.nn.Conv3d(12, 5, k, padding=k // 2),
    "groups": lambda k: torch.nn.Conv3d(16, 16, k, padding=k // 2, groups=4),
    "dilated": lambda k: torch.nn.Conv3d(16, 16, k, padding="same", dilation=2),
    "strided": lambda k: torch.nn.Conv3d(16, 16, k, padding=k // 2, stride=2),
    "patches": lambda k: torch.nn.Conv3d(16, 16, 2, stride=2),
    "a place of each patch": lambda k: torch.nn.Conv3d(16, 16, 1, stride=2),
    "transposed": lambda k: torch.nn.ConvTranspose3d(16, 16, k, padding=k // 2),
    "transposed and strided": lambda k: torch.nn.ConvTranspose3d(16, 16, k, padding=k // 2, stride=2),
}

CASES = [
    (name, kernel, spatial)
    for name in CONVOLUTIONS
    for kernel, spatial in SPATIAL
    if len(spatial) == 3 and (name, kernel) != ("transposed and strided", 7)  # wrong in float32 as well
]


def dirty_memory() -> None:
    """Free memory holds NaN, so that an operator which reads what it did not write gives NaN, not an older result."""
    blocks = [torch.full((n,), float("nan")) for n in (32, 64, 100, 216, 432, 864, 1728, 3456, 5000, 20000) * 3]
    del blocks


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.detach().double() - expected.detach()).abs().max() / expected.detach().abs().max())


def require_exact(layer: torch.nn.Module, x: torch.Tensor, kind: str) -> None:
    """Results and gradients of a layer in bfloat16 are those of float64."""
    if kind == "whole":
        layer, x = layer.bfloat16(), x.bfloat16()
    exact, exact_x = deepcopy(layer).double(), x.double().requires_grad_()
    expected = exact(exact_x)
    grad = torch.randn(expected.shape).bfloat16()
    expected.backward(grad.double())
    x.requires_grad_()
    for _ in range(5):
        layer.zero_grad()
        x.grad = None
        dirty_memory()
        with torch.autocast("cpu", torch.bfloat16, enabled=kind == "autocast"), SmallMapsInFloat32():
            found = layer(x)
        found.backward(grad)
        assert found.dtype == torch.bfloat16
        assert relative(found, expected) < 0.02 and relative(x.grad, exact_x.grad) < 0.02
        for one, reference in zip(layer.parameters(), exact.parameters(), strict=True):
            assert relative(one.grad, reference.grad) < 0.02


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [3, 16])
@pytest.mark.parametrize(("kernel", "spatial"), SPATIAL, ids=str)
def test_depthwise_layers(kernel, spatial, channels, kind):
    torch.manual_seed(0)
    require_exact(DEPTHWISE_CONV[len(spatial)](channels, kernel), torch.randn(2, *spatial, channels), kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channel_last", [False, True])
@pytest.mark.parametrize(("name", "kernel", "spatial"), CASES, ids=str)
def test_convolutions(name, kernel, spatial, channel_last, kind):
    torch.manual_seed(0)
    layer = CONVOLUTIONS[name](kernel)
    if name == "patches":
        spatial = tuple(max(size, 2) for size in spatial)
    order = torch.channels_last_3d if channel_last else torch.contiguous_format
    require_exact(layer, torch.randn(2, layer.in_channels, *spatial).contiguous(memory_format=order), kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channel_last", [False, True])
@pytest.mark.parametrize(("kernel", "size"), [(4, 4), (4, 7), (2, 2), (2, 3), (1, 2)])
def test_pictures_of_which_a_stride_leaves_one_place(kernel, size, channel_last, kind):
    torch.manual_seed(0)
    order = torch.channels_last if channel_last else torch.contiguous_format
    layer = torch.nn.Conv2d(16, 16, kernel, max(kernel, 2))
    require_exact(layer, torch.randn(2, 16, size, size).contiguous(memory_format=order), kind)


@pytest.mark.parametrize(
    ("function", "weight", "options"),
    [
        ("conv2d", (8, 8, 3, 3), {"padding": 1}),
        ("conv_transpose2d", (8, 8, 3, 3), {"stride": [2]}),
        ("conv3d", (8, 4, 3, 3, 3), {"padding": 1, "groups": 2}),
        ("conv3d", (8, 8, 3, 3, 3), {"padding": "same", "dilation": [2]}),
        ("conv_transpose3d", (8, 4, 3, 3, 3), {"stride": (2, 1, 2), "dilation": 2}),
    ],
    ids=str,
)
def test_arguments_by_name(function, weight, options):
    torch.manual_seed(0)
    x, filters = torch.randn(1, 8, *[2] * (len(weight) - 2)), torch.randn(weight)
    function = getattr(torch, function)
    expected = function(input=x, weight=filters, bias=None, **options)
    with torch.autocast("cpu", torch.bfloat16), SmallMapsInFloat32():
        found = function(input=x, weight=filters, bias=None, **options)
    assert torch.equal(found, expected.bfloat16())


@pytest.mark.parametrize(
    ("spatial", "kernel", "stride", "exact"),
    [
        ((3, 8, 8), 3, 1, True),
        ((8, 8, 3), 3, 1, True),
        ((4, 4, 4), 3, 1, False),
        ((5, 5, 5), 3, 2, False),
        ((4, 5, 5), 3, 2, True),
        ((2, 2, 2), 1, 2, True),
        ((2, 2, 2), 1, 1, False),
    ],
)
def test_larger_volumes_stay_in_bfloat16(spatial, kernel, stride, exact):
    """By the values: a float32 result is rounded once, products of bfloat16 were rounded before."""
    torch.manual_seed(0)
    layer, x = torch.nn.Conv3d(16, 16, kernel, stride), torch.randn(1, 16, *spatial)
    with torch.autocast("cpu", torch.bfloat16), SmallMapsInFloat32():
        found = layer(x)
    assert found.dtype == torch.bfloat16 and torch.equal(found, layer(x).bfloat16()) == exact


@pytest.mark.parametrize("hooked", [False, True])
def test_a_bridge_of_small_maps_has_the_gradients_of_float32(hooked):
    torch.manual_seed(0)
    bridge = MultiScaleFusionBridge([8, 16], attention=False, spatial_dims=3)
    if hooked:  # one convolution at a time
        for pair in bridge.fusion.pairs:
            pair.register_forward_hook(lambda *_: None)
    maps = [torch.randn(2, 4, 4, 4, 8), torch.randn(2, 2, 2, 2, 16)]
    require_near(bridge, maps, bridge.fusion.pairs.parameters(), SmallMapsInFloat32)


def test_a_context_gate_of_small_maps_in_channel_last_memory():
    torch.manual_seed(0)
    gate = ContextGate(3, 12)
    x = torch.randn(2, 12, 2, 2, 2).to(memory_format=torch.channels_last_3d)
    require_near(gate, x, [gate.context[0].weight], SmallMapsInFloat32)


def require_near(network, x, parameters, mode) -> None:
    """Gradients in bfloat16 are near those of float32, whatever free memory holds."""
    parameters = list(parameters)

    def gradients(half: bool) -> list[torch.Tensor]:
        network.zero_grad()
        dirty_memory()
        with torch.autocast("cpu", torch.bfloat16, enabled=half), mode():
            out = network(x)
        sum(o.float().square().mean() for o in (out if isinstance(out, list) else [out])).backward()
        return [p.grad.clone() for p in parameters]

    full = gradients(half=False)
    for _ in range(5):
        for found, expected in zip(gradients(half=True), full, strict=True):
            assert relative(found, expected.double()) < 0.1


NETWORKS = {
    "mamba_mis_3d_s": ({"img_size": 32, "base_dim": 8, "d_state": 4}, (2, 1, 32, 32, 32)),
    "medconvmamba_t": (
        {"spatial_dims": 3, "in_channels": 1, "img_size": 16, "embed_dim": 16, "depth": 2, "num_classes": 3},
        (2, 1, 16, 16, 16),
    ),
    "medspectralnet": (
        {"spatial_dims": 3, "in_channels": 1, "layers": [1, 1, 1, 1], "num_classes": 3},
        (2, 1, 32, 32, 32),
    ),
    "clinical_fmamba_3d": ({"depth": 1, "exchange_rounds": 1, "d_state": 4}, (1, 2, 16, 16, 16)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_small_maps_repeat_their_gradients(name):
    """To the bit, whatever free memory holds, and in the direction of float32."""
    torch.manual_seed(0)
    arguments, shape = NETWORKS[name]
    network, x = get_network(name, **arguments).eval(), torch.rand(shape)

    def gradient(precision: str) -> torch.Tensor:
        network.zero_grad()
        dirty_memory()
        AutocastInferer(SimpleInferer(), precision, "cpu")(x, network).square().mean().backward()
        return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])

    first = gradient("bfloat16")
    for _ in range(4):
        assert torch.equal(gradient("bfloat16"), first)
    assert torch.nn.functional.cosine_similarity(first, gradient("float32"), dim=0) > 0.95


class Watching(TorchFunctionMode):
    """Sees the operators that run."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("other", "eager"), [(nullcontext, True), (Watching, False)])
def test_scans_run_within_it_as_they_do_without(other, eager):
    x = torch.rand(1, 4, 2)
    before = backend_for(x, requires_grad=True)
    with other(), SmallMapsInFloat32():
        assert is_eager(x) == eager
        assert not eager or backend_for(x, requires_grad=True) == before
