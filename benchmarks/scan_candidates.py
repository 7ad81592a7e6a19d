"""What ``benchmarks.scan`` compares: the package's backends, the sequential loop, a parallel scan in PyTorch."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from medssm_monai.ops import available_backends, selective_scan
from medssm_monai.ops.backends import BACKENDS

from .scan_shapes import Shape

__all__ = ["CANDIDATES", "SETTINGS", "Candidate", "make_arguments"]

STATES_LIMIT = 1 << 26  # states (B E L N) above which candidates that hold them all are left out


def make_arguments(shape: Shape, batch: int, options: argparse.Namespace) -> dict[str, Tensor]:
    """Random arguments of one call: steps up to 0.1, ``A = -(1..N)``; with directions also an order table.

    Scans of networks get raw steps (their softplus is 0.02 in the mean) and channel-last tokens, as the networks make
    them.
    """
    channels, length, states = shape[:3]
    groups = max(shape.directions, options.directions)
    generator = torch.Generator().manual_seed(0)
    dtype = getattr(torch, options.dtype)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator).to(options.device, dtype)

    A = -torch.arange(1.0, states + 1, device=options.device).repeat(groups, channels, 1)
    if shape.network:
        u = normal(batch, length, 1 if shape.shared else groups, channels).expand(batch, length, groups, channels)
        B, C = normal(batch, length, groups, 2 * states).chunk(2, dim=-1)
        tokens = {"u": u, "delta": normal(batch, length, groups, channels) - 4, "A": A, "B": B, "C": C}
        tokens["D"] = torch.ones(groups, channels, device=options.device)
        if shape.gate:
            tokens["z"] = normal(batch, length, groups, channels)
        arguments = {name: x.permute(0, 2, 3, 1) if x.dim() == 4 else x for name, x in tokens.items()}
        return arguments | ({"order": _orders(length, groups).to(options.device)} if shape.shared else {})
    step = 0.1 * torch.rand(batch, groups, channels, length, generator=generator)
    arguments = {"u": normal(batch, groups, channels, length), "delta": step.to(options.device, dtype), "A": A}
    arguments |= {"B": normal(batch, groups, states, length), "C": normal(batch, groups, states, length)}
    arguments["D"] = torch.ones(groups, channels, device=options.device)
    if groups == 1:
        return {k: x.squeeze(0 if k in ("A", "D") else 1).contiguous() for k, x in arguments.items()}
    return arguments | {"order": _orders(length, groups).to(options.device)}


def _orders(length: int, groups: int) -> Tensor:
    """Rows and columns of the squarest map with that many pixels, then both backwards."""
    height = next(h for h in range(int(length**0.5), 0, -1) if length % h == 0)
    rows = torch.arange(length)
    columns = rows.view(height, -1).t().flatten()
    return torch.stack([rows, columns, rows.flip(0), columns.flip(0)])[:groups].int()


def _wrong_device(backend: str, device: str) -> str | None:
    devices = BACKENDS[backend].devices
    return None if devices is None or device in devices else f"runs on {sorted(devices)}"


@dataclass(frozen=True)
class Candidate:
    """One way to compute the scan; ``make(arguments)`` returns a function and its tensors."""

    make: Callable[[dict[str, Tensor]], tuple[Callable[..., Tensor], list[Tensor]]]
    about: str
    backend: str | None = None
    training: bool = True
    most: int | None = None

    def usable(self, options: argparse.Namespace, kind: str, batch: int, shape: Shape) -> str | None:
        """Why it is left out of a measurement, or None."""
        if self.backend is not None:
            missing = available_backends()[self.backend]
            return missing or _wrong_device(self.backend, options.device)
        if options.directions > 1 or options.discretization != "euler" or not shape.plain:
            return "one direction and Euler only, no softplus, no gate"
        if kind != "forward" and not self.training:
            return "its backward pass takes time quadratic in L"
        if self.most is not None and batch * shape[0] * shape[1] * shape[2] > self.most:
            return "stores all states: too large"
        return None

    def describe(self, options: argparse.Namespace) -> str:
        missing = None
        if self.backend:
            missing = available_backends()[self.backend] or _wrong_device(self.backend, options.device)
        return self.about + (f" (left out: {missing})" if missing else "")

    def build(self, arguments: dict[str, Tensor]) -> tuple[Callable[..., Tensor], list[Tensor]]:
        return self.make(arguments)


SETTINGS: dict[str, Any] = {"discretization": "euler", "delta_softplus": False}  # set by the caller


def _ours(name: str) -> Candidate:
    def make(arguments: dict[str, Tensor]) -> tuple[Callable[..., Tensor], list[Tensor]]:
        order = arguments.get("order")

        def scan(*given: Tensor) -> Tensor:
            return selective_scan(*given, order=order, backend=name, **SETTINGS)

        return scan, [x for key, x in arguments.items() if key != "order"]

    most = STATES_LIMIT if name == "blocked" else None
    return Candidate(make, f"medssm_monai, backend {name}", backend=name, most=most)


def _loop(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    """The upstream package's reference: in float32, all factors at once, then token by token."""
    dtype, (u, delta, B, C) = u.dtype, (x.float() for x in (u, delta, B, C))
    decay = torch.exp(torch.einsum("bdl,dn->bdln", delta, A))
    inputs = torch.einsum("bdl,bnl,bdl->bdln", delta, B, u)
    state = u.new_zeros(u.shape[0], *A.shape)
    outputs = []
    for t in range(u.shape[2]):
        state = decay[:, :, t] * state + inputs[:, :, t]
        outputs.append(torch.einsum("bdn,bn->bd", state, C[:, :, t]))
    return (torch.stack(outputs, dim=2) + u * D[:, None]).to(dtype)


class _OddEvenScan(torch.autograd.Function):
    """``h[t] = a[t] h[t-1] + x[t]`` along axis 1 by recursive pairing (Blelloch 1990), where mambapy is absent."""

    @staticmethod
    def solve(a: Tensor, x: Tensor) -> Tensor:
        length = x.shape[1]
        if length == 1:
            return x
        pairs = length // 2 * 2
        odd = _OddEvenScan.solve(a[:, 1::2] * a[:, 0:pairs:2], x[:, 1::2] + a[:, 1::2] * x[:, 0:pairs:2])
        h = x.clone()
        h[:, 1::2] = odd
        h[:, 2::2] += a[:, 2::2] * odd[:, : h[:, 2::2].shape[1]]
        return h

    @staticmethod
    def forward(ctx, a: Tensor, x: Tensor) -> Tensor:
        h = _OddEvenScan.solve(a, x)
        ctx.save_for_backward(a, h)
        return h

    @staticmethod
    def backward(ctx, dh: Tensor) -> tuple[Tensor, Tensor]:
        a, h = ctx.saved_tensors
        shifted = torch.cat([a[:, 1:], torch.zeros_like(a[:, :1])], 1)
        g = _OddEvenScan.solve(shifted.flip(1), dh.flip(1)).flip(1)
        da = torch.zeros_like(a)
        da[:, 1:] = g[:, 1:] * h[:, :-1]
        return da, g


HAS_MAMBAPY = find_spec("mambapy") is not None


def _parallel(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    """mambapy's ``selective_scan``, in its own layout ``(B, L, E)``, in float32."""
    dtype, (u, delta, B, C) = u.dtype, (x.float() for x in (u, delta, B, C))
    if HAS_MAMBAPY:
        from mambapy.pscan import pscan
    else:
        pscan = _OddEvenScan.apply
    decay = torch.exp(delta.unsqueeze(-1) * A)
    inputs = delta.unsqueeze(-1) * B.unsqueeze(2) * u.unsqueeze(-1)
    return ((pscan(decay, inputs) @ C.unsqueeze(-1)).squeeze(3) + D * u).to(dtype)


def _make_parallel(arguments: dict[str, Tensor]) -> tuple[Callable[..., Tensor], list[Tensor]]:
    return _parallel, [x.transpose(1, 2).contiguous() if x.dim() == 3 else x for x in arguments.values()]


CANDIDATES = {
    "native": _ours("native"),
    "triton": _ours("triton"),
    "mamba_ssm": _ours("mamba_ssm"),
    "blocked": _ours("blocked"),
    "loop": Candidate(
        lambda arguments: (_loop, list(arguments.values())),
        "sequential PyTorch loop as in the upstream reference",
        training=False,
    ),
    "parallel": Candidate(
        _make_parallel,
        "parallel scan of mambapy" if HAS_MAMBAPY else "own Blelloch scan in PyTorch (mambapy is not installed)",
        most=STATES_LIMIT,
    ),
}
