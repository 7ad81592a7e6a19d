"""What the arguments of this package's networks may be, when they come from a file or a request."""

from __future__ import annotations

import inspect
import math
import typing
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from .value_rules import Rule, either, flag, number, plain, whole, wholes, word

__all__ = ["ARGUMENT_RULES", "MOST_PARAMETERS", "network_arguments", "wrong_argument", "require_affordable"]

MOST_PARAMETERS = 2**29
"""Parameters of a network that settings may ask for; 2 GiB in float32."""

NOTHING = Rule(lambda value: value is None, "null")
ARGUMENT_RULES: dict[str, Rule] = {
    "spatial_dims": whole(2, 3),
    "out_channels": whole(1, 256),
    "depth": whole(0, 64),
    "depths": wholes(0, 64, 1, 8),
    "decoder_depth": either(whole(0, 64), NOTHING),
    "decoder_depths": wholes(0, 64, 1, 8),
    "layers": wholes(0, 64, 1, 8),
    "exchange_rounds": whole(0, 64),
    "base_dim": whole(1, 256),
    "embed_dim": whole(1, 2048),
    "d_state": whole(1, 256),
    "expand": whole(1, 16),
    "kernel_size": whole(1, 31),
    "groups": whole(1, 512),
    "overlap": flag(),
    "spectral_gate": flag(),
    "attention_bridge": flag(),
    "fusion_bridge": flag(),
    "spectral_flow1": flag(),
    "spectral_flow2": flag(),
    "context_gate": flag(),
    "dropout": number(0, 0.99),
    "discretization": word(),
    "scan": word(),
    "block": word(),
    "fusion": word(),
    "orders": either(word(), NOTHING),
}
"""Argument -> what it may be. The bounds are far above what the networks are built with, and far below what stops a
computer."""

APART = {"img_size", "in_channels", "num_classes", "patch_size", "pretrained_path"}
"""Arguments that have settings of their own, or name files: they have no place in ``network_args``."""

OF_SETTINGS = {"image_size": "img_size", "class_names": "num_classes"}
LARGE = 4
OWN = ("spatial_dims", "in_channels", "patch_size", "image_size", "class_names")


@lru_cache
def network_arguments(variant: str) -> Mapping[str, Any] | None:
    """Names and defaults of the arguments that a registered network takes; None for other networks."""
    from ..registry import register  # only here, since the networks need this package

    known = register()
    if variant not in known:
        return None
    constructor: Callable[..., Any] = getattr(known, variant)
    preset = not inspect.isclass(constructor)
    cls = typing.get_type_hints(constructor)["return"] if preset else constructor
    return {name: parameter.default for name, parameter in inspect.signature(cls).parameters.items()}


def wrong_argument(variant: str, arguments: Mapping[str, Any]) -> tuple[str, Any, str] | None:
    """The first of a network's further arguments that it does not take, or not so: name, value, what is expected.

    Args:
        variant: name of the network; one that this package does not have takes any name, with plain values.
        arguments: what settings call ``network_args``.
    """
    known = network_arguments(variant)
    taken = None if known is None else sorted(set(known) - APART)
    for name, value in arguments.items():
        if not word().fits(name) or (taken is not None and name not in taken):
            return name, value, "one of the arguments " + ", ".join(taken or ()) if taken else word().expected
        rule = ARGUMENT_RULES.get(name) or plain()
        if not rule.fits(value):
            return name, value, rule.expected
    return None


def require_affordable(settings: Mapping[str, Any]) -> None:
    """Refuse a network with more than :data:`MOST_PARAMETERS` parameters, counted without building it in memory.

    Counted only where a setting asks for several times as much as the network has by default.

    Args:
        settings: checked ones, ``variant``, ``network_args`` and those that become arguments.

    Raises:
        ValueError: so many parameters, or arguments that do not make a network.
    """
    variant, given = settings.get("variant"), dict(settings.get("network_args") or {})
    defaults = network_arguments(variant) if isinstance(variant, str) else None
    if defaults is None:
        return
    for key in OWN:
        name = OF_SETTINGS.get(key, key)
        if name in defaults and key in settings:
            given[name] = len(settings[key]) if key == "class_names" else settings[key]
    defaults = {**defaults, "img_size": [defaults["img_size"]] * 2} if "img_size" in defaults else defaults
    large = any(_size(given[name]) > LARGE * max(_size(defaults[name]), 1) for name in given)
    if not large and given.get("fusion", "gap") == "gap":  # other fusions have weights for every token
        return
    import torch

    from ..registry import get_network

    try:
        with torch.device("meta"):
            count = sum(parameter.numel() for parameter in get_network(variant, **given).parameters())
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"no network {variant} can be built ({error}).") from error
    if count > MOST_PARAMETERS:
        raise ValueError(f"the network would have {count:,} parameters; at most {MOST_PARAMETERS:,} are built.")


def _size(value: Any) -> float:
    """How much an argument asks for: a number, or the product of several."""
    if isinstance(value, (list, tuple)) and all(isinstance(entry, int) for entry in value):
        return math.prod(max(entry, 1) for entry in value)
    return float(value) if isinstance(value, (int, float)) else 0.0
