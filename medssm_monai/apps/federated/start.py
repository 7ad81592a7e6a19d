"""Where a federation starts: one network for every site, its settings, and its first weights."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser

from ...bundle.argument_rules import network_arguments
from ...bundle.checkpoint import read_weights, require_fitting_weights
from ...bundle.find import bundle_config
from ...bundle.known_keys import require_known_keys
from ...bundle.network import build_network
from ...bundle.settings import RESERVED, saved_settings, settings_file

__all__ = ["Start", "starting_point"]

OF_THE_DATA = ("class_names",)
"""Settings that each site finds in its own images; its evaluation refuses others than the job's."""
FITTED = {"temperature": 1.0}
"""Settings that belong to single weights and are found again by a calibration, and what they are without one."""


@dataclass(frozen=True)
class Start:
    """What every site of a job starts from.

    Attributes:
        settings: of the network, as they lie beside weights.
        weights: the first ones, names and tensors.
        training: keys of the training config that make a site build this network from images of this kind.
        key_metric: figure of the bundle's evaluation on the validation part that says how good a global model is.
    """

    settings: dict[str, Any]
    weights: dict[str, torch.Tensor]
    training: dict[str, Any]
    key_metric: str


def starting_point(
    root: Path,
    overlays: Sequence[str],
    overrides: Mapping[str, Any],
    init_from: str | os.PathLike[str] | None = None,
    example_dir: str | os.PathLike[str] = "demo",
) -> Start:
    """Settle network and settings once, so that they do not follow each site's own images.

    Args:
        root: the bundle.
        overlays: file names in its ``configs``, over ``train.yaml``.
        overrides: of the training config.
        init_from: weights with their settings beside them; None takes the settings of the config, and initializes the
            network after its ``seed``.
        example_dir: images such as the sites have, which classes and channels are read from where the config leaves
            them to the data.

    Raises:
        ValueError: unknown keys, weights without settings or for other ones than the overrides ask for, an overlay
            that trains another network.
    """
    parser = ConfigParser()
    parser.read_config([os.fspath(root / "configs" / name) for name in ("train.yaml", *overlays)])
    with tempfile.TemporaryDirectory() as folder:  # of the demo set
        places = {"bundle_root": os.fspath(root), "dataset_dir": os.fspath(example_dir), "output_dir": folder}
        for key, value in {**overrides, **places}.items():
            parser[key.replace("#", "::")] = value
        require_known_keys(parser)
        settings = _of_config(parser) if init_from is None else _of_weights(init_from, overrides)
        weights = _fresh(parser) if init_from is None else read_weights(init_from)
    own = None if network_arguments(settings["variant"]) is None else build_network(settings["variant"], settings)
    if own is None or init_from is None and _shapes(weights) != _shapes(own.state_dict()):
        raise ValueError(
            f"{', '.join(overlays) or 'the config'} trains {settings['variant']}, which the settings beside weights do "
            "not describe: neither the server nor an evaluation could build it. Leave out overlays such as those of "
            "baselines."
        )
    if init_from is not None:
        require_fitting_weights(init_from, own)
    named = {key: value for key, value in settings.items() if value is not None and key not in OF_THE_DATA}
    selects = parser.get("select_by", "dice")
    figure = selects if isinstance(selects, str) else selects[0]
    return Start(
        settings, weights, {key: value for key, value in named.items() if key in parser}, f"validation_{figure}"
    )


def _of_config(parser: ConfigParser) -> dict[str, Any]:
    settings = json.loads(json.dumps(parser.get_parsed_content("settings")))
    return {**settings, **{key: value for key, value in FITTED.items() if key in settings}}


def _of_weights(init_from: str | os.PathLike[str], overrides: Mapping[str, Any]) -> dict[str, Any]:
    if not Path(init_from).is_file():
        raise FileNotFoundError(f"{os.fspath(init_from)}: no such weights to start from.")
    saved = saved_settings(init_from)
    if saved is None:
        raise ValueError(
            f"{os.fspath(init_from)} has no settings {settings_file(init_from).name} beside it, which say what network "
            "it belongs to. Copy them along with it."
        )
    settings = {key: value for key, value in saved.items() if key not in RESERVED}
    others = sorted(key for key in settings.keys() & overrides.keys() if settings[key] != overrides[key])
    if others:
        stated = ", ".join(f"{key} {settings[key]!r}, not {overrides[key]!r}" for key in others)
        raise ValueError(f"{os.fspath(init_from)} was trained with {stated}. Leave the keys out, or start afresh.")
    return {**settings, **{key: value for key, value in FITTED.items() if key in settings}}


def _fresh(parser: ConfigParser) -> dict[str, torch.Tensor]:
    """Weights as the bundle's own training initializes them after its seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(parser.get("seed", 0)))
        return dict(parser.get_parsed_content("network_def").state_dict())


def _shapes(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {key: value.shape for key, value in weights.items()}


def overlay_names(root: Path, overlays: Sequence[str]) -> list[str]:
    """File names of a bundle's overlays, given with or without suffix.

    Raises:
        FileNotFoundError: no such overlay; the message lists what is there.
    """
    found = [bundle_config(root, Path(name).stem) for name in overlays]
    missing = [name for name, path in zip(overlays, found, strict=True) if path is None]
    if missing:
        there = ", ".join(sorted(path.stem for path in (root / "configs").glob("*.yaml")))
        raise FileNotFoundError(f"{root.name} has no overlay {', '.join(missing)}; its configs are {there}.")
    return [path.name for path in found if path is not None]
