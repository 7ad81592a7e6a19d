"""Independent float64 loops for the tests of blocks: nothing here calls the code under test."""

from __future__ import annotations

import numpy as np


def softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, x)


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def scan(u, delta, A, B, C, D, discretization):
    """One sequence: ``u, delta (L, E)``, ``A (E, N)``, ``B, C (L, N)``, ``D (E,)`` -> ``(L, E)``, state by state."""
    length, channels = u.shape
    y = np.zeros_like(u)
    for e in range(channels):
        h = np.zeros(A.shape[1])
        for t in range(length):
            step = delta[t, e]
            gain = step if discretization == "euler" else np.expm1(step * A[e]) / A[e]
            h = np.exp(step * A[e]) * h + gain * B[t] * u[t, e]
            y[t, e] = C[t] @ h + D[e] * u[t, e]
    return y


def params(module) -> dict[str, np.ndarray]:
    return {name: value.detach().double().numpy() for name, value in module.state_dict().items()}


def layer_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * weight + bias
