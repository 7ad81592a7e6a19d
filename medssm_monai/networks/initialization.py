"""How a network starts: PyTorch's values as published, or values that keep signal and gradient alive in every block.

Blocks that start otherwise than PyTorch's layers have a method ``start_signal``; a network calls :func:`start` once it
is built. Names, shapes and counts of parameters do not depend on it, and a checkpoint replaces whatever was set.
"""

from __future__ import annotations

import torch
import torch.nn as nn

__all__ = ["INITS", "carry_state", "near_identity", "start"]

INITS = ("signal", "published")
"""Values of the networks' argument ``init``."""
STATE_GAIN = 5.0
"""By how much the projections to B and C start above PyTorch's values. S4D (Gu et al., 2022, section 4) starts with
B = 1 and C of unit variance; PyTorch's linear layer after a SiLU leaves .13, and the state part ``C·h`` then is .005 to
.01 of the skip ``D·u``. It grows with the square of the gain: 5 makes it .06 to .5 on real
images (medians .14 of Mamba-MIS, .18 of MedConvMamba, .25 of ClinicalFMamba)."""


def start(network: nn.Module, init: str) -> None:
    """Set the first values of a network that was just built.

    Args:
        network: the network, with the values that its layers drew.
        init: ``"signal"``, which calls ``start_signal`` of every block that has it, or ``"published"``, which changes
            nothing.

    Raises:
        ValueError: another ``init``.
    """
    if init not in INITS:
        raise ValueError(f"init must be one of {INITS}, got {init!r}.")
    if init == "published":
        return
    with torch.no_grad():
        for module in network.modules():
            begin = getattr(module, "start_signal", None)
            if begin is not None:
                begin()


def near_identity(conv: nn.Module, share: float) -> None:
    """A convolution that passes its input on: a Dirac kernel plus ``share`` of the values drawn; no bias.

    Source: Zagoruyko and Komodakis, "DiracNets" (2017, arXiv 1706.00388), where deep plain networks train with it.
    """
    weight, bias = conv.weight, conv.bias
    assert isinstance(weight, torch.Tensor) and isinstance(bias, torch.Tensor)
    with torch.no_grad():
        groups = weight.shape[0] // weight.shape[1] if weight.shape[1] == 1 else 1
        weight.mul_(share).add_(nn.init.dirac_(torch.empty_like(weight), groups=groups))
        bias.zero_()


def carry_state(projection: torch.Tensor, gain: float = STATE_GAIN) -> None:
    """Raise the rows of a projection that give B and C, in place, so that the scan's state carries from the start."""
    with torch.no_grad():
        projection.mul_(gain)
