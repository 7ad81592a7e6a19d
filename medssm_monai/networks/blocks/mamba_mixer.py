"""The Mamba block as a token mixer for maps of any dimension, with any number of scan directions.

Glossary: ``B`` batch, ``L`` tokens, ``D`` model channels (``d_model``), ``E = expand·D`` inner channels, ``N`` state
size, ``R = ceil(D/16)`` rank of the step projection (``dt_rank``), ``G`` scan directions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F

from ..initialization import STATE_GAIN, carry_state
from ..layers import ScanOrder, StackedConv1d, StackedLinear, resolve_scan_orders, scan_table
from .selective_core import SelectiveCore, merge_directions

__all__ = ["MambaMixer"]


class MambaMixer(SelectiveCore):
    """Mamba block (in_proj → causal depthwise conv1d + SiLU → x_proj → Δ, B, C → scan → gate → out_proj).

    ``in_proj``, ``norm`` and ``out_proj`` are shared by the directions; ``conv1d``, ``x_proj``, ``dt_proj``, ``A_log``
    and ``D`` exist per direction, stacked along a leading ``G`` axis, and all directions run as one grouped scan. With
    one direction there is neither the ``G`` axis nor ``norm``, and names and shapes are those of ``mamba_ssm.Mamba``:
    weights move both ways.

    Args:
        d_model: channels ``D`` of the input and output.
        d_state: state size ``N``.
        expand: ``E = expand * d_model``.
        d_conv: width of the causal convolution, in tokens.
        orders: a named scan set or the orders themselves.
        spatial_dims: 1, 2 or 3.
        cross: take Δ, B, C from a second map of the same shape through its own linear layer ``source_proj`` (D → E).
        merge: ``"mean"`` or ``"sum"`` over the directions.
        discretization: ``"euler"`` (the published kernels, default) or ``"zoh"``.

    Source: Gu & Dao, Mamba (2023), figure 3; directions as in Vision Mamba and VMamba (2024).
    Departure: with several directions the merged output passes ``LayerNorm(E)`` before ``out_proj``.
    """

    def __init__(
        self,
        d_model: int,
        d_state: int = 16,
        expand: int = 2,
        d_conv: int = 4,
        orders: str | Sequence[ScanOrder] = "forward",
        spatial_dims: int = 2,
        cross: bool = False,
        merge: str = "mean",
        discretization: str = "euler",
    ) -> None:
        if merge not in ("mean", "sum"):
            raise ValueError(f"merge must be 'mean' or 'sum', got {merge!r}.")
        resolved = resolve_scan_orders(orders, spatial_dims)
        groups, d_inner = len(resolved), expand * d_model
        super().__init__(d_inner, d_state, resolved, discretization)
        self.d_state, self.dt_rank, self.cross, self.merge = d_state, math.ceil(d_model / 16), cross, merge
        self.in_proj = nn.Linear(d_model, 2 * d_inner, bias=False)
        self.source_proj = nn.Linear(d_model, d_inner) if cross else None
        self.conv1d = StackedConv1d(groups, d_inner, d_conv)
        self.x_proj = StackedLinear(groups, d_inner, self.dt_rank + 2 * d_state, bias=False)
        self.dt_proj = StackedLinear(groups, self.dt_rank, d_inner)
        self._init_dt_proj()
        self.norm = nn.LayerNorm(d_inner) if groups > 1 else nn.Identity()
        self.out_proj = nn.Linear(d_inner, d_model, bias=False)

    def _init_dt_proj(self, dt_min: float = 1e-3, dt_max: float = 0.1, dt_floor: float = 1e-4) -> None:
        """Initial steps log-uniform in [dt_min, dt_max]; the bias is their inverse softplus (Mamba, section 3.6)."""
        bound = self.dt_rank**-0.5
        nn.init.uniform_(self.dt_proj.weight, -bound, bound)
        span = math.log(dt_max) - math.log(dt_min)
        bias = self.dt_proj.bias
        assert bias is not None
        dt = torch.exp(torch.rand_like(bias) * span + math.log(dt_min)).clamp(min=dt_floor)
        with torch.no_grad():
            bias.copy_(dt + torch.log(-torch.expm1(-dt)))

    def start_signal(self) -> None:
        """Let the state carry from the first step: larger B and C (half as much larger where a second map gives them,
        which is not made smaller by a SiLU)."""
        if hasattr(self, "x_proj"):  # not where the scan is left out
            carry_state(self.x_proj.weight[..., self.dt_rank :, :], STATE_GAIN / 2 if self.cross else STATE_GAIN)

    def forward(self, x: torch.Tensor, source: torch.Tensor | None = None) -> torch.Tensor:
        """Mix the tokens of a map.

        Args:
            x: ``(B, *spatial, D)``.
            source: the second map ``(B, *spatial, D)`` when ``cross=True``.

        Returns:
            ``(B, *spatial, D)``.

        Raises:
            ValueError: when ``source`` is missing for ``cross=True`` or given without it.
        """
        if self.cross != (source is not None):
            raise ValueError("cross=True takes two maps (x, source), cross=False takes one.")
        spatial = x.shape[1:-1]
        u, z = self.in_proj(x).chunk(2, dim=-1)  # (B, *spatial, E) each
        u = self.conv1d(u, self.orders, activation=True)  # (B, L, G, E)
        y = self._select(u, self.shared_tokens(z), source, scan_table(self.orders, tuple(spatial), x.device))
        y = merge_directions(y, self.merge).unflatten(1, spatial)  # (B, *spatial, E)
        return self.out_proj(self.norm(y))

    def _select(
        self, u: torch.Tensor, z: torch.Tensor, source: torch.Tensor | None, order: torch.Tensor | None
    ) -> torch.Tensor:
        """The gated scan of the tokens ``u`` and gate ``z``, ``(B, L, G, E)`` each, steered by ``u`` or ``source``.

        ``order``: the places that each direction visits, ``(G, L)``; None: as they lie.
        """
        if self.source_proj is None:
            steering = self.x_proj(u)
        else:
            steering = self.x_proj.shared(self.source_proj(source).flatten(1, -2))
        dt, b, c = steering.split([self.dt_rank, self.d_state, self.d_state], dim=-1)
        return self.scan(u, self._delta(dt), b, c, z=z, delta_bias=self.dt_proj.bias, order=order)

    def _delta(self, dt: torch.Tensor) -> torch.Tensor:
        """Raw step ``(B, L, G, E)`` from its low-rank form ``(B, L, G, R)``; the bias is added inside the scan."""
        if len(self.orders) == 1:
            return F.linear(dt, self.dt_proj.weight)
        return torch.einsum("blgr,ger->blge", dt, self.dt_proj.weight)
