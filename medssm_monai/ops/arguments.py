"""The arguments of a scan as one record, and the checks that make it: what every backend takes."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import Parameter

__all__ = ["DISCRETIZATIONS", "SCHEMA", "ScanArguments", "cast", "checked_order", "plain", "state_dtype", "validated"]

DISCRETIZATIONS = ("euler", "zoh")

SCHEMA = (
    "Tensor u, Tensor delta, Tensor A, Tensor B, Tensor C, Tensor? D, Tensor? z, Tensor? delta_bias, Tensor? order, "
    "bool delta_softplus, str discretization"
)
"""The fields of :class:`ScanArguments` as ``torch.library`` writes them."""


_FLOATING = {torch.float32, torch.bfloat16, torch.float16, torch.float64}  # asked first: most calls hold these only


def state_dtype(*tensors: Tensor) -> torch.dtype:
    """Dtype of the state: float64 if any input is float64, else float32 (half precisions are widened)."""
    return torch.float64 if any(x.dtype == torch.float64 for x in tensors) else torch.float32


def cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    """``x.to(dtype)``, and no operator where it has that dtype: an exporter writes two for a cast that does nothing."""
    return x if x.dtype == dtype else x.to(dtype)


class ScanArguments(NamedTuple):
    """Arguments of a scan with an explicit group axis, checked: backends do not repeat that.

    Tensors have any strides and any floating dtypes, ``order`` holds integers.
    """

    u: Tensor  # (B, G, E, L)
    delta: Tensor  # (B, G, E, L)
    A: Tensor  # (G, E, N)
    B: Tensor  # (B, G, N, L) or, constant in time, (G, E, N)
    C: Tensor  # (B, G, N, L) or, constant in time, (G, E, N)
    D: Tensor | None  # (G, E)
    z: Tensor | None  # (B, G, E, L)
    delta_bias: Tensor | None  # (G, E)
    order: Tensor | None  # (G, L)
    delta_softplus: bool
    discretization: str

    @property
    def tensors(self) -> tuple[Tensor | None, ...]:
        """What gradients can be asked for: ``u, delta, A, B, C, D, z, delta_bias``."""
        return self[:8]

    @property
    def needs_grad(self) -> bool:
        """Whether gradients are recorded."""
        return torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in self.tensors)

    @property
    def state_dtype(self) -> torch.dtype:
        """Dtype of the state, see :func:`state_dtype`."""
        return state_dtype(self.u, self.delta, self.A, self.B, self.C)


def plain(x: Any) -> Any:
    """A tensor without the subclass that only annotates it, such as MONAI's ``MetaTensor``; anything else as it is."""
    kind = type(x)
    if kind is Tensor or not isinstance(x, Tensor) or isinstance(x, Parameter):
        return x
    annotates = kind.__torch_dispatch__ is Tensor.__torch_dispatch__  # others take part in how operators run
    return x.as_subclass(Tensor) if annotates else x


def _refuse_dtype(name: str, x: Tensor) -> None:
    if x.is_complex():
        raise TypeError(
            f"{name} is complex ({x.dtype}); only real state-space models are supported: pass a real {name}"
        )
    if not x.is_floating_point():
        raise TypeError(f"{name} must have a floating dtype, got {x.dtype}; convert it with {name}.float()")


def _check_kinds(tensors: dict[str, Tensor | None]) -> None:
    device = None
    for name, x in tensors.items():
        if x is None:
            continue
        if not isinstance(x, Tensor):
            raise TypeError(f"{name} must be a torch.Tensor, got {type(x).__name__}")
        if x.dtype not in _FLOATING:
            _refuse_dtype(name, x)
        if device is None:
            device, first = x.device, name
        elif x.device != device:
            raise ValueError(f"all tensors must be on one device: {first} is on {device}, {name} on {x.device}")


def _expect(name: str, x: Tensor, shape: tuple[int, ...], meaning: str) -> None:
    if x.shape != shape:
        raise ValueError(f"{name} must have shape {meaning} = {tuple(shape)}, got {tuple(x.shape)}")


def _groups(u: Tensor, B: Tensor, C: Tensor, order: Tensor | None) -> int:
    """Number of groups G, and a check that all tensors that have such an axis agree."""
    named = {"u": u.shape[1]} if u.dim() == 4 else {}
    named |= {name: x.shape[1] for name, x in (("B", B), ("C", C)) if x.dim() == 4}
    if order is not None and order.dim() == 2:
        named["order"] = order.shape[0]
    counts = [count for name, count in named.items() if count != 1 or name == "u"]
    groups = counts[0] if counts else 1
    if any(count != groups for count in counts):
        raise ValueError(f"the number of groups must agree, got {named}")
    if u.dim() == 3 and u.shape[1] % groups:
        raise ValueError(f"u has {u.shape[1]} channels, which {groups} groups do not divide")
    return groups


def checked_order(order: Tensor, groups: int, length: int, device: torch.device) -> Tensor:
    """``order (L,)`` or ``(G, L)`` as ``(G, L)``."""
    if order.dtype not in (torch.int32, torch.int64):
        raise TypeError(f"order must hold int32 or int64 positions, got {order.dtype}")
    if order.dim() not in (1, 2) or order.shape[-1] != length:
        raise ValueError(f"order must have shape (L,) or (G, L) with L = {length}, got {tuple(order.shape)}")
    if order.device != device:
        raise ValueError(f"order is on {order.device}, the other tensors on {device}")
    return order if order.dim() == 2 and order.shape[0] == groups else order.expand(groups, length)


def validated(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    order: Tensor | None = None,
    delta_softplus: bool = False,
    discretization: str = "euler",
) -> ScanArguments:
    """Check shapes, dtypes and devices; give every tensor its group axis by views only.

    Raises:
        TypeError: not a tensor, complex, or an integer dtype.
        ValueError: a shape that does not fit, an empty axis, mixed devices, or an unknown discretization.
    """
    if discretization not in DISCRETIZATIONS:
        raise ValueError(f"unknown discretization {discretization!r}; expected one of {DISCRETIZATIONS}")
    _check_kinds({"u": u, "delta": delta, "A": A, "B": B, "C": C, "D": D, "z": z, "delta_bias": delta_bias})
    if u.dim() not in (3, 4):
        raise ValueError(f"u must have shape (B, E, L) or (B, G, E, L), got {tuple(u.shape)}")
    if 0 in u.shape:
        raise ValueError(f"u must have at least one token, channel and sample (L >= 1), got shape {tuple(u.shape)}")
    groups = _groups(u, B, C, order)
    batch, length, channels = u.shape[0], u.shape[-1], u.shape[-2] // (1 if u.dim() == 4 else groups)

    def tokens(name: str, x: Tensor) -> Tensor:
        _expect(name, x, u.shape, "that of u")
        return x if x.dim() == 4 else x.unsqueeze(1) if groups == 1 else x.unflatten(1, (groups, channels))

    def per_channel(name: str, x: Tensor, tail: tuple[int, ...] = ()) -> Tensor:
        if x.dim() == 2 + len(tail):
            _expect(name, x, (groups, channels, *tail), "(G, E" + ", N)" * bool(tail) + ")" * (not tail))
            return x
        _expect(name, x, (groups * channels, *tail), "(E, N)" if tail else "(E,)")
        return x.unsqueeze(0) if groups == 1 else x.unflatten(0, (groups, channels))

    if A.dim() not in (2, 3) or A.shape[-1] == 0:
        raise ValueError(f"A must have shape (E, N) or (G, E, N) with N >= 1, got {tuple(A.shape)}")
    states = A.shape[-1]

    def weights(name: str, x: Tensor) -> Tensor:
        if x.dim() == 2:
            return per_channel(name, x, (states,))
        if x.dim() == 3:
            _expect(name, x, (batch, states, length), "(B, N, L)")
            return x.unsqueeze(1) if groups == 1 else x.unsqueeze(1).expand(batch, groups, states, length)
        if x.dim() != 4:
            raise ValueError(f"{name} must have shape (B, N, L), (B, G, N, L) or (E, N), got {tuple(x.shape)}")
        _expect(name, x, (batch, x.shape[1], states, length), "(B, G, N, L)")
        return x if x.shape[1] == groups else x.expand(batch, groups, states, length)

    return ScanArguments(
        tokens("u", u),
        tokens("delta", delta),
        per_channel("A", A, (states,)),
        weights("B", B),
        weights("C", C),
        None if D is None else per_channel("D", D),
        None if z is None else tokens("z", z),
        None if delta_bias is None else per_channel("delta_bias", delta_bias),
        None if order is None else checked_order(order, groups, length, u.device),
        delta_softplus,
        discretization,
    )
