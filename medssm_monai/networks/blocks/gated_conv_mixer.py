"""The Mamba block without its scan, to measure what the scan earns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from ..layers import ScanOrder
from .mamba_mixer import MambaMixer

__all__ = ["SCANS", "GatedConvMixer", "build_mixer"]

SCANS = ("selective", "identity")
OF_THE_SCAN = ("d_state", "cross", "discretization")


class GatedConvMixer(MambaMixer):
    """:class:`MambaMixer` whose scan is the identity: in_proj → causal conv1d + SiLU → gate → out_proj.

    The layers that only steer the scan (``x_proj``, ``dt_proj``, ``A_log``, ``D``) are gone; names and shapes of the
    others are unchanged. A token then sees the ``d_conv - 1`` tokens before it and no further.

    Args:
        d_model: channels ``D`` of the input and output.
        expand: ``E = expand * d_model``.
        d_conv: width of the causal convolution, in tokens.
        orders: a named scan set or the orders themselves.
        spatial_dims: 1, 2 or 3.
        merge: ``"mean"`` or ``"sum"`` over the directions.

    Source: the Gated CNN block of Yu & Wang, "MambaOut: Do We Really Need Mamba for Vision?" (2024), figure 1.
    """

    def __init__(
        self,
        d_model: int,
        expand: int = 2,
        d_conv: int = 4,
        orders: str | Sequence[ScanOrder] = "forward",
        spatial_dims: int = 2,
        merge: str = "mean",
    ) -> None:
        super().__init__(d_model, expand=expand, d_conv=d_conv, orders=orders, spatial_dims=spatial_dims, merge=merge)
        del self.x_proj, self.dt_proj, self.A_log, self.D  # parameters without gradient would stop several GPUs

    @property
    def states(self) -> int:
        """None: there is no scan."""
        return 0

    def _select(
        self, u: torch.Tensor, z: torch.Tensor, source: torch.Tensor | None, order: torch.Tensor | None
    ) -> torch.Tensor:
        return u * F.silu(z)


def build_mixer(d_model: int, scan: str = "selective", **mixer_args: Any) -> MambaMixer:
    """The mixer of a block: with its scan, or the same without it.

    Args:
        d_model: channels of the input and output.
        scan: ``"selective"`` (:class:`MambaMixer`) or ``"identity"`` (ablation: :class:`GatedConvMixer`).
        mixer_args: further arguments of the mixer; those that only a scan has (``d_state``, ``cross``,
            ``discretization``) are left out without one.

    Raises:
        ValueError: when ``scan`` is neither.
    """
    if scan not in SCANS:
        raise ValueError(f"scan must be one of {SCANS}, got {scan!r}.")
    if scan == "selective":
        return MambaMixer(d_model, **mixer_args)
    return GatedConvMixer(d_model, **{name: value for name, value in mixer_args.items() if name not in OF_THE_SCAN})
