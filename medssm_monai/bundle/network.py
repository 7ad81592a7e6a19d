"""A bundle's network, built from the settings that lie beside its weights."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn as nn

from ..registry import get_network
from .argument_rules import settings_arguments
from .checkpoint import start_from
from .label_fit import other_classes
from .same_use import require_same_arguments, require_same_use

__all__ = ["build_network"]


def build_network(
    variant: str,
    settings: Mapping[str, Any],
    init_from: str | os.PathLike[str] | None = None,
    class_names: Sequence[str] | None = None,
    **arguments: Any,
) -> nn.Module:
    """Build a registered network as its settings describe it; the component ``network_def`` of the bundles.

    Args:
        variant: name of the network, a key of :data:`medssm_monai.registry.Networks`.
        settings: those that become arguments, by the names that settings files have: ``spatial_dims``,
            ``in_channels``, ``patch_size``, ``image_size`` (the argument ``img_size``), ``class_names`` (as many
            ``num_classes``), ``labels`` (the ``out_channels`` that they need), ``output``, and ``network_args``,
            further arguments by their own names. A setting whose argument the network does not take is left out: it
            belongs to the processing around it.
        init_from: weights to start from (:func:`~.checkpoint.start_from`); None initializes the network. Where they are
            of other classes the last layer keeps the classes of the same name, and the others start afresh.
        class_names: names of the classes of a training, in the order of the network's outputs, to compare with those of
            ``init_from``; None takes ``class_names`` or ``labels`` of the settings.
        arguments: of the network, by their own names, such as ``num_classes`` or ``pretrained_path``.

    Raises:
        ValueError: unknown network, one argument given twice, or weights that were used otherwise.
        TypeError: an argument that the network does not take.
        FileNotFoundError: no such weights.

    Example:
        >>> build_network("mamba_mis_s", {"in_channels": 1, "network_args": {"out_channels": 2}}).head.out_channels
        2
    """
    given = settings_arguments(variant, settings)
    further = dict(settings.get("network_args") or {})
    twice = sorted((given.keys() & further.keys()) | (arguments.keys() & (given.keys() | further.keys())))
    if twice:
        raise ValueError(f"{variant}: {', '.join(twice)} have settings of their own; leave them out of network_args.")
    require_same_use(settings, init_from)
    network = get_network(variant, **given, **further, **arguments)
    require_same_arguments(network, further, init_from)
    named = settings if class_names is None else {**settings, "class_names": class_names}
    return start_from(network, init_from, other_classes(named, init_from))
