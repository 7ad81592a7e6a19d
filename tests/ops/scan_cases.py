"""Random arguments for scans, an oracle written from the formula alone, and a comparison of outputs and gradients."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from medssm_monai.ops import available_backends, selective_scan

NAMES = ("u", "delta", "A", "B", "C", "D", "z", "delta_bias")


@dataclass(frozen=True)
class Case:
    """Sizes and options of one call."""

    batch: int = 2
    channels: int = 6
    length: int = 19
    states: int = 4
    groups: int = 1
    constant_B: bool = False
    constant_C: bool = False
    skip: bool = False
    gate: bool = False
    bias: bool = False
    softplus: bool = False
    discretization: str = "euler"
    order: str = ""  # "", "reversed" or "shuffled"
    layout: str = "channel first"  # or "channel last", "sliced"

    def __str__(self) -> str:
        shown = [f"{self.batch}x{self.channels}x{self.length}x{self.states}", f"G{self.groups}", self.discretization]
        shown += [n for n in ("constant_B", "constant_C", "skip", "gate", "bias", "softplus") if getattr(self, n)]
        return "-".join([*shown, self.order or "plain", self.layout.replace(" ", "_")])


def usable(name: str) -> str | None:
    """Why a backend cannot be tested here, or None."""
    return available_backends().get(name, f"there is no backend {name!r}")


def _laid_out(x: Tensor, layout: str) -> Tensor:
    if layout == "channel last":
        return x.transpose(-1, -2).contiguous().transpose(-1, -2)
    if layout == "sliced":
        wide = torch.zeros(*x.shape[:-2], x.shape[-2] * 2, x.shape[-1] + 3, dtype=x.dtype)
        wide[..., ::2, 3:] = x
        return wide[..., ::2, 3:]
    return x


def make_inputs(case: Case, seed: int = 0) -> tuple[dict[str, Tensor | None], Tensor | None]:
    """Arguments in float64 and the order table."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    b, e, n, length = case.batch, case.channels, case.states, case.length
    weights = (b, n, length) if case.groups == 1 else (b, case.groups, n, length)
    delta = normal(b, e, length) if case.softplus else 0.5 * normal(b, e, length).abs()
    inputs = {
        "u": _laid_out(normal(b, e, length), case.layout),
        "delta": _laid_out(delta, case.layout),
        "A": -3 * torch.rand(e, n, generator=generator, dtype=torch.float64) - 1e-3,
        "B": normal(e, n) if case.constant_B else _laid_out(normal(*weights), case.layout),
        "C": normal(e, n) if case.constant_C else _laid_out(normal(*weights), case.layout),
        "D": normal(e) if case.skip else None,
        "z": _laid_out(normal(b, e, length), case.layout) if case.gate else None,
        "delta_bias": None,
    }
    if case.bias:  # without softplus the step must stay positive, or the system explodes
        inputs["delta_bias"] = 0.5 * (normal(e) if case.softplus else normal(e).abs())
    order = None
    if case.order == "reversed":
        order = torch.arange(length - 1, -1, -1).repeat(case.groups, 1)
    elif case.order == "shuffled":
        order = torch.stack([torch.randperm(length, generator=generator) for _ in range(case.groups)])
    return inputs, order


def oracle(inputs: dict[str, Tensor | None], case: Case, order: Tensor | None) -> tuple[Tensor, Tensor]:
    """The formula, one token, one channel group at a time, in float64, sharing no line with the package."""
    u, delta, A, B, C, D, z, bias = (inputs[name] for name in NAMES)
    if bias is not None:
        delta = delta + bias[:, None]
    if case.softplus:
        delta = torch.log1p(torch.exp(-delta.abs())) + delta.clamp(min=0)
    per_group = case.channels // case.groups
    rows, states = [], []
    for g in range(case.groups):
        channels = slice(g * per_group, (g + 1) * per_group)
        h = torch.zeros(case.batch, per_group, case.states, dtype=torch.float64)
        outputs: list[Tensor | None] = [None] * case.length
        for step in range(case.length):
            t = step if order is None else int(order[g, step])
            d, a = delta[:, channels, t, None], A[channels]
            b = B[channels] if case.constant_B else (B if B.dim() == 3 else B[:, g])[:, None, :, t]
            c = C[channels] if case.constant_C else (C if C.dim() == 3 else C[:, g])[:, None, :, t]
            weight = d if case.discretization == "euler" else torch.expm1(d * a) / a
            h = torch.exp(d * a) * h + weight * b * u[:, channels, t, None]
            outputs[t] = (c * h).sum(-1)
        rows.append(torch.stack(outputs, -1))
        states.append(h)
    y = torch.cat(rows, 1)
    if D is not None:
        y = y + D[:, None] * u
    if z is not None:
        y = y * z / (1 + torch.exp(-z))
    return y, torch.cat(states, 1)


def run(
    case: Case,
    backend: str | None,
    dtype: torch.dtype,
    seed: int = 0,
    use_oracle: bool = False,
    device: str = "cpu",
) -> dict[str, Tensor]:
    """Output, last state and the gradient of a random linear function of both, by name, for every input, on the CPU."""
    inputs, order = make_inputs(case, seed)
    order = None if order is None else order.to(device)
    leaves = {
        name: x.to(device, dtype if name in ("u", "delta", "B", "C", "z") or dtype == torch.float64 else torch.float32)
        .detach()
        .requires_grad_()
        for name, x in inputs.items()
        if x is not None
    }
    given = {name: leaves.get(name) for name in NAMES}
    if use_oracle:
        y, state = oracle(given, case, order)
    else:
        y, state = selective_scan(
            *given.values(),
            case.softplus,
            True,
            discretization=case.discretization,
            order=order,
            backend=backend,
        )
    generator = torch.Generator().manual_seed(seed + 1)
    dy = torch.randn(y.shape, generator=generator, dtype=torch.float64)
    dstate = torch.randn(state.shape, generator=generator, dtype=torch.float64)
    loss = (y * dy.to(y)).sum() + (state * dstate.to(state)).sum()
    grads = torch.autograd.grad(loss, leaves.values())
    results = {"y": y, "state": state} | {f"d{name}": g for name, g in zip(leaves, grads, strict=True)}
    return {name: x.cpu() for name, x in results.items()}


@cache
def expected(case: Case) -> dict[str, Tensor]:
    """What :func:`run` should return, by the oracle."""
    return run(case, None, torch.float64, use_oracle=True)


def errors(result: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, float]:
    """Largest error of each tensor, relative to the largest expected value."""
    assert result.keys() == expected.keys()
    for name in expected:
        assert result[name].shape == expected[name].shape, name
    return {
        name: ((result[name].double() - x).abs().max() / x.abs().max().clamp(min=1e-3)).item()
        for name, x in expected.items()
    }
