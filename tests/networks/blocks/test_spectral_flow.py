from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from medssm_monai.networks.blocks import ContextGate, SpectralFlow

from ..oracles import params


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def point(x: np.ndarray, p: dict, name: str) -> np.ndarray:
    """1×1 convolution of a map or vector ``(C, ...)``."""
    weight = p[f"{name}.weight"].reshape(len(p[f"{name}.weight"]), -1)
    bias = p[f"{name}.bias"].reshape(-1, *[1] * (x.ndim - 1))
    return np.tensordot(weight, x, 1) + bias


def loop_filters(x: np.ndarray, p: dict, groups: int) -> np.ndarray:
    """Filters of one image, with the running statistics of BatchNorm: ``(groups, k ** dims)``."""
    raw = point(x.reshape(len(x), -1).mean(1), p, "coefficients")
    raw = (raw - p["norm.running_mean"]) / np.sqrt(p["norm.running_var"] + 1e-5)
    return softmax((raw * p["norm.weight"] + p["norm.bias"]).reshape(groups, -1), 1)


def loop_low(x: np.ndarray, filters: np.ndarray, k: int, overlap: bool) -> np.ndarray:
    """Weighted sum of the patch that each place belongs to, place by place, zeros beyond the border."""
    low, sizes = np.zeros_like(x), x.shape[1:]
    per_group = len(x) // len(filters)
    for place in itertools.product(*(range(s) for s in sizes)):
        start = [i - k // 2 if overlap else i - i % k for i in place]
        for n, offset in enumerate(itertools.product(range(k), repeat=len(sizes))):
            source = tuple(s + o for s, o in zip(start, offset, strict=True))
            if all(0 <= i < s for i, s in zip(source, sizes, strict=True)):
                for c in range(len(x)):
                    low[(c, *place)] += filters[c // per_group, n] * x[(c, *source)]
    return low


def loop_spectral_flow(block: SpectralFlow, x: np.ndarray) -> np.ndarray:
    p = params(block)
    filters = loop_filters(x, p, block.groups)
    low = point(loop_low(point(x, p, "reduce"), filters, block.kernel_size, block.overlap), p, "restore")
    scores = []
    for stream, name in ((low, "attend_low"), (x - low, "attend_high")):
        hidden = np.maximum(point(stream.reshape(len(stream), -1).mean(1), p, f"{name}.0"), 0)
        scores.append(point(hidden, p, f"{name}.2"))
    weights = softmax(np.stack(scores), 0).reshape(2, len(x), *[1] * (x.ndim - 1))
    return point(weights[0] * low + weights[1] * (x - low), p, "project")


def awake(block: torch.nn.Module) -> torch.nn.Module:
    """The block in evaluation mode with statistics and affine parameters that are not 0 and 1."""
    for module in block.modules():
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d):
            torch.nn.init.normal_(module.weight, 3.0, 1.0)
            torch.nn.init.normal_(module.bias)
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.01, 0.1)
    return block.eval()


CASES = [
    (8, (6, 6), {}),
    (8, (7, 5), {}),
    (10, (2, 3), {}),
    (8, (7, 11), {"kernel_size": 5}),
    (8, (4, 7), {"kernel_size": 2, "groups": 3}),
    (8, (7, 5), {"overlap": True}),
    (8, (1, 1), {}),
    (8, (4, 3, 5), {}),
    (8, (4, 3, 2), {"overlap": True}),
]


@pytest.mark.parametrize(("channels", "size", "arguments"), CASES, ids=str)
def test_spectral_flow_matches_float64_loop(channels, size, arguments):
    torch.manual_seed(0)
    block = awake(SpectralFlow(len(size), channels, **arguments))
    x = torch.randn(2, channels, *size)
    expected = np.stack([loop_spectral_flow(block, image) for image in x.double().numpy()])
    with torch.no_grad():
        np.testing.assert_allclose(block(x).numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("channels", "size", "arguments"), CASES, ids=str)
def test_streams_add_up_and_filters_sum_to_one(channels, size, arguments):
    torch.manual_seed(1)
    block = awake(SpectralFlow(len(size), channels, **arguments))
    x = torch.randn(3, channels, *size)
    with torch.no_grad():
        low, high = block.streams(x)
        filters = block.filters(x)
    assert low.shape == high.shape == x.shape
    assert low.std() > 0.01 and high.std() > 0.01
    torch.testing.assert_close(low + high, x)
    assert filters.shape == (3, block.groups, block.kernel_size ** len(size)) and (filters > 0).all()
    torch.testing.assert_close(filters.sum(-1), torch.ones(3, block.groups))
    assert filters.std(-1).min() > 1e-3


def test_low_stream_is_constant_on_each_patch():
    torch.manual_seed(2)
    low, _ = awake(SpectralFlow(2, 8)).streams(torch.randn(1, 8, 6, 9))
    patches = low.unfold(2, 3, 3).unfold(3, 3, 3).flatten(-2)  # (1, 8, 2, 3, 9)
    assert torch.equal(patches, patches[..., :1].expand_as(patches))
    assert patches[..., 0].std() > 1e-3


@pytest.mark.parametrize(("channels", "groups", "expected"), [(512, 8, 8), (170, 8, 5), (26, 8, 1), (12, 4, 3)])
def test_groups_fall_to_the_largest_divisor(channels, groups, expected):
    assert SpectralFlow(2, channels, groups=groups).groups == expected


@pytest.mark.parametrize("size", [(9, 6), (5, 4, 3)], ids=str)
def test_context_gate_is_the_residual_of_its_three_paths(size):
    torch.manual_seed(3)
    block = awake(ContextGate(len(size), 14))
    p, x = params(block), torch.randn(1, 14, *size)
    image = x[0].double().numpy()
    with torch.no_grad():
        local = block.context[:2](x)[0].double().numpy()
    depthwise, padded = np.zeros_like(image), np.pad(image, [(0, 0)] + [(1, 1)] * len(size))
    for n, offset in enumerate(itertools.product(range(3), repeat=len(size))):
        window = tuple(slice(o, o + s) for o, s in zip(offset, size, strict=True))
        weight = p["context.0.weight"].reshape(14, -1)[:, n].reshape(-1, *[1] * len(size))
        depthwise += weight * padded[(slice(None), *window)]
    depthwise += p["context.0.bias"].reshape(-1, *[1] * len(size))
    np.testing.assert_allclose(local, point(depthwise, p, "context.1"), rtol=1e-4, atol=1e-5)
    gate = point(image, p, "gate")
    gate = gate * 0.5 * (1 + np.vectorize(math.erf)(gate / np.sqrt(2)))
    context = loop_spectral_flow(block.context[2], local)
    paths = np.concatenate([context * gate, point(image, p, "identity") * gate])
    with torch.no_grad():
        np.testing.assert_allclose(block(x)[0].numpy(), image + point(paths, p, "project"), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("block", [SpectralFlow(2, 16), ContextGate(2, 16)], ids=["SpectralFlow", "ContextGate"])
def test_one_sample_cannot_train_and_the_error_says_what_to_do(block):
    block.train()
    with pytest.raises(ValueError, match=r"SpectralFlow.*one sample.*drop_last=True"):
        block(torch.randn(1, 16, 6, 6))
    block(torch.randn(2, 16, 6, 6)).square().mean().backward()
    assert all(q.grad is not None and q.grad.isfinite().all() for q in block.parameters())
    assert block.eval()(torch.randn(1, 16, 6, 6)).isfinite().all()


@pytest.mark.parametrize("overlap", [False, True])
def test_exported_block_takes_other_batches_and_sizes(overlap):
    torch.manual_seed(4)
    block = awake(ContextGate(2, 16, overlap=overlap))
    auto, other = torch.export.Dim.AUTO, torch.randn(3, 16, 9, 14)
    program = torch.export.export(block, (torch.randn(2, 16, 7, 5),), dynamic_shapes={"x": {0: auto, 2: auto, 3: auto}})
    torch.testing.assert_close(program.module()(other), block(other), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [SpectralFlow, ContextGate])
@pytest.mark.parametrize("overlap", [False, True])
def test_cost_is_linear_in_the_number_of_pixels(make, overlap):
    """Multiply-accumulates at n² pixels are ``fixed + slope * n²``: three sizes lie on one line."""
    block = make(2, 24, overlap=overlap).to("meta").eval()
    counts = []
    for side in (12, 24, 48):
        with FlopCounterMode(display=False) as counter:
            block(torch.empty(1, 24, side, side, device="meta"))
        counts.append(counter.get_total_flops())
    slope = (counts[1] - counts[0]) / (24**2 - 12**2)
    assert slope > 0 and counts[2] - counts[1] == slope * (48**2 - 24**2)


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (SpectralFlow, {"spatial_dims": 1, "channels": 8}, "spatial_dims must be 2 or 3"),
        (SpectralFlow, {"spatial_dims": 2, "channels": 3}, "channels must be >= 4"),
        (SpectralFlow, {"spatial_dims": 2, "channels": 8, "kernel_size": 1}, "kernel_size"),
        (SpectralFlow, {"spatial_dims": 2, "channels": 8, "kernel_size": 4, "overlap": True}, "odd with overlap"),
        (SpectralFlow, {"spatial_dims": 2, "channels": 8, "groups": 0}, "groups"),
        (ContextGate, {"spatial_dims": 2, "channels": 11}, "at least 12"),
    ],
)
def test_bad_arguments_are_named(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)
