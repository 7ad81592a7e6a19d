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
    centered = x - x.mean(-1, keepdims=True)
    return centered / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * weight + bias


def mamba(x, p, n, discretization="euler"):
    """The published Mamba block on one sequence: ``x (L, D)``, parameters by their published names, ``n`` states."""
    length, inner = len(x), len(p["D"])
    xz = x @ p["in_proj.weight"].T
    u, z = xz[:, :inner], xz[:, inner:]
    kernel = p["conv1d.weight"][:, 0]  # (E, taps)
    taps = kernel.shape[1]
    padded = np.concatenate([np.zeros((taps - 1, inner)), u])
    u = silu(sum(padded[k : k + length] * kernel[:, k] for k in range(taps)) + p["conv1d.bias"])
    proj = u @ p["x_proj.weight"].T
    rank = proj.shape[1] - 2 * n
    delta = softplus(proj[:, :rank] @ p["dt_proj.weight"].T + p["dt_proj.bias"])
    y = scan(u, delta, -np.exp(p["A_log"]), proj[:, rank : rank + n], proj[:, rank + n :], p["D"], discretization)
    return (y * silu(z)) @ p["out_proj.weight"].T
