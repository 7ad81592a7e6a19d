"""Size and cost of a network: parameters and multiply-accumulates, by counting conventions that have names."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count, sdpa_flop_count

from .blocks import SelectiveCore

__all__ = ["SCAN_FLOPS", "Complexity", "count_complexity"]

SCAN_FLOPS = 9
"""Operations of a selective scan per token, channel and state: the convention of VMamba's code (Liu et al., 2024)."""


@dataclass(frozen=True)
class Complexity:
    """Parameters of a network and operations of one forward pass for one image.

    Attributes:
        parameters: number of trainable and frozen parameters.
        convolutions: multiply-accumulates (MAC) of the 2D and 3D convolutions, transposed ones included. This alone is
            what some papers print as "FLOPs", MedConvMamba among them.
        token_convolutions: MAC of the 1D convolutions, which run along the tokens.
        products: MAC of all matrix products: linear layers and attention.
        scan_flops: operations of the selective scans, :data:`SCAN_FLOPS` for each token, channel and state. These are
            single operations, exponentials among them, not MAC, so they are never added to the others.
    """

    parameters: int
    convolutions: int
    token_convolutions: int
    products: int
    scan_flops: int

    @property
    def total(self) -> int:
        """MAC of all convolutions and matrix products; the scan stands beside it in :attr:`scan_flops`."""
        return self.convolutions + self.token_convolutions + self.products


class _Tally(FlopCounterMode):
    """PyTorch's counter, with 1D convolutions apart and with the attention kernel of the CPU, which it passes over."""

    def __init__(self) -> None:
        self.token_convolutions = 0
        aten = torch.ops.aten
        formulas: dict[Any, Callable[..., int]] = {aten.convolution: self._convolution}
        formulas[aten._scaled_dot_product_flash_attention_for_cpu] = self._attention
        super().__init__(display=False, custom_mapping=formulas)

    def _convolution(
        self,
        x: Any,
        weight: Any,
        bias: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        transposed: bool,
        *args: Any,
        out_shape: Any = None,
    ) -> int:
        flops = conv_flop_count(x, weight, out_shape, transposed=transposed)
        if len(weight) > 3:  # (out, in, *kernel)
            return flops
        self.token_convolutions += flops // 2
        return 0

    @staticmethod
    def _attention(query: Any, key: Any, value: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
        return sdpa_flop_count(query, key, value)

    def macs(self) -> tuple[int, int]:
        """MAC of the 2D and 3D convolutions, and of everything else but the 1D convolutions."""
        flops = self.get_flop_counts().get("Global", {})
        convolutions = flops.get(torch.ops.aten.convolution, 0)
        return convolutions // 2, (sum(flops.values()) - convolutions) // 2


def count_complexity(net: nn.Module, *input_shapes: Sequence[int]) -> Complexity:
    """Count a network's parameters and the operations of one forward pass.

    The network runs once in evaluation mode on zeros, where it lies. On the ``meta`` device nothing is computed, so
    that a large 3D network costs no time: build it inside ``with torch.device("meta"):``. (Networks that switch
    autocast off by themselves, such as Mamba-MIS, cannot run there.)

    Not counted, as is the custom: whatever works element by element (norms, activations, gates, biases), pooling,
    resampling and Fourier transforms.

    Args:
        net: network of this package, of MONAI or any other.
        input_shapes: shape of each input without the batch axis, for example ``(3, 224, 224)``.

    Raises:
        ValueError: when no shape is given.

    Example:
        >>> count_complexity(nn.Conv2d(3, 8, 3, padding=1), (3, 16, 16)).convolutions
        55296
    """
    if not input_shapes:
        raise ValueError("count_complexity needs the shape of each input without batch axis, such as (3, 224, 224).")
    like = next(net.parameters(), torch.empty(0))
    inputs = [torch.zeros(1, *shape, dtype=like.dtype, device=like.device) for shape in input_shapes]
    scans: list[int] = []

    def note_scan(core: SelectiveCore, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        tokens = math.prod(args[0].shape[:-1])  # (B, *spatial, channels)
        scans.append(tokens * core.states)

    with ExitStack() as stack:
        for module in net.modules():
            stack.callback(setattr, module, "training", module.training)
            if isinstance(module, SelectiveCore):
                stack.callback(module.register_forward_hook(note_scan).remove)
        stack.enter_context(torch.no_grad())
        tally = stack.enter_context(_Tally())
        net.eval()(*inputs)
    convolutions, products = tally.macs()
    parameters = sum(p.numel() for p in net.parameters())
    return Complexity(parameters, convolutions, tally.token_convolutions, products, SCAN_FLOPS * sum(scans))
