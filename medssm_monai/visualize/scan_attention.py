"""How much each token of a selective scan's output depends on each token of its input.

Glossary: ``B`` batch, ``L`` tokens, ``E`` inner channels, ``N`` state size, ``G`` scan directions. A step is a place in
the order of a direction, a token a place on the map (counted row by row).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..networks.blocks import SelectiveCore
from ..networks.layers import visiting_table
from ..ops.backends.torch_steps import decay_and_input
from .evaluation_mode import evaluation_mode, find_layer

__all__ = ["MAX_TOKENS", "ScanCoefficients", "capture_scans", "scan_attention"]

MAX_TOKENS = 1024
"""Longest sequence whose whole attention matrix is computed; beyond it, one token at a time."""
CHUNK = 512


@dataclass(frozen=True)
class ScanCoefficients:
    """What one call of a selective scan computed with, in float64.

    Attributes:
        u: input of the scan ``(B, G, L, E)``, by steps.
        delta: step sizes ``(B, G, L, E)``, positive (after bias and softplus), by steps.
        A: state matrix ``(G, E, N)``.
        B, C: input and output projections ``(B, G, L, N)``, by steps.
        D: skip weight ``(G, E)``.
        visits: token that each direction visits at each step, ``(G, L)``.
        spatial: size of the token map.
        discretization: ``"euler"`` or ``"zoh"``.
    """

    u: Tensor
    delta: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor
    visits: Tensor
    spatial: tuple[int, ...]
    discretization: str

    def weights(self, token: int) -> Tensor:
        """Weights ``m`` of the scan's own linear map for one token: ``y[token] = Σ_s m[s] · u[s] + D · u[token]``.

        ``m[s] = Σ_n C[t, n] · exp(Σ_{k=s+1..t} Δ_k A_n) · B̄[s, n]`` for each channel and direction, where ``t`` is the
        step at which the direction visits the token; 0 for tokens that it visits later. ``y`` is the output before the
        gate ``z``.

        Returns:
            ``(B, G, L, E)``, by tokens (``u`` is by steps).
        """
        result = torch.zeros_like(self.u)
        for g, visits in enumerate(self.visits):
            t = int((visits == token).nonzero())
            elapsed = self.delta[:, g, : t + 1].cumsum(1)
            for start in range(0, t + 1, CHUNK):
                steps = slice(start, min(start + CHUNK, t + 1))
                decay = torch.exp((elapsed[:, -1:] - elapsed[:, steps])[..., None] * self.A[g])  # (B, steps, E, N)
                _, gain = decay_and_input(self.delta[:, g, steps, :, None], self.A[g], self.discretization)
                terms = decay * gain * (self.B[:, g, steps] * self.C[:, g, t : t + 1])[:, :, None]
                result[:, g, visits[steps]] = terms.sum(-1)
        return result

    def attention(self, token: int) -> Tensor:
        """``α[token, s] = Σ_d |m[s, d]|``, mean over the directions: ``(B, *spatial)``, not negative."""
        return self.weights(token).abs().sum(-1).mean(1).unflatten(1, self.spatial)

    def attention_matrix(self) -> Tensor:
        """``α`` of all pairs, by tokens: ``(B, L, L)``, rows are outputs. Needs ``B · L · E · N`` doubles, twice.

        Walks along the scan and lets what each input left in the state decay step by step, which costs one product for
        each pair instead of one exponential.
        """
        batch, groups, length, _ = self.u.shape
        result = self.u.new_zeros(batch, length, length)
        for g, visits in enumerate(self.visits):
            decay, gain = decay_and_input(self.delta[:, g, :, :, None], self.A[g], self.discretization)
            held = gain * self.B[:, g, :, None]  # (B, L, E, N): what the input of each step is in the state by now
            for t in range(length):
                held[:, :t] *= decay[:, t : t + 1]
                row = held[:, : t + 1] @ self.C[:, g, t, None, :, None]  # (B, t + 1, E, 1)
                result[:, visits[t], visits[: t + 1]] += row.abs().sum((2, 3)) / groups
        return result


@contextmanager
def capture_scans(core: SelectiveCore) -> Iterator[list[ScanCoefficients]]:
    """Note the coefficients of every scan that a mixer runs inside the context.

    The mixer computes as before; afterwards it is as it was.
    """
    calls: list[ScanCoefficients] = []
    sizes: list[tuple[int, ...]] = []
    hook = core.register_forward_pre_hook(lambda module, args: sizes.append(tuple(args[0].shape[1:-1])))
    plain, shadow = core.scan, core.__dict__.get("scan")

    def noting(
        u: Tensor,
        delta: Tensor,
        b: Tensor,
        c: Tensor,
        z: Tensor | None = None,
        delta_bias: Tensor | None = None,
        order: Tensor | None = None,
    ) -> Tensor:
        calls.append(_coefficients(core, sizes[-1], u, delta, b, c, delta_bias, order))
        return plain(u, delta, b, c, z=z, delta_bias=delta_bias, order=order)

    core.scan = noting  # type: ignore[method-assign]  # the scan is a method, which no hook reaches
    try:
        yield calls
    finally:
        del core.scan
        if shadow is not None:
            core.scan = shadow  # type: ignore[method-assign]
        hook.remove()


def scan_attention(
    network: nn.Module,
    images: Tensor,
    layer: str,
    token: int | Sequence[int] | None = None,
    call: int = 0,
) -> Tensor:
    """How much a Mamba mixer's scan lets each output token depend on each input token, from its own coefficients.

    ``α[t, s] = Σ_d |Σ_n C[t, n] · exp(Σ_{k=s+1..t} Δ_k A_n) · B̄[s, n]|``: the scan read as attention, channels added
    up by modulus, before the gate, without the skip ``D``. Several directions: their mean (Decision).

    Args:
        network: network with a mixer of this package; runs in evaluation mode and is left as it was.
        images: its input ``(B, C, *spatial)``.
        layer: name of the mixer (:class:`~medssm_monai.networks.blocks.SelectiveCore`), ``"blocks.6.mixer"``.
        token: the output token: position on the token map, ``(row, column)``, or its number row by row. ``None``: all,
            for at most :data:`MAX_TOKENS` tokens.
        call: which of the mixer's runs, when the network runs it several times.

    Returns:
        ``(B, *token map)`` for one token, ``(B, L, L)`` (output, input) for all; float64, not negative.

    Raises:
        ValueError: the layer is unknown, no mixer, or did not scan; a token beyond the map; all tokens of a long scan.

    Source: Ali, Zimerman, Wolf, "The Hidden Attention of Mamba Models" (ACL 2025; arXiv 2403.01590), whose matrices are
    one for each channel. Departure: they are added up by modulus, so that channels of opposite sign do not cancel.
    """
    core = find_layer(network, layer)
    if not isinstance(core, SelectiveCore):
        mixers = [name for name, module in network.named_modules() if isinstance(module, SelectiveCore)]
        raise ValueError(f"layer {layer!r} is no selective scan; this network's are: {', '.join(mixers) or 'none'}.")
    with torch.no_grad(), evaluation_mode(network), capture_scans(core) as calls:
        network(images)
    if not -len(calls) <= call < len(calls):
        raise ValueError(f"layer {layer!r} ran {len(calls)} scans in the forward pass, call={call} is none of them.")
    scan = calls[call]
    if token is not None:
        return scan.attention(_token_number(token, scan.spatial))
    length = math.prod(scan.spatial)
    if length > MAX_TOKENS:
        raise ValueError(
            f"layer {layer!r} scans {length} tokens; all pairs are computed up to {MAX_TOKENS}. Choose a token of the "
            f"map {scan.spatial}."
        )
    return scan.attention_matrix()


def _token_number(token: int | Sequence[int], spatial: tuple[int, ...]) -> int:
    place = (token,) if isinstance(token, int) else tuple(token)
    sizes = (math.prod(spatial),) if isinstance(token, int) else spatial
    if len(place) != len(sizes) or any(not 0 <= p < s for p, s in zip(place, sizes, strict=True)):
        raise ValueError(f"token {token} lies beyond the token map {spatial}.")
    number = 0
    for p, s in zip(place, sizes, strict=True):
        number = number * s + int(p)
    return number


def _coefficients(
    core: SelectiveCore,
    spatial: tuple[int, ...],
    u: Tensor,
    delta: Tensor,
    b: Tensor,
    c: Tensor,
    delta_bias: Tensor | None,
    order: Tensor | None,
) -> ScanCoefficients:
    groups, width = u.shape[2:]

    def by_steps(x: Tensor) -> Tensor:
        x = x.detach().double().transpose(1, 2)  # (B, G, L, ...)
        return x if order is None else x.gather(2, order.long()[None, :, :, None].expand(x.shape))

    steps = by_steps(delta)
    if delta_bias is not None:
        steps = steps + delta_bias.detach().double().reshape(groups, 1, width)
    return ScanCoefficients(
        u=by_steps(u),
        delta=F.softplus(steps),
        A=-torch.exp(core.A_log.detach().double()).reshape(groups, width, -1),
        B=by_steps(b),
        C=by_steps(c),
        D=core.D.detach().double().reshape(groups, width),
        visits=visiting_table(core.orders, spatial, u.device),
        spatial=spatial,
        discretization=core.discretization,
    )
