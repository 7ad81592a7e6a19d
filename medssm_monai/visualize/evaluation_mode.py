"""Running a network for a picture of it, without a trace left in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

__all__ = ["evaluation_mode", "find_layer"]


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards each module has its own mode again, frozen BatchNorm layers included."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def find_layer(network: nn.Module, name: str) -> nn.Module:
    """A layer by its name in ``network.named_modules()``.

    Raises:
        ValueError: no layer of that name; the message lists the outer ones.
    """
    layers = dict(network.named_modules())
    if not name or name not in layers:
        known = ", ".join(other for other in layers if other and other.count(".") < 2)
        raise ValueError(f"the network has no layer {name!r}; its outer layers are: {known}.")
    return layers[name]
