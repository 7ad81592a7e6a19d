"""Weights as other programs save them, brought to the flat form that networks load."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch

__all__ = ["flat_state_dict"]

logger = logging.getLogger(__name__)

WRAPPERS = ("state_dict", "model_state_dict", "model", "network", "net")
PARALLEL, COMPILED = "module", "_orig_mod"


def flat_state_dict(saved: Any, name: str) -> dict[str, torch.Tensor]:
    """Names and tensors of a network out of what a file held.

    Taken off, with one line in the log: an entry such as ``"state_dict"`` or ``"model"`` around the weights (of a
    training's checkpoint, for instance), ``module.`` before every name (``DataParallel``, ``DistributedDataParallel``)
    and ``_orig_mod.`` (``torch.compile``), also one inside the other.

    Args:
        saved: what ``torch.load`` gave.
        name: of the file, for messages.

    Raises:
        ValueError: no weights in it.
    """
    state, taken_off = saved, []
    while not _is_flat(state):
        entries = state if isinstance(state, Mapping) else {}
        entry = next((key for key in WRAPPERS if isinstance(entries.get(key), Mapping)), None)
        if entry is None:
            raise ValueError(
                f"{name}: no flat state dict (names and tensors), nor one in an entry "
                f"{', '.join(map(repr, WRAPPERS))}; give the model.pt of a training."
            )
        state = entries[entry]
        taken_off.append(f"the entry {entry!r}")
    names = {key: key for key in state}
    if any(COMPILED in key.split(".") for key in names):
        names = {key: ".".join(part for part in new.split(".") if part != COMPILED) for key, new in names.items()}
        taken_off.append(f"{COMPILED!r} (torch.compile)")
    while names and all(new.startswith(f"{PARALLEL}.") for new in names.values()):
        names = {key: new.removeprefix(f"{PARALLEL}.") for key, new in names.items()}
        taken_off.append(f"{PARALLEL!r} (DataParallel)")
    if taken_off:
        logger.info("%s: taken off around the weights: %s", name, ", ".join(taken_off))
    return {new: state[key] for key, new in names.items()}


def _is_flat(state: Any) -> bool:
    return isinstance(state, Mapping) and all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in state.items()
    )
