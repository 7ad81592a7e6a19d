"""What is exported: the network of a bundle with its weights, and what the file has to carry beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import nn

from ..bundle import describe_weights, load_weights, require_weights, work_folder
from ..bundle.config import literal, read_inference_config
from ..bundle.find import bundle_config, find_bundle
from ..bundle.weights import named_weights

__all__ = ["Source", "open_source"]

OF_THIS_PLACE = ("ckpt_path", "dataset_dir", "device", "output_dir")


@dataclass(frozen=True)
class Source:
    """A bundle that was opened for export.

    Attributes:
        root: folder of the bundle.
        folder: where exported files go by default: beside the weights where these are the bundle's, else its
            ``models/``.
        stem: name of the exported files without suffix: that of the checkpoint, or ``"untrained"``.
        weights: one line about the weights (a file within the bundle by its path from there), or the seed of random
            ones; for the report.
        network: on the CPU, in evaluation mode, its parameters frozen.
        task: the bundle's ``prediction``: what the network predicts, and from which threshold.
        extra: file name -> JSON text that goes into each export: ``metadata.json`` as it is in the bundle,
            ``inference.json`` with the overrides, and with the settings and the domain of these weights in place of the
            file they are read from, so that it stands without the bundle (MONAI Deploy looks for both), and
            ``model_settings.json``, these settings.
        parser: the inference config.
    """

    root: Path
    folder: Path
    stem: str
    weights: str
    network: nn.Module
    task: Any
    extra: Mapping[str, str]
    parser: ConfigParser

    @property
    def metadata(self) -> dict[str, Any]:
        """Content of the bundle's ``metadata.json``."""
        return json.loads(self.extra["metadata.json"])


def open_source(
    bundle: str | os.PathLike[str],
    ckpt_path: str | os.PathLike[str] | None = None,
    untrained: bool = False,
    seed: int = 0,
    overrides: Mapping[str, Any] | None = None,
) -> Source:
    """Open a bundle by its folder or name and build its network.

    Args:
        bundle: as :func:`~medssm_monai.bundle.find_bundle` takes it.
        ckpt_path: weights; default those the bundle's inference takes.
        untrained: no weights, but random ones of ``seed``; to try the export of a network before its training.
        overrides: other values for keys of ``inference.yaml``; texts are taken as they are.

    Raises:
        FileNotFoundError: no such bundle, or no weights.
        ValueError: overrides of keys that are not there; weights that are no flat state dict, cannot be loaded without
            running code, or do not fit.
    """
    root = find_bundle(bundle)
    file = bundle_config(root, "inference")
    changes = {"device": torch.device("cpu"), **(overrides or {})}
    if ckpt_path is not None:
        changes["ckpt_path"] = named_weights(root, ckpt_path)
    parser = read_inference_config(root, changes)
    path = str(parser.get_parsed_content("ckpt_path"))
    work = Path(work_folder(root))
    folder = work / "models"
    if untrained:
        stem, weights = "untrained", f"random, seed {seed}"
        torch.manual_seed(seed)
    else:
        remedy = (
            "Train first (run training), name a checkpoint with --ckpt_path FILE, or try the export with --untrained."
        )
        file_of_weights = Path(require_weights(path, f"trained weights of {root.name}", remedy)).absolute()
        inside = file_of_weights.is_relative_to(root)
        folder = file_of_weights.parent if file_of_weights.is_relative_to(work) else folder
        shown = file_of_weights.relative_to(root) if inside else file_of_weights
        stem, weights = file_of_weights.stem, describe_weights(file_of_weights, str(shown))
    network = parser.get_parsed_content("network_def")
    task = parser.get_parsed_content("prediction")
    if not untrained:
        load_weights(network, path, len(task.class_names) if task.kind == "classification" else None)
    settings = dict(parser.get_parsed_content("model_settings"))
    carried = ConfigParser(ConfigParser.load_config_file(str(file)))
    carried.update({key: literal(value) for key, value in (overrides or {}).items() if key not in OF_THIS_PLACE})
    carried.update({"bundle_root": ".", "model_settings": literal(settings)})
    if "domain" in carried.get():
        carried["domain"] = None if untrained else literal(parser.get_parsed_content("domain"))
    contents = {
        "metadata.json": json.loads((root / "configs" / "metadata.json").read_text(encoding="utf8")),
        "inference.json": carried.config,
        "model_settings.json": settings,
    }
    extra = {name: json.dumps(content) for name, content in contents.items()}
    return Source(root, folder, stem, weights, network.eval().requires_grad_(False), task, extra, parser)
