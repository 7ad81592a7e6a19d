"""Whether weights that a training starts from mean here what they meant where they were learned."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from typing import Any

import torch.nn as nn

from .settings import saved_settings, settings_file

__all__ = ["require_same_arguments", "require_same_use"]

EARLIER_USE = {"mean": 0.0, "std": 1.0, "output": "image"}
"""How weights were trained whose settings do not say how images were normalized, or what the output means."""

EARLIER_DIMS = 2
"""``spatial_dims`` of settings that do not name them."""

ARGUMENTS = ("discretization", "instance_norm", "spectral_grid", "stem")
"""Arguments of networks by which the same weights compute something else, or for which there are others."""


def require_same_use(settings: Mapping[str, Any], ckpt_path: str | os.PathLike | None) -> None:
    """Compare how a training uses its network with how the weights that it starts from were used: the normalization of
    images (``mean``, ``std``), and what the output means (``output``).

    Args:
        settings: of the training; what they do not name is not compared.
        ckpt_path: weights to start from; None, and weights without a settings file, pass.

    Raises:
        ValueError: another value, or other ``spatial_dims``, naming both and what to pass.
    """
    saved = None if ckpt_path is None else saved_settings(ckpt_path)
    if ckpt_path is None or saved is None:
        return
    dims, own = saved.get("spatial_dims", EARLIER_DIMS), settings.get("spatial_dims")
    if own is not None and dims != own:
        raise ValueError(
            f"{os.fspath(ckpt_path)}: its weights are for spatial_dims {dims}, this training has {own}. Name weights "
            "of the same dimensions in --init_from, or leave it out."
        )
    theirs = {key: saved.get(key, earlier) for key, earlier in EARLIER_USE.items() if key in settings}
    if any(_each(settings[key]) != _each(value) for key, value in theirs.items()):
        wanted = " ".join(f"--{key} {str(value).replace(' ', '')!r}" for key, value in theirs.items())
        here = ", ".join(f"{key} {settings[key]}" for key in theirs)
        what = "used the network's output" if "output" in theirs else "normalized images"
        raise ValueError(
            f"{os.fspath(ckpt_path)}: its training {what} otherwise ({settings_file(ckpt_path).name}) than this one "
            f"({here}), and the values would mean something else than the weights have learned. Pass {wanted}."
        )


def require_same_arguments(
    network: nn.Module, arguments: Mapping[str, Any], ckpt_path: str | os.PathLike | None
) -> None:
    """Compare those arguments of a network by which the same weights compute something else, or for which there are
    others, with those that weights to start from were learned with.

    Args:
        network: the network; its class has the defaults.
        arguments: ``network_args`` of the training.
        ckpt_path: weights to start from; None, and weights without a settings file, pass.

    Raises:
        ValueError: another value, naming both and what to pass.
    """
    saved = None if ckpt_path is None else saved_settings(ckpt_path)
    if ckpt_path is None or saved is None:
        return
    known = inspect.signature(type(network)).parameters
    shared = {key: known[key].default for key in ARGUMENTS if key in known}
    there, here = (
        {key: (of or {}).get(key, shared[key]) for key in shared} for of in (saved.get("network_args"), arguments)
    )
    differing = [key for key in shared if there[key] != here[key]]
    if differing:
        learned = " and ".join(f"{key} {there[key]}" for key in differing)
        wanted = " ".join(f"--network_args#{key} {there[key]}" for key in differing)
        raise ValueError(
            f"{os.fspath(ckpt_path)}: its weights were learned with {learned}, and are none for a network with "
            f"{' and '.join(str(here[key]) for key in differing)}. Pass {wanted}, or leave init_from out."
        )


def _each(value: Any) -> tuple[Any, ...]:
    """The values of the channels; a single one where they are all the same."""
    values = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    return values[:1] if len(set(values)) == 1 else values
