"""What only the compiled CPU backend promises: threads, fork, determinism, memory, its cache."""

from __future__ import annotations

import multiprocessing
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor

from medssm_monai.ops import backend_for, selective_scan, warm_up

from .scan_cases import Case, errors, expected, run, usable

pytestmark = pytest.mark.skipif(usable("native") is not None, reason=f"native backend: {usable('native')}")

FULL = {"skip": True, "gate": True, "bias": True, "softplus": True}


@pytest.fixture
def many_threads(monkeypatch: pytest.MonkeyPatch):
    """Split even the smallest scan over the threads that torch is told to use."""
    from medssm_monai.ops.backends.native import thread_pool

    monkeypatch.setattr(thread_pool, "_WORK_PER_THREAD", 1)
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def arguments(batch: int = 1, channels: int = 32, length: int = 300, states: int = 8) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(batch, channels, length, generator=generator)
    delta = torch.rand(batch, channels, length, generator=generator)
    A = -torch.rand(channels, states, generator=generator)
    B, C = (torch.randn(batch, states, length, generator=generator) for _ in range(2))
    return [u, delta, A, B, C]


def forward_and_gradients(args: list[Tensor]) -> list[Tensor]:
    leaves = [x.clone().requires_grad_() for x in args]
    y = selective_scan(*leaves, backend="native")
    return [y.detach(), *torch.autograd.grad(y.square().sum(), leaves)]


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize(
    "case",
    [
        Case(batch=1, channels=16, length=150, states=32, **FULL),  # one block of channels: the state is split
        Case(batch=1, channels=8, length=150, states=18, constant_C=True, discretization="zoh", **FULL),
        Case(batch=1, channels=150, length=150, states=8, **FULL),  # chunks of unequal size
        Case(batch=3, channels=40, length=150, states=6, groups=2, order="shuffled", **FULL),
    ],
    ids=str,
)
def test_any_number_of_threads_gives_the_oracle(many_threads, case: Case, threads: int) -> None:
    many_threads(threads)
    for name, error in errors(run(case, "native", torch.float32), expected(case)).items():
        assert error <= 1e-5, (name, error)


@pytest.mark.parametrize("threads", [2, 5])
def test_bit_identical_from_run_to_run(many_threads, threads: int) -> None:
    many_threads(threads)
    args = arguments(batch=2, channels=70)
    first = forward_and_gradients(args)
    for _ in range(5):
        assert all(torch.equal(a, b) for a, b in zip(forward_and_gradients(args), first, strict=True))


def test_several_python_threads_at_once(many_threads) -> None:
    many_threads(3)
    arg_sets = [arguments(channels=32 + 16 * i) for i in range(4)]
    alone = [forward_and_gradients(args) for args in arg_sets]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(forward_and_gradients, arg_sets * 8))
    for i, result in enumerate(together):
        assert all(torch.equal(a, b) for a, b in zip(result, alone[i % 4], strict=True))


def _child(queue) -> None:
    torch.set_num_threads(2)
    queue.put([x.numpy() for x in forward_and_gradients(arguments())])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_after_fork(many_threads) -> None:
    """A data loader's workers are forked from a process whose thread pool is warm."""
    many_threads(2)
    parent = forward_and_gradients(arguments())
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_child, args=(queue,))
    child.start()
    results = queue.get(timeout=60)
    child.join(timeout=60)
    assert child.exitcode == 0
    for a, b in zip(results, parent, strict=True):
        torch.testing.assert_close(torch.from_numpy(a), b, rtol=1e-5, atol=1e-5)


def test_nan_and_infinity_come_through() -> None:
    args = arguments(length=100)
    args[0][0, 3, 50] = float("nan")
    y = selective_scan(*args, backend="native")
    assert y[0, 3, 50:].isnan().all()
    assert not y[0, 3, :50].isnan().any()
    assert not y[0, 4].isnan().any()
    args = arguments(length=100)
    args[2][5] = 300.0
    assert not selective_scan(*args, backend="native")[0, 5].isfinite().all()


@pytest.mark.parametrize("largest_step", [1e-3, 1e-2, 1e-1, 1.0])
@pytest.mark.parametrize("length", [1, 4, 64, 100])
def test_gradient_of_the_hold_for_small_steps(length: int, largest_step: float) -> None:
    """The derivative of ``(exp(delta A) - 1) / A`` by ``A`` cancels for small steps, most where the past is short."""
    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).double()

    steps = largest_step * (0.1 + 0.9 * torch.rand(1, 8, length, generator=generator)).double()
    args = [normal(1, 8, length), steps.float().double(), -torch.arange(1.0, 17).repeat(8, 1).double()]
    args += [normal(1, 16, length), normal(1, 16, length)]
    dy = normal(1, 8, length)

    def loop(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
        h, y = torch.zeros(1, 8, 16, dtype=torch.float64), []
        for t in range(length):
            x = delta[:, :, t, None] * A
            h = x.exp() * h + torch.expm1(x) / A * B[:, None, :, t] * u[:, :, t, None]
            y.append((h * C[:, None, :, t]).sum(-1))
        return torch.stack(y, -1)

    def gradients(function, dtype: torch.dtype) -> tuple[Tensor, ...]:
        leaves = [x.to(dtype).requires_grad_() for x in args]
        return torch.autograd.grad(function(*leaves), leaves, dy.to(dtype))

    ours = gradients(lambda *x: selective_scan(*x, discretization="zoh", backend="native"), torch.float32)
    for name, x, y in zip(("u", "delta", "A", "B", "C"), ours, gradients(loop, torch.float64), strict=True):
        error = (x.double() - y).norm(dim=-1) / y.norm(dim=-1).mean()
        assert error.max() <= 5e-6, (name, error.max())


def test_cost_grows_linearly_with_length() -> None:
    """Eight times the length: eight times the time, and something for memory that no cache holds."""

    def cpu_seconds(length: int) -> float:
        args = arguments(channels=16, length=length, states=32)
        times = []
        for _ in range(7):
            start = time.process_time()
            selective_scan(*args, backend="native")
            times.append(time.process_time() - start)
        return min(times)

    assert cpu_seconds(1 << 17) / cpu_seconds(1 << 14) <= 12  # a quadratic cost would give 64


def test_memory_grows_linearly_and_holds_no_state_per_token() -> None:
    """Peak memory of a child process that scans (64, 32768, 16); one float32 state per token would be 128 MiB."""
    code = """
import resource, sys, torch
from medssm_monai.ops import selective_scan
torch.set_num_threads(2)
def scan(length):
    g = [torch.rand(1, 64, length), torch.rand(1, 64, length), -torch.rand(64, 16), torch.rand(1, 16, length),
         torch.rand(1, 16, length)]
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    leaves = [x.requires_grad_() for x in g]
    selective_scan(*leaves, backend="native").sum().backward()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base
scan(64)
print(scan(32768) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) <= 70


@pytest.mark.parametrize("position", [-1, 300])
def test_positions_outside_the_sequence_are_errors(position: int) -> None:
    order = torch.arange(300)
    order[7] = position
    with pytest.raises(ValueError, match=r"order must hold positions 0\.\.299"):
        selective_scan(*arguments(), order=order, backend="native")


def test_a_table_that_changes_is_read_and_checked_anew() -> None:
    args, order = arguments(), torch.arange(300)
    forwards = selective_scan(*args, order=order, backend="native")
    order.copy_(torch.arange(299, -1, -1))
    backwards = selective_scan(*args, order=order, backend="native")
    torch.testing.assert_close(backwards, selective_scan(*args, order=order.clone(), backend="reference"))
    assert not torch.allclose(backwards, forwards)
    order[3] = 300
    with pytest.raises(ValueError, match=r"order must hold positions 0\.\.299"):
        selective_scan(*args, order=order, backend="native")


@pytest.mark.parametrize("discretization", ["euler", "zoh"])
@pytest.mark.parametrize("step", [1e-4, 1.0, 30.0, 1e4], ids=str)
def test_steps_of_any_size(step: float, discretization: str) -> None:
    """Where a tile holds exponents that need bounds, and where it does not."""
    args = arguments(channels=20, length=200)
    args[1][0, 3] *= step
    args[1][0, 7, 100] = step

    def results(backend: str) -> list[Tensor]:
        leaves = [x.clone().requires_grad_() for x in args]
        y = selective_scan(*leaves, discretization=discretization, backend=backend)
        return [y, *torch.autograd.grad(y.square().sum().log(), leaves)]

    for result, wanted in zip(results("native"), results("reference"), strict=True):
        torch.testing.assert_close(result / wanted.abs().max(), wanted / wanted.abs().max(), rtol=1e-4, atol=1e-5)


def test_modes_and_the_profiler_see_the_operator() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    args = arguments()
    with FlopCounterMode(display=False), torch.profiler.profile() as profile:
        selective_scan(*args, backend="native")
    assert any(event.key == "medssm::native_scan" for event in profile.key_averages())
    with torch.profiler.profile() as profile:
        selective_scan(*args, backend="native")
    assert any(event.key == "medssm::native_scan" for event in profile.key_averages())


def test_gradients_of_gradients_are_refused() -> None:
    leaves = [x.requires_grad_() for x in arguments()]
    for loss in (torch.sum, lambda y: y.square().sum()):
        with pytest.raises(RuntimeError, match="create_graph=True"):
            torch.autograd.grad(loss(selective_scan(*leaves, backend="native")), leaves[0], create_graph=True)


COMPILE = """
import torch
from medssm_monai.ops import selective_scan
x = torch.ones(1, 16, 8)
print(selective_scan(x, x, -torch.ones(16, 4), torch.ones(1, 4, 8), torch.ones(1, 4, 8), backend="native").shape)
"""


def test_first_compilation_is_announced_in_plain_python_and_kept(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    first, second = (
        subprocess.run([sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True, check=True)
        for _ in range(2)
    )
    assert first.stderr.count("compiling") == 1
    assert re.search(r"compiling the selective scan \(forward pass\) .*, about \d+ s", first.stderr)
    assert str(tmp_path) in first.stderr
    assert "compiling" not in second.stderr
    assert list(tmp_path.rglob("*.nbi"))


def test_warm_up_compiles_both_passes_and_says_where() -> None:
    """With the cache that the other tests use, so that nothing is compiled a second time."""
    if backend_for(torch.empty(1)) != "native":
        pytest.skip("another backend serves the CPU here")
    command = [sys.executable, "-m", "medssm_monai.ops.warm_up"]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "cpu: backend native is ready" in done.stdout
    folder = Path(re.search(r"kept in (.+)", done.stdout)[1])
    assert {path.name.split(".")[1].split("-")[0] for path in folder.rglob("*.nbi")} >= {
        "forward_units",
        "backward_units",
        "add_units",
        "copy_units",
        "depthwise_units",
        "spectral_units",
        "tokenwise_units",
        "sums_units",
    }


def test_warm_up_without_a_place_to_keep_the_result(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(warm_up, "_kept_in", lambda: None)
    monkeypatch.setattr(warm_up, "warm_up", lambda device: "native")
    assert warm_up.main([]) == 1
    assert "NUMBA_CACHE_DIR" in capsys.readouterr().out


def test_cache_directory_when_the_package_is_read_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from medssm_monai.ops.backends.native import compile as compiling
    from medssm_monai.ops.backends.native import forward

    package = Path(compiling.__file__).parent
    monkeypatch.setattr(compiling.numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(compiling, "user_cache", lambda: tmp_path)
    real = compiling.is_writable
    monkeypatch.setattr(compiling, "is_writable", lambda d: package not in d.parents and real(d))
    assert compiling.cache_directory().is_relative_to(tmp_path)
    monkeypatch.setattr(compiling, "user_cache", lambda: None)
    assert compiling.cache_directory() is None
    assert callable(compiling._compile(forward.forward_units))  # works without a cache too
