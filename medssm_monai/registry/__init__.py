"""Registration with MONAI's factories, so that names work wherever MONAI looks layers and networks up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn as nn
from monai.networks.layers import Norm
from monai.networks.layers.factories import LayerFactory
from monai.utils import ComponentStore

from ..networks import nets
from ..networks.blocks import BFSS, DirectionalS6, GatedConvMixer, MambaMixer
from ..networks.layers import ChannelLayerNorm

__all__ = ["Mixer", "Networks", "get_network", "register"]

Mixer = LayerFactory(name="Token mixers", description="Factory for layers that mix the tokens of a map.")
Networks = ComponentStore("Networks", "Networks of this package and their variants, by name.")


def register() -> ComponentStore:
    """Hand layers and networks to MONAI's factories; calling it again changes nothing.

    Adds ``Norm["channel_layer"]`` to MONAI's normalization factory, fills :data:`Mixer` (``mamba``, ``gated_conv``,
    ``s6``, ``bfss``) and :data:`Networks` (every public name of :mod:`medssm_monai.networks.nets`).

    Returns:
        :data:`Networks`.
    """
    for factory, name, layer in (
        (Norm, "channel_layer", ChannelLayerNorm),
        (Mixer, "mamba", MambaMixer),
        (Mixer, "gated_conv", GatedConvMixer),
        (Mixer, "s6", DirectionalS6),
        (Mixer, "bfss", BFSS),
    ):
        if name.upper() not in factory:
            factory.add_factory_class(name, layer, (layer.__doc__ or "").strip().splitlines()[0])
    for name in nets.__all__:
        constructor = getattr(nets, name)
        if name not in Networks:
            Networks.add(name, (constructor.__doc__ or "").strip().splitlines()[0], constructor)
    return Networks


def get_network(name: str, **arguments: Any) -> nn.Module:
    """Build a registered network.

    Args:
        name: a key of :data:`Networks`, for example ``"mamba_mis_s"``.
        arguments: passed to its constructor.

    Raises:
        ValueError: when the name is unknown; the message lists the known ones.

    Example:
        >>> get_network("mamba_mis_s", out_channels=2).head.out_channels
        2
    """
    known: ComponentStore = register()
    if name not in known:
        raise ValueError(f"unknown network {name!r}; known networks: {', '.join(sorted(known.names))}.")
    constructor: Callable[..., nn.Module] = getattr(known, name)
    return constructor(**arguments)
