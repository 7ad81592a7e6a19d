"""What the Triton backend computes: on a GPU where there is one, else through Triton's interpreter.

Not collected by itself: :mod:`.test_triton` runs it in a process of its own, since ``TRITON_INTERPRET=1`` must be set
before Triton is first imported. The default set takes each option in one case, the integration tests take every case.
By hand::

    TRITON_INTERPRET=1 python -m pytest tests/ops/triton_kernels.py -m "integration or not integration"
"""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from medssm_monai.ops import backend_for, selective_scan, use_backend
from medssm_monai.ops.arguments import ScanArguments
from medssm_monai.ops.backends.triton import launch
from medssm_monai.ops.backends.triton.maths import exp, hold, hold_slope, sigmoid, softplus
from medssm_monai.ops.backends.triton.operator import scan_forward

from .scan_cases import Case, errors, expected, make_inputs, run
from .test_selective_scan import FORWARD, GRADIENT, OPTIONS

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
FULL = {"skip": True, "gate": True, "bias": True, "softplus": True}
ODD = {"batch": 1, "channels": 10, "length": 35, "states": 3, "groups": 2}  # no whole tile, no whole block
CASES = [Case(**ODD, **options, discretization=("zoh", "euler")[i % 2]) for i, options in enumerate(OPTIONS)]
CASES += [Case(length=1, **FULL, discretization=rule) for rule in ("euler", "zoh")]
EVEN_CASES = [Case(**options, discretization=rule) for options in OPTIONS for rule in ("euler", "zoh")]

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of branches that tl.where drops


def scan_by_slices(self, inputs: tuple) -> list:
    """The interpreter's scan, which walks over single numbers, walking over slices: the same steps, fewer of them."""
    arrays = [np.moveaxis(x.handle.data, self.axis, 0) for x in inputs]
    results = [x.copy() for x in arrays]
    for i in range(1, len(arrays[0])):
        step = self.combine_fn.fn(*(x[i - 1] for x in results), *(x[i] for x in arrays))
        for result, value in zip(results, step, strict=True):
            result[i] = value
    moved = (np.ascontiguousarray(np.moveaxis(x, 0, self.axis)) for x in results)
    return [self.to_tensor(x, given.dtype) for x, given in zip(moved, inputs, strict=True)]


@pytest.fixture(autouse=True)
def quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if INTERPRETED and "unhurried" not in request.fixturenames:
        from triton.runtime.interpreter import ScanOps

        monkeypatch.setattr(ScanOps, "generic_scan", scan_by_slices)


@pytest.fixture
def unhurried() -> None:
    """The interpreter as it is."""


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "TILE_TOKENS", 16)
    monkeypatch.setattr(launch, "TILE_CHANNELS", 4)


def check(case: Case, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    result = run(case, "triton", dtype, device=DEVICE)
    for name, error in errors(result, expected(case)).items():
        assert error <= (FORWARD if name in ("y", "state") else GRADIENT), (name, error)
    return result


every_case = pytest.mark.integration


@pytest.mark.parametrize("case", [*CASES, *(pytest.param(case, marks=every_case) for case in EVEN_CASES)], ids=str)
def test_equals_the_oracle(case: Case, small_tiles: None) -> None:
    check(case)


@pytest.mark.parametrize(
    "case",
    [
        Case(batch=1, channels=1, states=1, length=2),
        Case(batch=1, channels=20, length=70, states=17, groups=2, order="shuffled", **FULL),
        Case(batch=2, channels=33, length=64, states=2, discretization="zoh", **FULL),  # three blocks of channels
    ],
    ids=str,
)
def test_equals_the_oracle_with_tiles_as_on_a_gpu(case: Case) -> None:
    check(case)


def test_the_interpreter_as_it_is_agrees(unhurried: None, small_tiles: None) -> None:
    check(Case(batch=1, channels=2, length=18, states=2, order="reversed"))


@pytest.mark.parametrize(
    "programs",
    [
        pytest.param(1, id="one span", marks=every_case),
        pytest.param(8, id="unequal spans"),
        pytest.param(10**6, id="a span per tile", marks=every_case),
    ],
)
@pytest.mark.parametrize(
    "case",
    [
        Case(batch=1, channels=4, length=75, states=2, groups=2, order="shuffled", **FULL),
        Case(batch=2, channels=4, length=75, states=2, discretization="zoh", **FULL),
        Case(batch=1, channels=4, length=75, states=3, constant_B=True, constant_C=True, discretization="zoh"),
        Case(batch=1, channels=4, length=80, states=3, gate=True, layout="channel last"),
    ],
    ids=str,
)
def test_splitting_the_tokens_changes_nothing(
    case: Case, programs: int, small_tiles: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "_programs_wanted", lambda device: programs)
    check(case)


def test_few_programs_split_the_tokens_and_many_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "_programs_wanted", lambda device: 500)
    spans = {}
    for channels in (16, 4000, 16000):
        u = torch.empty(1, 2, channels, 1000, device="meta")
        args = ScanArguments(u, u, u.new_empty(2, channels, 16), u, u, None, None, None, None, False, "euler")
        sizes = launch._sizes(args, launch.tiling(channels, 1000, 16))
        spans[channels] = sizes.spans
        assert (sizes.spans - 1) * sizes.per_span < sizes.tiles <= sizes.spans * sizes.per_span  # no span is empty
    assert spans == {16: 16, 4000: 1, 16000: 1}


@pytest.mark.parametrize(("dtype", "bound"), [(torch.bfloat16, 2e-2), (torch.float16, 2e-3)])
@pytest.mark.parametrize("order", ["", "shuffled"])
def test_half_precisions_keep_a_float32_state(dtype: torch.dtype, bound: float, order: str) -> None:
    """Tolerance relative to the largest value of each tensor, against the oracle on unrounded inputs."""
    case = Case(batch=1, channels=10, length=50, states=4, order=order, **FULL)
    result = run(case, "triton", dtype, device=DEVICE)
    kinds = {name: x.dtype for name, x in result.items()}
    assert {kinds[name] for name in ("y", "du", "ddelta", "dB", "dC", "dz")} == {dtype}
    assert {kinds[name] for name in ("state", "dA", "dD", "ddelta_bias")} == {torch.float32}
    for name, error in errors(result, expected(case)).items():
        assert error <= bound, (name, error)


@pytest.mark.parametrize("programs", [1, 10**6])
@pytest.mark.parametrize("discretization", ["euler", "zoh"])
def test_small_and_large_steps_stay_exact(
    discretization: str, programs: int, small_tiles: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps from 1e-6 (where exp(x) - 1 cancels) to 1e3 (where exp underflows), and an A of exactly 0."""
    monkeypatch.setattr(launch, "_programs_wanted", lambda device: programs)
    inputs, _ = make_inputs(Case(batch=1, channels=8, length=40))
    inputs["delta"] = torch.logspace(-6, 3, 320, dtype=torch.float64).view(1, 8, 40)
    inputs["A"][:, 0] = 0
    args = [x for x in inputs.values() if x is not None]

    def with_gradients(args: list[Tensor], backend: str) -> list[Tensor]:
        leaves = [x.detach().requires_grad_() for x in args]
        y = selective_scan(*leaves, discretization=discretization, backend=backend)
        return [y, *torch.autograd.grad((y / y.detach().abs().amax(-1, keepdim=True)).sum(), leaves)]

    exact = with_gradients(args, "reference")
    result = [x.cpu() for x in with_gradients([x.float().to(DEVICE) for x in args], "triton")]
    assert ((result[0] - exact[0]).abs() / exact[0].abs().amax(-1, keepdim=True)).max() <= 2e-6
    for value, other in zip(result[1:], exact[1:], strict=True):
        assert ((value - other).abs().max() / other.abs().max()) <= GRADIENT


def test_same_bits_from_run_to_run(small_tiles: None) -> None:
    case = Case(batch=1, channels=10, length=20, states=2, **FULL)
    first, second = (run(case, "triton", torch.float32, device=DEVICE) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_nothing_of_batch_channels_tokens_states_is_stored() -> None:
    sizes = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            sizes.extend(x.nbytes for x in (out if isinstance(out, list | tuple) else [out]) if torch.is_tensor(x))
            return out

    batch, channels, length, states = 1, 16, 128, 16
    u, delta = (torch.rand(batch, 1, channels, length, device=DEVICE) for _ in range(2))
    B, C = (torch.rand(batch, 1, states, length, device=DEVICE) for _ in range(2))
    A = -torch.rand(1, channels, states, device=DEVICE)
    args = ScanArguments(u, delta, A, B, C, None, None, None, None, False, "euler")
    with Watch():
        out, last, bounds = launch.run_forward(args, True)
        launch.run_backward(args, out, last, bounds)
    assert max(sizes) == u.nbytes  # 1/16 of (B, E, L, N)


def test_only_gradients_that_are_wanted_come_back() -> None:
    u, delta, B, C = (torch.rand(1, 4, 20, device=DEVICE) for _ in range(4))
    A = -torch.rand(4, 4, device=DEVICE)
    u.requires_grad_()
    y, state = selective_scan(u, delta, A, B, C, None, None, None, False, True, backend="triton")
    (from_state,) = torch.autograd.grad(state.sum(), u, retain_graph=True)
    assert from_state.abs().max() > 0
    y.sum().backward()
    assert u.grad is not None
    assert all(x.grad is None for x in (delta, A, B, C))
    with torch.no_grad():
        assert torch.equal(selective_scan(u, delta, A, B, C, backend="triton"), y)


def test_inference_keeps_no_states_and_gives_no_gradient() -> None:
    u, delta, B, C = (torch.rand(1, 1, 4, 20, device=DEVICE) for _ in range(4))
    A = -torch.rand(1, 4, 4, device=DEVICE)
    assert scan_forward(u, delta, A, B, C, None, None, None, None, False, "euler", False)[2].numel() == 0
    with pytest.raises(RuntimeError, match="save=False"):
        scan_forward(u.requires_grad_(), delta, A, B, C, None, None, None, None, False, "euler", False)


def test_operator_registration_is_sound() -> None:
    case = Case(channels=4, groups=2, length=18, states=3, order="shuffled", **FULL)
    inputs, order = make_inputs(case)
    u, delta, z = (inputs[k].float().view(2, 2, 2, 18).to(DEVICE) for k in ("u", "delta", "z"))
    A = inputs["A"].float().view(2, 2, 3).to(DEVICE)
    D, bias = (inputs[k].float().view(2, 2).to(DEVICE) for k in ("D", "delta_bias"))
    B, C = (inputs[k].float().to(DEVICE) for k in ("B", "C"))
    order = order.int().to(DEVICE)
    leaves = [x.requires_grad_() for x in (u, delta, A, B, C, D, z, bias)]
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(scan_forward, (*leaves, order, True, "zoh", True), test_utils=tests)


@every_case
def test_compile_without_graph_breaks_and_with_gradients() -> None:
    inputs, order = make_inputs(Case(channels=4, length=18, groups=2, states=3, order="reversed", **FULL))
    leaves = [x.float().to(DEVICE).requires_grad_() for x in inputs.values()]
    order = order.to(DEVICE)

    def loss(*args: Tensor) -> Tensor:
        y, state = selective_scan(*args, True, True, order=order)
        return y.mean() + state.square().mean()

    with use_backend("triton"):
        eager = torch.autograd.grad(loss(*leaves), leaves)
        compiled = torch.autograd.grad(torch.compile(loss, backend="aot_eager", fullgraph=True)(*leaves), leaves)
    for a, b in zip(compiled, eager, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(not INTERPRETED, reason="the tests run on a GPU, not in the interpreter")
def test_the_interpreter_is_never_chosen_by_itself() -> None:
    assert backend_for(torch.zeros(1)) != "triton"
    assert backend_for(torch.zeros(1), backend="triton") == "triton"


@triton.jit
def evaluate(x, results, COUNT: tl.constexpr):
    """Every function of one number at ``COUNT`` places."""
    where = tl.arange(0, COUNT)
    inside = where < COUNT
    value = tl.load(x + where, mask=inside, other=0.0)
    decay = exp(value)
    tl.store(results + where, decay, mask=inside)
    tl.store(results + COUNT + where, sigmoid(value), mask=inside)
    tl.store(results + 2 * COUNT + where, softplus(value), mask=inside)
    tl.store(results + 3 * COUNT + where, hold(value, decay), mask=inside)
    tl.store(results + 4 * COUNT + where, hold_slope(value, decay), mask=inside)


def test_functions_of_one_number_are_accurate_everywhere() -> None:
    """Relative error 2e-6 from -20 to 8, around 0 and where series and closed form meet; float64 as the yardstick."""
    near = torch.tensor([1e-30, 1e-12, 1e-7, 1e-4, 1e-2, 0.4999, 0.5001])
    x = torch.cat([torch.linspace(-20, 8, 241), near, -near, torch.zeros(1)])
    results = torch.zeros(5, 256, device=DEVICE)
    evaluate[(1,)](x.to(DEVICE), results, COUNT=256)
    x = x.double()
    k = torch.arange(1, 60, dtype=torch.float64)
    series = (x[:, None] ** (k - 1) / torch.exp(torch.lgamma(k + 1))).sum(1)  # of (e^x - 1) / x
    closed = torch.expm1(x) / torch.where(x == 0, 1, x)
    slope_series = ((k - 1) * x[:, None] ** (k - 2).clamp(min=0) / torch.exp(torch.lgamma(k + 1))).sum(1)
    slope = torch.where(x.abs() < 2, slope_series, ((x - 1) * torch.exp(x) + 1) / x.square())
    exact = [x.exp(), torch.sigmoid(x), torch.log1p(x.exp()), torch.where(x.abs() < 2, series, closed), slope]
    for name, value, wanted in zip(("exp", "sigmoid", "softplus", "hold", "slope"), results.cpu(), exact, strict=True):
        assert ((value - wanted) / wanted).abs().max() <= 2e-6, name
