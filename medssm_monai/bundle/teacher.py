"""A trained network of the same task, built by a bundle's own configs, whose predictions another one learns from."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..utils import root_cause
from ..utils.files import file_sha256
from .checkpoint import load_weights
from .settings import RESERVED, TRAINED_ON, saved_settings, settings_file
from .weights import WEIGHTS, require_weights

__all__ = ["Teacher", "load_teacher"]

SAME = ("spatial_dims", "in_channels", "image_size", "mean", "std", "class_names", "labels", "spacing", "intensity")
"""Settings that say what images come in and what comes out; teacher and student share those that both have."""


@dataclass(frozen=True)
class Teacher:
    """A network in evaluation mode without gradients, and whose it is.

    Attributes:
        network: the network.
        name: variant, data and the first digits of the SHA-256 of the weights.
        sha256: of the weights.
    """

    network: torch.nn.Module
    name: str
    sha256: str


def load_teacher(
    ckpt_path: str | os.PathLike[str] | None,
    configs: Sequence[str | os.PathLike[str]],
    settings: Mapping[str, Any],
    device: str | torch.device = "cpu",
) -> Teacher:
    """Build a teacher and give it its weights.

    Args:
        ckpt_path: its ``model.pt``, or the folder of a training that holds it.
        configs: config files that it was trained with, ``train.yaml`` and the overlay of a baseline; their
            ``network_def`` is built with the settings beside the weights.
        settings: those of the network that is to learn.
        device: where it computes.

    Raises:
        FileNotFoundError: no such weights, no settings beside them, or no such config.
        ValueError: none named, it takes other images or gives other classes than the network that is to learn, or the
            configs build another network than the weights are of.
    """
    if not ckpt_path:
        raise ValueError("distillation needs a teacher: name the run's folder or model.pt in --teacher.")
    given = Path(ckpt_path)
    remedy = "Name the folder of a finished training, or its model.pt, in --teacher."
    path = require_weights(given / WEIGHTS if given.is_dir() else given, "weights of a teacher", remedy)
    own = saved_settings(path)
    if own is None:
        raise FileNotFoundError(f"no {settings_file(path)} beside the teacher's weights. {remedy}")
    _require_same(path, own, settings)
    missing = [str(file) for file in configs if not Path(file).is_file()]
    if missing:
        raise FileNotFoundError(
            f"no config {', '.join(missing)}, which the teacher was trained with; see --teacher_overlay."
        )
    network = _build(configs, {key: value for key, value in own.items() if key not in RESERVED})
    load_weights(network, path)
    digest = file_sha256(path)
    name = f"{own.get('variant')} trained on {own.get(TRAINED_ON) or 'data not recorded'} ({digest[:12]})"
    return Teacher(network.to(device).eval().requires_grad_(False), name, digest)


def _require_same(path: str | os.PathLike[str], own: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    for key in SAME:
        if key in own and key in settings and _plain(own[key]) != _plain(settings[key]):
            raise ValueError(
                f"the teacher {os.fspath(path)} was trained with {key} {own[key]!r}, this network has "
                f"{settings[key]!r}. Train the teacher by the same command, with the overlay of a baseline."
            )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):  # of labels the order counts, which is that of the channels
        return [(key, _plain(one)) for key, one in value.items()]
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value


def _build(configs: Sequence[str | os.PathLike[str]], settings: Mapping[str, Any]) -> torch.nn.Module:
    from monai.bundle import ConfigParser  # only here, so that this package stays light

    parser = ConfigParser(globals={"settings_of_teacher": dict(settings)})
    parser.read_config([os.fspath(file) for file in configs])
    for key in settings:
        if key in parser:  # by name: what the file holds must not be read as an expression
            parser[key] = f"$settings_of_teacher[{key!r}]"
    if "class_names" in settings:
        parser["num_classes"] = len(settings["class_names"])
    if "network_def" not in parser:
        raise ValueError(f"{', '.join(map(str, configs))} have no network_def to build the teacher by.")
    parser["init_from"] = None
    try:
        network: torch.nn.Module = parser.get_parsed_content("network_def")
    except RuntimeError as error:  # what MONAI makes of every error of a component
        raise ValueError(
            f"{', '.join(map(str, configs))} cannot build the teacher {settings.get('variant')} ({root_cause(error)}). "
            "Name the config that it was trained with in --teacher_overlay."
        ) from error
    return network
