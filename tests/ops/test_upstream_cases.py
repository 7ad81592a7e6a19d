"""The parameter grid of the upstream package's own test of ``selective_scan_fn`` (real A), with its tolerances.

Batch 2, 4 channels, 8 states; with one B and C per group only where both vary in time, as there.
"""

from __future__ import annotations

from itertools import product

import pytest
import torch

from .scan_cases import Case, expected, run, usable

FLAGS = ("skip", "gate", "bias", "softplus", "constant_B", "constant_C")
GRID = [
    {**dict(zip(FLAGS, flags, strict=True)), "groups": groups}
    for flags in product((False, True), repeat=len(FLAGS))
    for groups in (1, 2)
    if groups == 1 or not (flags[-1] or flags[-2])
]
TOLERANCES = {torch.float32: (6e-4, 2e-3), torch.float16: (3e-3, 5e-3), torch.bfloat16: (3e-2, 5e-2)}


def check(case: Case, backend: str, dtype: torch.dtype) -> None:
    reason = usable(backend)
    if reason:
        pytest.skip(reason)
    result = run(case, backend, dtype)
    rtol, atol = TOLERANCES[dtype]
    for name, x in expected(case).items():
        scale = 5 if name in ("dA", "dD", "ddelta_bias", "dB", "dC", "ddelta") else 1  # sums over tokens or channels
        torch.testing.assert_close(
            result[name].double(), x, rtol=rtol * scale, atol=atol * scale * x.abs().max().clamp(min=1).item()
        )


@pytest.mark.parametrize("options", GRID, ids=lambda o: "-".join(f"{k}{int(v)}" for k, v in o.items()))
@pytest.mark.parametrize("backend", ["blocked", "native"])
def test_every_combination_of_options(backend: str, options: dict) -> None:
    check(Case(batch=2, channels=4, states=8, length=64, **options), backend, torch.float32)


@pytest.mark.parametrize("length", [8, 16, 32, 128, 256, 372, 512, 784, 1024, 1134, 2048, 4096])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("backend", ["blocked", "native"])
def test_every_length(backend: str, groups: int, length: int) -> None:
    case = Case(2, 4, length, 8, groups, skip=True, gate=True, bias=True, softplus=True)
    check(case, backend, torch.float32)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("backend", ["blocked", "native"])
def test_every_dtype(backend: str, dtype: torch.dtype) -> None:
    check(Case(2, 4, 372, 8, 2, skip=True, gate=True, bias=True, softplus=True), backend, dtype)
