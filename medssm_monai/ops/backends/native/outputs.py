"""What a launch takes and what it returns, before anything is computed: also what ``torch.compile`` needs to know."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from .params import CHANNEL_MULTIPLE, STATES, TILE, padded

__all__ = ["Inputs", "empty_backward", "empty_forward"]


def _packed(x: Tensor | None) -> Tensor | None:
    """``(G, E)`` -> ``(G, E')``, ``(G, E, N)`` -> ``(G, N', E')``: contiguous, zeros up to whole vectors and sweeps."""
    if x is None:
        return None
    if x.dim() == 2:
        return F.pad(x, (0, -x.shape[-1] % CHANNEL_MULTIPLE)).contiguous()
    return F.pad(x.transpose(1, 2), (0, -x.shape[1] % CHANNEL_MULTIPLE, 0, -x.shape[2] % STATES)).contiguous()


class Inputs(NamedTuple):
    """Arguments of a launch: float32 on the CPU, canonical shapes, ``order`` contiguous int32.

    ``coef (G, E, N)``: factor of the output of every (channel, state), where B or C is constant in time.
    """

    u: Tensor
    delta: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor | None
    z: Tensor | None
    bias: Tensor | None
    coef: Tensor | None
    order: Tensor | None

    def sizes(self, flags: dict[str, int]) -> dict[str, int]:
        """The entries of the argument record that both passes share."""
        batch, groups, channels, length = self.u.shape
        states = self.A.shape[-1]
        sizes = {"batch": batch, "groups": groups, "channels": channels, "length": length, "states": states}
        return sizes | {"padded_states": padded(states, STATES), **flags}

    def tensors(self) -> dict[str, Tensor | None]:
        """The same for tensors; weights are packed."""
        tensors = {"u": self.u, "delta": self.delta, "B": self.B, "C": self.C, "order": self.order}
        return tensors | {name: _packed(getattr(self, name)) for name in ("A", "D", "bias", "coef")}


def empty_forward(x: Inputs, save: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``out``, ``pre`` (output before the gate), the packed last state and the packed states at the tiles' beginnings.

    ``pre`` and the states between tiles are empty unless ``save``.
    """
    batch, groups, channels, length = x.u.shape
    state = (padded(x.A.shape[-1], STATES), padded(channels, CHANNEL_MULTIPLE))
    return (
        torch.empty_like(x.u),
        torch.empty_like(x.u) if save and x.z is not None else x.u.new_empty(0),
        x.u.new_empty(batch, groups, *state),
        x.u.new_empty((batch, groups, -(-length // TILE), *state) if save else 0),
    )


def _like_weights(x: Tensor) -> Tensor:
    """Memory for dB or dC ``(B, G, N, L)``, by tokens or by states as ``x`` is; dense even where ``x`` is expanded."""
    batch, groups, states, length = x.shape
    if x.stride(-1) == 1:
        return x.new_empty(batch, groups, states, length)
    return x.new_empty(batch, groups, length, states).transpose(-1, -2)


def empty_backward(x: Inputs) -> tuple[Tensor, ...]:
    """Gradients of ``u, delta, A, B, C, D, z, bias, coef``; empty tensors where there is nothing to differentiate."""
    new = x.u.new_empty
    return (
        torch.empty_like(x.u),
        torch.empty_like(x.delta),
        new(x.A.shape),
        _like_weights(x.B),
        _like_weights(x.C),
        new((0,) if x.D is None else x.D.shape),
        new(0) if x.z is None else torch.empty_like(x.z),
        new(x.A.shape[:-1]),
        new((0,) if x.coef is None else x.coef.shape),
    )
