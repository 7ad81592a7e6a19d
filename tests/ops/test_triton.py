"""The Triton backend: its kernels' results, in a process of their own, and their compilation for GPUs without a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from medssm_monai.ops import selective_scan
from medssm_monai.ops.arguments import ScanArguments
from medssm_monai.ops.backends import BACKENDS, Request
from medssm_monai.ops.backends.triton import launch

from .scan_cases import usable

REPOSITORY = Path(__file__).resolve().parents[2]
needs_triton = pytest.mark.skipif(usable("triton") is not None, reason=f"triton backend: {usable('triton')}")


@needs_triton
@pytest.mark.parametrize("chosen", ["not integration", pytest.param("integration", marks=pytest.mark.integration)])
def test_results(chosen: str) -> None:
    """Runs :mod:`.triton_kernels`, where the tests are."""
    where = {} if torch.cuda.is_available() else {"TRITON_INTERPRET": "1"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-m",
        chosen,
        "-p",
        "no:cacheprovider",
        "tests/ops/triton_kernels.py",
    ]
    done = subprocess.run(command, cwd=REPOSITORY, env={**os.environ, **where}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_only_float32_on_cuda_is_served_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    backend = BACKENDS["triton"]
    assert "runs on ['cuda']" in backend.refuses(Request("cpu", torch.float32), by_name=True)
    assert "float64" in backend.refuses(Request("cuda", torch.float64))
    assert backend.refuses(Request("cuda", torch.float32, True, discretization="zoh")) == backend.missing
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert "runs on ['cuda']" in backend.refuses(Request("cpu", torch.float32))
    assert backend.refuses(Request("cpu", torch.float32), by_name=True) == backend.missing


def test_on_cpu_tensors_the_error_says_where_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    x = torch.ones(1, 2, 3)
    with pytest.raises(RuntimeError, match="'triton' was asked for .* the tensors are on 'cpu'"):
        selective_scan(x, x, -torch.ones(2, 2), x, x, backend="triton")


class Target:
    """Stands for the driver of a GPU of one compute capability; nothing can be launched on it."""

    def __init__(self, capability: int) -> None:
        from triton.backends.compiler import GPUTarget

        self.target = GPUTarget("cuda", capability, 32)

    def get_current_device(self) -> int:
        return self.target.arch  # compiled kernels are kept per device

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self):
        return self.target


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Makes every launch a compilation for a compute capability; gives the compiled kernels by name."""
    from triton.runtime import driver
    from triton.runtime.jit import JITFunction

    kernels: dict[str, object] = {}

    def compile_only(self, grid: tuple[int, ...]):
        def launch_nothing(*args: object, **options: object) -> None:
            kernels[self.__name__] = self.warmup(*args, grid=grid, **options)

        return launch_nothing

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(JITFunction, "__getitem__", compile_only)

    def target(capability: int) -> dict[str, object]:
        kernels.clear()
        monkeypatch.setattr(driver, "_active", Target(capability))
        return kernels

    return target


def compile_all(dtype: torch.dtype, full: bool, order: bool, constant: bool, zoh: bool, last: bool) -> None:
    """Goes through one forward and one backward call."""
    groups, channels, length, states = (4 if order else 1), 24, 200, 16

    def tokens(rows: int) -> torch.Tensor:
        x = torch.zeros(1, groups, *((length, rows) if last else (rows, length)), dtype=dtype)
        return x.transpose(-1, -2) if last else x

    A, D = torch.zeros(groups, channels, states), torch.zeros(groups, channels)
    B = A if constant else tokens(states)
    table = torch.zeros(groups, length, dtype=torch.int32) if order else None
    u, optional = tokens(channels), full or None
    rule = "zoh" if zoh else "euler"
    args = ScanArguments(u, u, A, B, B, optional and D, optional and u, optional and D, table, full, rule)
    out, state, bounds = launch.run_forward(args, True)
    launch.run_backward(args, out, state, bounds)


VARIANTS = {
    "plain": (torch.float32, False, False, False, False, False),
    "every option, bfloat16": (torch.bfloat16, True, True, False, True, False),
    "constant weights, half": (torch.float16, True, False, True, True, False),
    "channel last": (torch.float32, True, False, False, False, True),
}


@needs_triton
@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="Triton interprets here, it does not compile")
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("variant", VARIANTS)
def test_kernels_compile_to_machine_code(
    compiled, variant: str, capability: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through ptxas for A100 and H100: what the interpreter accepts and the compiler does not would show here."""
    monkeypatch.setattr(launch, "_programs_wanted", lambda device: 10**6)
    kernels = compiled(capability)
    compile_all(*VARIANTS[variant])
    expected = {"forward_kernel", "backward_kernel", "state_span_kernel", "adjoint_span_kernel", "carry_kernel"}
    assert set(kernels) == expected
    for name, kernel in kernels.items():
        assert f".target sm_{capability}" in kernel.asm["ptx"], name
        assert len(kernel.asm["cubin"]) > 0, name
        assert "call.uni" not in kernel.asm["ptx"], f"{name} calls a device library"


@needs_triton
@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="Triton interprets here, it does not compile")
def test_order_tables_and_channel_last_cost_no_more_exchanges_between_threads(compiled) -> None:
    """One token per thread instead of four would cost five times as many in the forward pass."""
    exchanges = []
    for order, last in ((False, False), (True, False), (False, True)):
        kernels = compiled(90)
        compile_all(torch.float32, False, order, False, False, last)
        exchanges.append(kernels["forward_kernel"].asm["ptx"].count("shfl.sync"))
    assert exchanges[0] > 0
    assert max(exchanges[1:]) <= exchanges[0]
