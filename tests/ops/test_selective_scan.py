"""Every backend against the float64 oracle, forward and every gradient."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from monai.data import MetaTensor

from medssm_monai.ops import selective_scan

from .scan_cases import Case, errors, expected, make_inputs, run, usable

FORWARD, GRADIENT = 1e-5, 1e-4  # float32, relative to the largest value
SHAPES = [
    Case(),
    Case(length=1),
    Case(batch=1, channels=1, states=1, length=2),
    Case(batch=1, channels=32, length=64, states=16),  # whole vectors, whole tiles
    Case(batch=3, channels=40, length=130, states=6, groups=2),  # nothing is a multiple of anything
    Case(batch=1, channels=48, length=200, states=17, groups=3),
]
OPTIONS = [
    {},
    {"skip": True, "gate": True, "bias": True, "softplus": True},
    {"constant_B": True, "gate": True},
    {"constant_C": True, "skip": True},
    {"constant_B": True, "constant_C": True, "softplus": True},
    {"order": "reversed", "gate": True},
    {"order": "shuffled", "layout": "channel last", "softplus": True, "bias": True},
    {"layout": "channel last", "skip": True, "gate": True},
    {"layout": "sliced", "gate": True},
]
CASES = [
    Case(**{**vars(shape), **options, "discretization": discretization})
    for shape, options, discretization in product(SHAPES, OPTIONS, ("euler", "zoh"))
]


def need(backend: str) -> None:
    reason = usable(backend)
    if reason:
        pytest.skip(reason)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("backend", ["reference", "blocked", "native"])
def test_equals_the_oracle_in_float32(backend: str, case: Case) -> None:
    need(backend)
    for name, error in errors(run(case, backend, torch.float32), expected(case)).items():
        assert error <= (FORWARD if name in ("y", "state") else GRADIENT), (name, error)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("backend", ["reference", "blocked"])
def test_equals_the_oracle_in_float64(backend: str, case: Case) -> None:
    for name, error in errors(run(case, backend, torch.float64), expected(case)).items():
        assert error <= 1e-12, (name, error)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.bfloat16, 2e-2), (torch.float16, 2e-3)])
@pytest.mark.parametrize("backend", ["reference", "blocked", "native"])
def test_half_precisions_keep_a_float32_state(backend: str, dtype: torch.dtype, bound: float) -> None:
    need(backend)
    case = Case(channels=20, length=100, states=6, skip=True, gate=True, bias=True, softplus=True)
    result = run(case, backend, dtype)
    assert result["y"].dtype == dtype
    assert result["state"].dtype == torch.float32
    assert result["du"].dtype == dtype
    assert result["dA"].dtype == torch.float32
    for name, error in errors(result, expected(case)).items():
        assert error <= bound, (name, error)


@pytest.mark.parametrize("discretization", ["euler", "zoh"])
@pytest.mark.parametrize("backend", ["reference", "blocked", "native"])
def test_small_and_large_steps_stay_exact(backend: str, discretization: str) -> None:
    """Steps from 1e-6 (where exp(x) - 1 cancels) to 1e3 (where exp underflows), and an A of exactly 0."""
    need(backend)
    inputs, _ = make_inputs(Case(batch=1, channels=8, length=40))
    inputs["delta"] = torch.logspace(-6, 3, 320, dtype=torch.float64).view(1, 8, 40)
    inputs["A"][:, 0] = 0
    args = [x for x in inputs.values() if x is not None]
    exact = selective_scan(*args, discretization=discretization, backend="reference")
    result = selective_scan(*(x.float() for x in args), discretization=discretization, backend=backend)
    error = (result - exact).abs() / exact.abs().amax(-1, keepdim=True)
    assert error.max() <= 2e-6


def test_zero_order_hold_tends_to_euler_for_small_steps() -> None:
    inputs, _ = make_inputs(Case())
    inputs["delta"] = inputs["delta"] * 1e-7
    args = [x for x in inputs.values() if x is not None]
    torch.testing.assert_close(
        selective_scan(*args, discretization="zoh"), selective_scan(*args, discretization="euler"), rtol=1e-5, atol=0
    )


@pytest.mark.parametrize("discretization", ["euler", "zoh"])
@pytest.mark.parametrize("backend", ["reference", "blocked"])
def test_gradcheck(backend: str, discretization: str) -> None:
    case = Case(batch=1, channels=4, length=7, states=2, groups=2, skip=True, gate=True, bias=True, softplus=True)
    inputs, order = make_inputs(Case(**{**vars(case), "order": "shuffled"}))
    leaves = [x.requires_grad_() for x in inputs.values()]

    def scan(*args: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return selective_scan(*args, True, True, discretization=discretization, order=order, backend=backend)

    assert torch.autograd.gradcheck(scan, leaves)


@pytest.mark.parametrize("backend", ["reference", "blocked", "native"])
def test_explicit_group_axis_is_the_same_scan(backend: str) -> None:
    need(backend)
    inputs, order = make_inputs(Case(channels=12, groups=3, order="shuffled", skip=True, gate=True, bias=True))
    flat = {name: x.float() for name, x in inputs.items()}
    grouped = dict(flat)
    for name in ("u", "delta", "z"):
        grouped[name] = flat[name].unflatten(1, (3, 4))
    for name in ("A", "D", "delta_bias"):
        grouped[name] = flat[name].unflatten(0, (3, 4))
    y, state = selective_scan(*flat.values(), False, True, order=order, backend=backend)
    y_g, state_g = selective_scan(*grouped.values(), False, True, order=order, backend=backend)
    assert y_g.shape == (2, 3, 4, 19)
    assert torch.equal(y_g.flatten(1, 2), y)
    assert torch.equal(state_g.flatten(1, 2), state)


@pytest.mark.parametrize("backend", ["reference", "blocked", "native"])
def test_directions_of_a_map_equal_scans_of_permuted_copies(backend: str) -> None:
    """Rows, rows reversed, columns, columns reversed of one channel-last map, shared by all groups without a copy."""
    need(backend)
    height, width, channels, states = 5, 7, 6, 3
    positions = torch.arange(height * width).view(height, width)
    rows, columns = positions.flatten(), positions.t().flatten()
    order = torch.stack([rows, rows.flip(0), columns, columns.flip(0)])
    generator = torch.Generator().manual_seed(3)
    image = torch.randn(2, height * width, channels, generator=generator).requires_grad_()
    u = image.transpose(1, 2)[:, None].expand(2, 4, channels, -1)
    delta = torch.rand(2, 4, channels, height * width, generator=generator)
    A = -torch.rand(4, channels, states, generator=generator)
    B, C = (torch.randn(2, 4, states, height * width, generator=generator) for _ in range(2))
    merged = selective_scan(u, delta, A, B, C, order=order, backend=backend).sum(1)
    copies = torch.zeros_like(merged)
    for g, path in enumerate(order):
        y = selective_scan(
            u[:, g, :, path], delta[:, g, :, path], A[g], B[:, g, :, path], C[:, g, :, path], backend="reference"
        )
        copies = copies + torch.empty_like(y).index_copy(-1, path, y)
    torch.testing.assert_close(merged, copies, rtol=1e-4, atol=1e-5)
    (grad,) = torch.autograd.grad(merged.square().sum(), image, retain_graph=True)
    (grad_copies,) = torch.autograd.grad(copies.square().sum(), image)
    torch.testing.assert_close(grad, grad_copies, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("backend", ["reference", "blocked", "native"])
def test_autocast_does_not_reach_the_state(backend: str) -> None:
    need(backend)
    inputs, _ = make_inputs(Case(length=60))
    args = [x.float() for x in inputs.values() if x is not None]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = selective_scan(*args, backend=backend)
    torch.testing.assert_close(inside, selective_scan(*args, backend="reference"), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", ["reference", "blocked", "native"])
def test_metatensor_goes_through_with_its_metadata(backend: str) -> None:
    need(backend)
    inputs, _ = make_inputs(Case(gate=True))
    args = [None if x is None else x.float() for x in inputs.values()]
    exact = selective_scan(*args, backend=backend)
    affine = torch.diag(torch.tensor([2.0, 3.0, 4.0, 1.0], dtype=torch.float64))
    image = MetaTensor(args[0], affine=affine).requires_grad_()
    y = selective_scan(image, *args[1:], backend=backend)
    assert isinstance(y, MetaTensor)
    assert torch.equal(y.affine, affine)
    assert torch.equal(y.as_tensor(), exact)
    y.sum().backward()
    assert image.grad.abs().sum() > 0


def test_long_sequences_are_recomputed_by_segments_with_the_same_gradient() -> None:
    case = Case(batch=1, channels=2, length=2100, states=2, groups=2, gate=True, order="shuffled")
    for name, error in errors(run(case, "blocked", torch.float64), expected(case)).items():
        assert error <= 1e-12, (name, error)
