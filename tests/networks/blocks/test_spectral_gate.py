from __future__ import annotations

import numpy as np
import pytest
import torch

from medssm_monai.networks.blocks import SpectralGate
from medssm_monai.networks.blocks.spectral_gate import _resample
from medssm_monai.ops import use_backend
from medssm_monai.ops.spectral import spectral_filter


def _random(channels, size):
    gate = SpectralGate(channels, size)
    with torch.no_grad():
        gate.bias.normal_(std=0.1)
    return gate


@pytest.mark.parametrize("size", [(8, 8), (6, 9), (5, 4), (1, 1), (1, 6), (4, 6, 8), (5, 3, 7), (1, 2, 1)])
def test_equals_numpy_fft(size):
    gate = _random(2, size)
    x = torch.randn(3, *size, 2)
    w, b = (np.array(p.detach()[..., 0] + 1j * p.detach()[..., 1]) for p in (gate.weight, gate.bias))
    axes = tuple(range(2, 2 + len(size)))
    spectrum = np.fft.rfftn(x.movedim(-1, 1).double().numpy(), axes=axes, norm="ortho")
    expected = np.moveaxis(np.fft.irfftn(w * spectrum + b, s=size, axes=axes, norm="ortho"), 1, -1)
    np.testing.assert_allclose(gate(x).detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("size", [(8, 8), (6, 9), (5, 4), (1, 1), (1, 6), (4, 2), (7, 3), (4, 6, 8), (3, 5, 7)])
def test_gradients_are_those_of_pytorchs_transforms(size):
    """The fused gradient beside the one that PyTorch derives from the same formula."""
    torch.manual_seed(0)
    gate = _random(3, size)
    x, gradient = torch.randn(2, *size, 3, requires_grad=True), torch.randn(2, *size, 3)

    def gradients():
        return torch.autograd.grad(gate(x), [x, gate.weight, gate.bias], gradient)

    with use_backend("blocked"):
        expected = gradients()
    for got, want in zip(gradients(), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("built", "size"), [((8, 8), (16, 16)), ((8, 8), (4, 4)), ((6, 10), (9, 7)), ((3, 3), (8, 8))])
def test_resampling_keeps_the_response_at_shared_frequencies(built, size):
    """A filter that is linear in |f| is reproduced exactly wherever the interpolation needs no Nyquist wrap."""
    gate = SpectralGate(1, built)
    fx = np.abs(np.fft.rfftfreq(built[1]))
    with torch.no_grad():
        gate.weight[..., 1] = 0
        gate.weight[..., 0] = torch.tensor(1 + 2 * fx, dtype=torch.float32).expand(1, built[0], -1)
    x = torch.randn(1, *size, 1)
    inside = np.minimum(np.abs(np.fft.rfftfreq(size[1])), fx.max())
    expected = np.fft.irfft2(np.fft.rfft2(x[0, ..., 0].numpy()) * (1 + 2 * inside), s=size)
    np.testing.assert_allclose(gate(x)[0, ..., 0].detach().numpy(), expected, atol=1e-5)


def test_constant_filter_is_kept_at_any_size():
    gate = SpectralGate(2, (4, 6))
    with torch.no_grad():
        gate.weight[..., 0], gate.weight[..., 1] = 0.5, 0
    for size in [(4, 6), (7, 5), (32, 64), (1, 1)]:
        x = torch.randn(1, *size, 2)
        torch.testing.assert_close(gate(x), 0.5 * x, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("size", [(16, 4, 9), (3, 3, 2)])
def test_volumes_are_filtered_at_any_size(size):
    """A filter that is linear in the last axis' frequency is reproduced exactly, and held beyond its end."""
    built = (8, 4, 6)
    gate = SpectralGate(1, built)
    edge = np.fft.rfftfreq(built[2])
    with torch.no_grad():
        gate.weight[..., 1] = 0
        gate.weight[..., 0] = torch.tensor(1 + 2 * edge, dtype=torch.float32).expand(1, *built[:2], -1)
    x = torch.randn(1, *size, 1)
    response = 1 + 2 * np.minimum(np.fft.rfftfreq(size[2]), edge.max())
    expected = np.fft.irfftn(np.fft.rfftn(x[0, ..., 0].numpy()) * response, s=size, axes=(0, 1, 2))
    np.testing.assert_allclose(gate(x)[0, ..., 0].detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(("before", "now"), [(16, 64), (8, 8), (9, 4), (5, 7), (1, 6), (64, 3), (16, 2)])
def test_resampled_at_the_same_frequencies(before, now):
    """Against ``np.interp`` of a periodic axis, in float64."""
    values = torch.randn(1, before, 1, 2)
    got = _resample(values, (before, 1), (now, 1))[0, :, 0, 0]
    places = np.fft.fftfreq(now) * before
    expected = np.interp(places, np.arange(-before, 2 * before), np.tile(values[0, :, 0, 0].double().numpy(), 3))
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(("built", "other"), [((8, 8), (16, 12)), ((3, 3), (2, 5)), ((4, 4, 6), (3, 8, 5))])
def test_state_dict_of_another_size_loads_resampled(built, other):
    source, target = _random(3, built), SpectralGate(3, other)
    target.load_state_dict(source.state_dict())
    x = torch.randn(1, *other, 3)
    torch.testing.assert_close(target(x), source(x), atol=1e-5, rtol=1e-4)
    assert target.state_dict()["built_size"].tolist() == list(other)


def test_half_precision_input_is_transformed_in_float32():
    gate = _random(2, (4, 4))
    x = torch.randn(1, 4, 4, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = gate(x.bfloat16())
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), gate(x.bfloat16().float()), atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("size", [(8, 6), (5, 9), (4, 6, 5), (8, 8, 8)])
def test_export_has_no_fft_and_is_the_same_filter(size):
    gate = _random(2, (8, 6) if len(size) == 2 else (4, 6, 5)).requires_grad_(False)
    program = torch.export.export(gate, (torch.randn(2, *size, 2),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    assert not any("fft" in str(n.target) for n in program.graph.nodes)
    for batch in (1, 3):
        x = torch.randn(batch, *size, 2)
        torch.testing.assert_close(program.module()(x), gate(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [(0, 4), (4,), (4, 4, 4, 4), (4, 4, 0)])
def test_bad_size_is_named(size):
    with pytest.raises(ValueError, match="spatial_size"):
        SpectralGate(2, size)


def test_weights_of_maps_are_refused_for_volumes():
    with pytest.raises(RuntimeError, match="size mismatch"):
        SpectralGate(2, (4, 4, 4)).load_state_dict(SpectralGate(2, (4, 4)).state_dict())


@pytest.mark.parametrize("channels", [5, 8, 3])
def test_other_channels_than_the_weights_are_refused(channels):
    """The kernel addresses weights by the map's sizes: it must not run where they do not fit."""
    x = torch.randn(2, 8, 8, channels, requires_grad=True)
    with pytest.raises(RuntimeError, match="must match"):
        SpectralGate(4, (8, 8))(x)


def test_one_filter_for_all_channels():
    torch.manual_seed(0)
    maps, weight, bias = torch.randn(2, 4, 6, 8), torch.randn(1, 6, 5, 2), torch.randn(1, 6, 5, 2)
    y = spectral_filter(maps, weight, bias)
    expected = spectral_filter(maps, weight.expand(4, -1, -1, -1), bias.expand(4, -1, -1, -1))
    torch.testing.assert_close(y, expected)


def test_a_weight_changed_before_the_backward_pass_is_noticed():
    weight = torch.randn(8, 5, 4, 2).transpose(0, 2).requires_grad_()
    y = spectral_filter(torch.randn(1, 4, 5, 14), weight, torch.zeros(4, 5, 8, 2))
    with torch.no_grad():
        weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
