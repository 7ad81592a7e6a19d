"""Errors say what was wrong and what was expected."""

from __future__ import annotations

import pytest
import torch

from medssm_monai.ops import selective_scan

ONES = torch.ones
GOOD = {
    "u": ONES(2, 6, 9),
    "delta": ONES(2, 6, 9),
    "A": -ONES(6, 4),
    "B": ONES(2, 4, 9),
    "C": ONES(2, 4, 9),
    "D": ONES(6),
    "z": ONES(2, 6, 9),
    "delta_bias": ONES(6),
}


def test_the_good_arguments_are_good() -> None:
    assert selective_scan(**GOOD).shape == (2, 6, 9)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"u": ONES(6, 9)}, ValueError, r"u must have shape \(B, E, L\)"),
        ({"u": ONES(2, 6, 0), "delta": ONES(2, 6, 0)}, ValueError, "at least one token"),
        ({"delta": ONES(2, 6, 8)}, ValueError, r"delta must have shape that of u = \(2, 6, 9\), got \(2, 6, 8\)"),
        ({"z": ONES(2, 9, 6)}, ValueError, "z must have shape"),
        ({"A": ONES(5, 4)}, ValueError, r"A must have shape \(E, N\) = \(6, 4\), got \(5, 4\)"),
        ({"A": ONES(6, 0)}, ValueError, "N >= 1"),
        ({"A": -ONES(6, 4, dtype=torch.complex64)}, TypeError, "A is complex.*only real"),
        ({"B": ONES(2, 5, 9)}, ValueError, r"B must have shape \(B, N, L\) = \(2, 4, 9\)"),
        ({"B": ONES(4)}, ValueError, "B must have shape"),
        ({"C": ONES(2, 2, 4, 8)}, ValueError, "C must have shape"),
        ({"B": ONES(2, 4, 4, 9)}, ValueError, "6 channels, which 4 groups do not divide"),
        ({"B": ONES(2, 2, 4, 9), "C": ONES(2, 3, 4, 9)}, ValueError, "number of groups must agree.*'B': 2.*'C': 3"),
        ({"D": ONES(5)}, ValueError, r"D must have shape \(E,\) = \(6,\), got \(5,\)"),
        ({"delta_bias": ONES(6, 1)}, ValueError, "delta_bias must have shape"),
        ({"u": ONES(2, 6, 9, dtype=torch.int64)}, TypeError, "u must have a floating dtype, got torch.int64"),
        ({"u": [1.0]}, TypeError, "u must be a torch.Tensor, got list"),
        ({"C": torch.ones(2, 4, 9, device="meta")}, ValueError, "one device: u is on cpu, C on meta"),
        ({"discretization": "bilinear"}, ValueError, "unknown discretization 'bilinear'; expected one of"),
        ({"backend": "cuda"}, ValueError, "unknown scan backend 'cuda'"),
        ({"order": torch.arange(8)}, ValueError, "order must have shape"),
        ({"order": torch.arange(9.0)}, TypeError, "order must hold int32 or int64"),
        ({"order": torch.arange(9, device="meta")}, ValueError, "order is on meta"),
    ],
)
def test_errors(changes: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        selective_scan(**{**GOOD, **changes})
