"""Dropout of a residual branch, of single values and of the branch as a whole (stochastic depth)."""

from __future__ import annotations

import torch
import torch.nn as nn
from monai.networks.layers import DropPath

__all__ = ["BranchDropout", "set_drop_path"]


class BranchDropout(nn.Dropout):
    """``torch.nn.Dropout`` on what a block adds to its input, then MONAI's ``DropPath``: in training a sample goes
    without the whole branch with the probability ``path.drop_prob``, and has it divided by the rest otherwise.

    Without parameters or buffers; with both probabilities 0, and in evaluation mode, it is the identity and draws no
    random numbers.

    Args:
        p: probability of a single value.
    """

    def __init__(self, p: float = 0.0) -> None:
        super().__init__(p)
        self.path = DropPath(0.0)

    @property
    def active(self) -> bool:
        """Whether a call changes anything."""
        return self.training and (self.p > 0 or self.path.drop_prob > 0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape, the batch first, to the same shape."""
        dropped: torch.Tensor = self.path(super().forward(x))
        return dropped


def set_drop_path(rate: float, *stages: nn.Module) -> None:
    """Stochastic depth for the blocks of these stages: the ``l``-th of ``L`` branches is dropped with ``rate * l / L``.

    Args:
        rate: of the last branch, at least 0 and below 1.
        stages: modules in the order in which they run; each :class:`BranchDropout` in them is one branch.

    Raises:
        ValueError: for another rate.

    Source: Huang et al., Deep Networks with Stochastic Depth (2016), equation 4.
    """
    if not 0 <= rate < 1:
        raise ValueError(f"drop_path must be at least 0 and below 1, got {rate}.")
    branches = [module for stage in stages for module in stage.modules() if isinstance(module, BranchDropout)]
    for number, branch in enumerate(branches, start=1):
        branch.path.drop_prob = rate * number / len(branches)
