"""The adapter to ``mamba-ssm``: against a stub of its function, and against the package where it is installed."""

from __future__ import annotations

import dataclasses
import sys
from types import ModuleType

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from medssm_monai.ops import selective_scan
from medssm_monai.ops.backends import BACKENDS, Request

from .scan_cases import Case, errors, make_inputs, usable
from .test_selective_scan import FORWARD, GRADIENT, OPTIONS

CASES = [Case(**options) for options in OPTIONS]
CASES += [Case(batch=1, channels=48, length=20, states=5, groups=3, **options) for options in OPTIONS]
FULL = {"skip": True, "gate": True, "bias": True, "softplus": True}


class StubScan(torch.autograd.Function):
    """Stands in for ``SelectiveScanFn``: the formula in a loop, and like it no gradient of the last state."""

    @staticmethod
    def forward(ctx, softplus: bool, u, delta, A, B, C, D, z, bias):
        ctx.save_for_backward(u, delta, A, B, C, D, z, bias)
        ctx.softplus = softplus
        return formula(u, delta, A, B, C, D, z, bias, softplus)

    @staticmethod
    def backward(ctx, dout, _dlast):
        leaves = [None if x is None else x.detach().requires_grad_() for x in ctx.saved_tensors]
        with torch.enable_grad():
            out, _ = formula(*leaves, ctx.softplus)
        grads = iter(torch.autograd.grad(out, [x for x in leaves if x is not None], dout))
        return (None, *(None if x is None else next(grads) for x in leaves))


def formula(u, delta, A, B, C, D, z, bias, softplus: bool) -> tuple[Tensor, Tensor]:
    """Euler's rule in float32, shapes as the package documents them."""
    step = delta.float() if bias is None else delta.float() + bias[:, None]
    step = F.softplus(step) if softplus else step
    rows = u.shape[1]

    def at(x: Tensor, t: int) -> Tensor:
        x = x.float()
        return x if x.dim() == 2 else x.repeat_interleave(rows // x.shape[1], 1)[..., t]

    h = torch.zeros(*u.shape[:2], A.shape[1], device=u.device)
    outputs = []
    for t in range(u.shape[-1]):
        d = step[..., t, None]
        h = torch.exp(d * A) * h + d * at(B, t) * u[..., t, None].float()
        outputs.append((h * at(C, t)).sum(-1))
    y = torch.stack(outputs, -1)
    y = y if D is None else y + D[:, None] * u.float()
    y = y if z is None else y * F.silu(z.float())
    return y.to(u.dtype), h


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """A stub package with the checks of the real one's compiled function; gives the arguments of each call."""
    calls: list[tuple] = []

    def selective_scan_fn(
        u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False, return_last_state=False
    ):
        calls.append((u, delta, A, B, C, D, z, delta_bias, delta_softplus, return_last_state))
        assert u.dim() == 3 and A.shape[0] == u.shape[1] and u.shape == delta.shape
        assert all(x is None or x.dtype == u.dtype for x in (delta, z))
        assert all(x is None or x.dtype == torch.float32 for x in (A, D, delta_bias))
        for x in (B, C):
            assert x.dtype == (u.dtype if x.dim() == 4 else torch.float32)
            assert x.shape == A.shape if x.dim() == 2 else u.shape[1] % x.shape[1] == 0
        return StubScan.apply(delta_softplus, u, delta, A, B, C, D, z, delta_bias)

    names = ("mamba_ssm", "mamba_ssm.ops", "mamba_ssm.ops.selective_scan_interface")
    for name in names:
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules[names[-1]].selective_scan_fn = selective_scan_fn
    serves = dataclasses.replace(BACKENDS["mamba_ssm"], missing=None, devices=frozenset({"cpu"}))
    monkeypatch.setitem(BACKENDS, "mamba_ssm", serves)
    return calls


def without_state(case: Case, backend: str | None, dtype: torch.dtype, device: str = "cpu") -> dict[str, Tensor]:
    """Output and the gradients of a function of it; the package has none of the last state."""
    inputs, order = make_inputs(case)
    leaves = {
        name: x.to(device, torch.float32 if name in ("A", "D", "delta_bias") and dtype != torch.float64 else dtype)
        .detach()
        .requires_grad_()
        for name, x in inputs.items()
        if x is not None
    }
    given = [leaves.get(name) for name in inputs]
    order = None if order is None else order.to(device)
    y, state = selective_scan(*given, case.softplus, True, order=order, backend=backend)
    dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(y)
    grads = torch.autograd.grad(y, leaves.values(), dy)
    found = {"y": y.detach(), "state": state.detach()} | {f"d{n}": g for n, g in zip(leaves, grads, strict=True)}
    return {name: x.cpu() for name, x in found.items()}


def check(case: Case, device: str = "cpu") -> None:
    exact = without_state(case, "reference", torch.float64)
    for name, error in errors(without_state(case, "mamba_ssm", torch.float32, device), exact).items():
        assert error <= (FORWARD if name in ("y", "state") else GRADIENT), (name, error)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_arguments_and_results_pass_through_the_adapter(stub: list[tuple], case: Case) -> None:
    check(case)
    (call,) = stub
    assert call[0].shape == (case.batch, case.channels, case.length)
    assert call[2].shape == (case.channels, case.states)
    assert [x is None for x in call[5:8]] == [not case.skip, not case.gate, not case.bias]
    assert call[8:] == (case.softplus, True)
    for x, constant in ((call[3], case.constant_B), (call[4], case.constant_C)):
        varying = (case.batch, case.groups, case.states, case.length)
        assert x.shape == ((case.channels, case.states) if constant else varying)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precisions_reach_the_kernel_as_they_are(stub: list[tuple], dtype: torch.dtype) -> None:
    case = Case(**FULL)
    result = without_state(case, "mamba_ssm", dtype)
    assert result["y"].dtype == dtype
    assert result["state"].dtype == torch.float32
    assert {stub[0][i].dtype for i in (0, 1, 3, 4, 6)} == {dtype}
    for name, error in errors(result, without_state(case, "reference", torch.float64)).items():
        assert error <= 2e-2, (name, error)


def test_mixed_dtypes_take_that_of_u(stub: list[tuple]) -> None:
    inputs, _ = make_inputs(Case())
    args = [x.float() for x in inputs.values() if x is not None]
    selective_scan(args[0].bfloat16(), *args[1:], backend="mamba_ssm")
    assert [x.dtype for x in stub[0][:5]] == [torch.bfloat16, torch.bfloat16, torch.float32] + [torch.bfloat16] * 2


def test_a_gradient_of_the_last_state_is_an_error(stub: list[tuple]) -> None:
    inputs, _ = make_inputs(Case())
    args = [x.float().requires_grad_() for x in inputs.values() if x is not None]
    _, state = selective_scan(*args, return_last_state=True, backend="mamba_ssm")
    with pytest.raises(RuntimeError, match="no gradient of the last state; use another scan backend"):
        state.sum().backward()


def test_what_the_kernel_cannot_do_is_refused(stub: list[tuple]) -> None:
    inputs, _ = make_inputs(Case())
    args = [x.float() for x in inputs.values() if x is not None]
    with pytest.raises(RuntimeError, match="'mamba_ssm' was asked for .* discretizations \\['euler'\\], not 'zoh'"):
        selective_scan(*args, discretization="zoh", backend="mamba_ssm")
    with pytest.raises(RuntimeError, match="float64"):
        selective_scan(*(x.double() for x in args), backend="mamba_ssm")
    many, _ = make_inputs(Case(batch=1, channels=2, length=2, states=257))
    with pytest.raises(ValueError, match="at most 256 states, got 257"):
        selective_scan(*(x.float() for x in many.values() if x is not None), backend="mamba_ssm")
    assert stub == []


def test_a_package_that_does_not_import_is_named(stub: list[tuple], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(sys.modules["mamba_ssm.ops.selective_scan_interface"], "selective_scan_fn")
    inputs, _ = make_inputs(Case())
    with pytest.raises(RuntimeError, match="'mamba_ssm' is installed but cannot be imported"):
        selective_scan(*(x.float() for x in inputs.values() if x is not None), backend="mamba_ssm")


def test_declared_for_cuda_only_after_triton() -> None:
    backend = BACKENDS["mamba_ssm"]
    assert "runs on ['cuda']" in backend.refuses(Request("cpu", torch.float32), by_name=True)
    assert "not 'zoh'" in backend.refuses(Request("cuda", torch.float32, discretization="zoh"))
    assert backend.refuses(Request("cuda", torch.float32)) == backend.missing
    assert list(BACKENDS).index("triton") < list(BACKENDS).index("mamba_ssm") < list(BACKENDS).index("blocked")


@pytest.mark.skipif(usable("mamba_ssm") is not None, reason=f"mamba_ssm backend: {usable('mamba_ssm')}")
@pytest.mark.skipif(not torch.cuda.is_available(), reason="mamba-ssm's kernel needs a GPU")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_real_package(case: Case) -> None:
    check(case, "cuda")
