"""The selective core that every mixer of this package shares: parameters ``A``, ``D`` and one grouped scan.

Glossary: ``B`` batch, ``L`` tokens, ``E`` inner channels (``d_inner``), ``N`` state size (``d_state``), ``R`` rank of
the step projection (``dt_rank``), ``G`` scan directions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn as nn

from ...ops import projected_scan, selective_scan
from ...ops.arguments import DISCRETIZATIONS, cast
from ..layers import ScanOrder, StackedLinear, resolve_scan_orders, scan_table

__all__ = ["DirectionalS6", "IdentityS6", "SelectiveCore", "merge_directions"]


def merge_directions(maps: torch.Tensor, merge: str) -> torch.Tensor:
    """Bring the directions together: ``(B, *spatial, G, C)`` to ``(B, *spatial, C)``, or ``G*C`` for ``"concat"``.

    Raises:
        ValueError: when ``merge`` is none of ``"mean"``, ``"sum"``, ``"concat"``.
    """
    if merge == "mean":
        return maps.mean(-2)
    if merge == "sum":
        return maps.sum(-2)
    if merge == "concat":
        return maps.flatten(-2)
    raise ValueError(f"merge must be 'mean', 'sum' or 'concat', got {merge!r}.")


class SelectiveCore(nn.Module):
    """State matrix ``A``, skip ``D`` and the scan of a state-space layer with ``G`` directions.

    ``A_log`` has shape ``(G, E, N)`` with initial value ``log(1..N)`` (``A = -exp(A_log)``), ``D`` has ``(G, E)`` with
    initial value 1; with one direction there is no ``G`` axis and names and shapes are those of ``mamba_ssm.Mamba``.
    All directions run as one grouped call of :func:`medssm_monai.ops.selective_scan`.

    Args:
        d_inner: channels ``E`` of each direction.
        d_state: state size ``N``.
        orders: scan directions.
        discretization: ``"euler"`` (the published kernels) or ``"zoh"`` (the papers' formula).

    Raises:
        ValueError: when ``discretization`` is neither.

    Source: Gu & Dao, Mamba (2023), section 3 and algorithm 2.
    """

    def __init__(self, d_inner: int, d_state: int, orders: Sequence[ScanOrder], discretization: str = "euler") -> None:
        super().__init__()
        if discretization not in DISCRETIZATIONS:
            raise ValueError(f"discretization must be one of {DISCRETIZATIONS}, got {discretization!r}.")
        self.orders, self.discretization = tuple(orders), discretization
        lead = () if len(self.orders) == 1 else (len(self.orders),)
        a = torch.arange(1, d_state + 1, dtype=torch.float32).log()
        self.A_log = nn.Parameter(a.expand(*lead, d_inner, d_state).clone())
        self.D = nn.Parameter(torch.ones(*lead, d_inner))

    @property
    def states(self) -> int:
        """State variables that the scan updates at each token: ``G * E * N``."""
        return self.A_log.numel()

    def shared_tokens(self, maps: torch.Tensor) -> torch.Tensor:
        """The same map for all directions: ``(B, *spatial, C)`` to ``(B, L, G, C)``."""
        return maps.flatten(1, -2).unsqueeze(2).expand(-1, -1, len(self.orders), -1)

    def scan(
        self,
        u: torch.Tensor,
        delta: torch.Tensor,
        b: torch.Tensor,
        c: torch.Tensor,
        z: torch.Tensor | None = None,
        delta_bias: torch.Tensor | None = None,
        order: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Scan all directions at once.

        Args:
            u, delta, z: tokens, raw steps (before softplus) and optional gate ``(B, L, G, E)``.
            b, c: input and output projections ``(B, L, G, N)``.
            delta_bias: added to ``delta`` before softplus, ``(G, E)`` or ``(E,)``.
            order: table ``(G, L)`` of the positions that each direction visits; ``None`` when the tokens of each
                direction already lie in its own order.

        Returns:
            ``(B, L, G, E)``, in the order of the input.
        """
        groups, width = u.shape[2:]
        u, delta, b, c = (t.permute(0, 2, 3, 1) for t in (u, delta, b, c))  # (B, G, E or N, L)
        y: torch.Tensor = selective_scan(  # type: ignore[assignment]  # a pair only where the last state is asked for
            u,
            delta,
            -torch.exp(cast(self.A_log, torch.float32)).reshape(groups, width, -1),
            b,
            c,
            cast(self.D, torch.float32).reshape(groups, width),
            z=None if z is None else z.permute(0, 2, 3, 1),
            delta_bias=None if delta_bias is None else cast(delta_bias, torch.float32).reshape(groups, width),
            delta_softplus=True,
            discretization=self.discretization,
            order=order,
        )
        return y.permute(0, 3, 1, 2)


class DirectionalS6(SelectiveCore):
    """S6: the selective scan with its own projections, one independent set per direction, on one shared map.

    ``Δ = softplus(Linear(C → C))`` with initial bias -4, ``B, C = Linear(C → 2N)`` without bias. Departure from Mamba's
    own block: the step projection has full rank, and there is no convolution and no gate (Mamba-MIS, BFSS).

    Args:
        channels: ``C``.
        d_state: state size ``N``.
        orders: a named scan set or the orders themselves.
        spatial_dims: 1, 2 or 3.
        merge: ``"concat"``, ``"sum"`` or ``"mean"`` over the directions.
        discretization: ``"zoh"`` (as the paper prints it) or ``"euler"``.
    """

    def __init__(
        self,
        channels: int,
        d_state: int = 32,
        orders: str | Sequence[ScanOrder] = "rows_columns",
        spatial_dims: int = 2,
        merge: str = "concat",
        discretization: str = "zoh",
    ) -> None:
        resolved = resolve_scan_orders(orders, spatial_dims)
        super().__init__(channels, d_state, resolved, discretization)
        self.merge, self.d_state = merge, d_state
        self.delta_proj = StackedLinear(len(resolved), channels, channels)
        assert self.delta_proj.bias is not None
        nn.init.constant_(self.delta_proj.bias, -4.0)
        self.bc_proj = StackedLinear(len(resolved), channels, 2 * d_state, bias=False)

    def forward(self, x: torch.Tensor, merged: bool = True) -> torch.Tensor:
        """``(B, *spatial, C)`` to ``(B, *spatial, C)``, or ``G*C`` channels for ``merge="concat"``.

        ``merged=False``: what each direction makes of it, ``(B, *spatial, G, C)``.
        """
        spatial = tuple(x.shape[1:-1])
        tokens, order = x.flatten(1, -2), scan_table(self.orders, spatial, x.device)
        y = self._scan_noted(tokens, order) if "scan" in self.__dict__ else self._scan(tokens, order)
        y = y.unflatten(1, spatial)  # (B, *spatial, G, C)
        return merge_directions(y, self.merge) if merged else y

    def _scan_noted(self, x: torch.Tensor, order: torch.Tensor | None) -> torch.Tensor:
        """The same by way of :meth:`scan`, which somebody replaced on this module to see what it is given."""
        b, c = self.bc_proj.shared(x).split([self.d_state, self.d_state], dim=-1)
        return self.scan(self.shared_tokens(x), self.delta_proj.shared(x), b, c, order=order)

    def _scan(self, x: torch.Tensor, order: torch.Tensor | None) -> torch.Tensor:
        """``(B, L, C)`` to ``(B, L, G, C)``."""
        groups, width = len(self.orders), x.shape[-1]
        assert self.delta_proj.bias is not None
        return projected_scan(
            x,
            self.delta_proj.weight.view(groups, width, width),
            self.bc_proj.weight.view(groups, -1, width),
            -torch.exp(cast(self.A_log, torch.float32)).view(groups, width, -1),
            cast(self.D, torch.float32).view(groups, width),
            cast(self.delta_proj.bias, torch.float32).view(groups, width),
            discretization=self.discretization,
            order=order,
        )


class IdentityS6(nn.Module):
    """:class:`DirectionalS6` whose scans are the identity (ablation): every direction gives the map itself.

    It has no parameters.

    Args:
        directions: how many.
        merge: ``"concat"``, ``"sum"`` or ``"mean"`` over the directions.
    """

    def __init__(self, directions: int = 2, merge: str = "concat") -> None:
        super().__init__()
        self.directions, self.merge = directions, merge

    def forward(self, x: torch.Tensor, merged: bool = True) -> torch.Tensor:
        """As :meth:`DirectionalS6.forward`."""
        y = torch.stack([x] * self.directions, dim=-2)  # (B, *spatial, G, C)
        return merge_directions(y, self.merge) if merged else y
