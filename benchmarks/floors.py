"""The least time that a network's arithmetic and its traffic with memory allow on this machine."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from medssm_monai.networks.complexity import SCAN_FLOPS, Complexity

from .scan import bandwidth, exponential_rate
from .timing import timed

__all__ = ["Floor", "Rates", "measure_rates", "module_bytes"]


@dataclass(frozen=True)
class Rates:
    """What the machine reached in this run, on the threads of the run."""

    macs_per_s: float
    exponentials_per_s: float
    bytes_per_s: float

    def __str__(self) -> str:
        return (
            f"matrix product {self.macs_per_s / 1e9:.1f} GMAC/s, exponentials {self.exponentials_per_s / 1e9:.2f} G/s, "
            f"triad {self.bytes_per_s / 1e9:.1f} GB/s"
        )


def measure_rates(threads: int, device: str = "cpu") -> Rates:
    """Best of ten products of square float32 matrices of side 1024, exponentials of the scan's own function, triad."""
    a, b = torch.rand(1024, 1024, device=device), torch.rand(1024, 1024, device=device)
    out = torch.empty_like(a)
    product = min(timed(lambda: torch.mm(a, b, out=out), device) for _ in range(10))
    return Rates(1024**3 / product, exponential_rate(device, threads), bandwidth(device))


def module_bytes(net: nn.Module, x: Tensor) -> int:
    """Bytes of inputs, outputs and weights of the modules in one forward pass.

    Counted are the modules without parts of their own and those with weights of their own; what a network computes
    between its modules is not, so that this is a lower bound.
    """
    total = [0]

    def size(tensors: Any) -> int:
        if isinstance(tensors, Tensor):
            return tensors.numel() * tensors.element_size()
        return sum(map(size, tensors)) if isinstance(tensors, (tuple, list)) else 0

    def note(module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        weights = sum(size(weight) for weight in module.parameters(recurse=False))
        total[0] += size(given) + size(output) + weights

    with ExitStack() as stack:
        for module in net.modules():
            if not list(module.children()) or list(module.parameters(recurse=False)):
                stack.callback(module.register_forward_hook(note).remove)
        with torch.no_grad():
            net.eval()(x)
    return total[0]


@dataclass(frozen=True)
class Floor:
    """Milliseconds below which a pass cannot come: of its products, its exponentials, its bytes."""

    products: float
    exponentials: float
    memory: float

    @classmethod
    def of(cls, cost: Complexity, batch: int, moved: int, rates: Rates, training: bool) -> Floor:
        """Of a pass over a batch. A backward pass has two products for each one of the forward pass, moves twice its
        bytes, and computes the exponentials of the scans once more.
        """
        times, exponentials = (3, 2) if training else (1, 1)
        products = times * batch * cost.total / rates.macs_per_s
        scans = exponentials * batch * cost.scan_flops / SCAN_FLOPS / rates.exponentials_per_s
        return cls(1e3 * products, 1e3 * scans, 1e3 * times * moved / rates.bytes_per_s)

    @property
    def milliseconds(self) -> float:
        """The larger of arithmetic (products and exponentials, one after the other) and memory."""
        return max(self.products + self.exponentials, self.memory)
