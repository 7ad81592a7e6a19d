"""The scan that makes step, B and C itself, against the same in float64, forward and every gradient."""

from __future__ import annotations

import pytest
import torch

from medssm_monai.ops import projected_scan, use_backend
from medssm_monai.ops.backends.native import projected


def arguments(batch, length, channels, states, groups, bias=True):
    torch.manual_seed(0)
    return {
        "u": torch.randn(batch, length, channels),
        "step": torch.randn(groups, channels, channels) / channels**0.5,
        "weights": torch.randn(groups, 2 * states, channels) / channels**0.5,
        "A": -torch.rand(groups, channels, states) * 8,
        "D": torch.randn(groups, channels) if bias else None,
        "delta_bias": torch.randn(groups, channels) - 3 if bias else None,
    }


def outcome(given, gradient, **options):
    leaves = {k: None if x is None else x.detach().to(gradient.dtype).requires_grad_() for k, x in given.items()}
    y = projected_scan(**leaves, **options)
    wanted = [x for x in leaves.values() if x is not None]
    return [y.detach(), *torch.autograd.grad(y, wanted, gradient)]


@pytest.fixture
def kernel_runs(monkeypatch):
    runs: list[int] = []
    scan = projected.scan_projected
    monkeypatch.setattr(projected, "scan_projected", lambda *args: (runs.append(1), scan(*args))[1])
    return runs


@pytest.mark.parametrize("discretization", ["euler", "zoh"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize(
    ("batch", "length", "channels", "states", "groups"),
    [(2, 64, 8, 32, 2), (1, 150, 3, 5, 2), (3, 65, 16, 4, 1), (1, 1024, 1, 32, 4), (2, 129, 24, 12, 2)]
    + [(2, 16, 128, 32, 2), (1, 1, 5, 3, 2)],
)
def test_values_and_gradients(batch, length, channels, states, groups, ordered, bias, discretization, kernel_runs):
    given = arguments(batch, length, channels, states, groups, bias)
    order = torch.stack([torch.randperm(length) for _ in range(groups)]) if ordered else None
    options = {"order": order, "discretization": discretization}
    gradient = torch.randn(batch, length, groups, channels)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        got = outcome(given, gradient, **options)
    finally:
        torch.set_num_threads(threads)
    assert kernel_runs
    expected = outcome(given, gradient.double(), **options)
    for a, b in zip(got, expected, strict=True):
        assert (a - b).norm() <= 1e-5 * b.norm() + 1e-7
    with torch.no_grad():
        torch.set_num_threads(1)
        try:
            assert torch.equal(projected_scan(**given, **options), got[0])
        finally:
            torch.set_num_threads(threads)


def test_many_channels_and_other_backends_write_b_and_c(kernel_runs):
    given = arguments(1, 16, 136, 4, 2)
    wide = projected_scan(**given)
    long = arguments(1, 64, 8, 4, 2)
    with use_backend("blocked"):
        expected = projected_scan(**long)
    assert not kernel_runs
    assert wide.shape == (1, 16, 2, 136)
    torch.testing.assert_close(projected_scan(**long), expected, rtol=1e-4, atol=1e-5)


def test_only_wanted_gradients_come_back():
    given = arguments(2, 64, 8, 4, 2)
    given["weights"].requires_grad_()
    projected_scan(**given).sum().backward()
    assert given["weights"].grad is not None
    assert given["u"].grad is None


def test_an_order_outside_the_sequence_is_refused():
    given = arguments(2, 64, 8, 4, 2)
    order = torch.arange(64).repeat(2, 1)
    order[1, 3] = 64
    with pytest.raises(ValueError, match=r"positions 0\.\.63"):
        projected_scan(**given, order=order)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"order": torch.arange(32).repeat(2, 1)}, "L = 64"),
        ({"discretization": "nonsense"}, "unknown discretization"),
        ({"weights": torch.zeros(2, 4, 8)}, "weights must have shape"),
        ({"D": torch.zeros(8)}, "D must have shape"),
        ({"u": torch.zeros(2, 64, 7)}, "u must have shape"),
    ],
)
def test_shapes_that_do_not_fit_are_named(change, words):
    with pytest.raises(ValueError, match=words):
        projected_scan(**{**arguments(2, 64, 8, 4, 2), **change})


def test_one_order_for_all_directions():
    given, order = arguments(2, 64, 8, 4, 2), torch.randperm(64)
    assert torch.equal(projected_scan(**given, order=order), projected_scan(**given, order=order.repeat(2, 1)))


def test_inference_mode_first_and_training_later():
    given, order = arguments(2, 64, 8, 4, 2), torch.randperm(64)
    with torch.inference_mode():
        projected_scan(**given, order=order)
    given["u"].requires_grad_()
    projected_scan(**given, order=order).sum().backward()
    assert given["u"].grad is not None


@pytest.mark.parametrize("name", ["step", "weights", "A", "D", "delta_bias"])
def test_a_parameter_changed_before_the_backward_pass_is_noticed(name):
    given = {key: x.requires_grad_() for key, x in arguments(2, 16, 8, 4, 2).items()}
    y = projected_scan(**given)
    with torch.no_grad():
        given[name].mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
