"""Prediction with an exported TorchScript archive alone, without the bundle that it was made from."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import nn

from ..bundle.predictor import Predictor
from ..bundle.weights import describe_weights_file
from ..utils.shown_names import shown_name
from . import torchscript

__all__ = ["ArchivePredictor"]

CARRIED = ("metadata.json", "inference.json", "model_settings.json")
REMEDY = "Export the bundle with python -m medssm_monai.export, whose .ts carries them."


class ArchivePredictor(Predictor):
    """A predictor as :func:`medssm_monai.load` returns it, of a ``.ts`` that ``python -m medssm_monai.export`` wrote.

    Preprocessing, inferer, post-processing, settings and domain are those that the file carries, the network is the
    traced one: it takes images, or windows, of the size that it was exported for, and has no layers to look into, so
    there are no explanations and no dropout. As with a bundle, the file holds code: open only what you trust.

    Args:
        path: the ``.ts``.
        overrides: other values for keys of its ``inference.json``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no TorchScript, or one that does not carry what a prediction needs; or what
            :func:`medssm_monai.load` raises.
    """

    def __init__(self, path: str | os.PathLike[str], **overrides: Any) -> None:
        file = Path(path)
        carried = _carried(file)
        self._unpacked = tempfile.TemporaryDirectory(prefix="medssm_archive_")  # as long as this object
        name = str(json.loads(carried["metadata.json"]).get("name", ""))
        root = Path(self._unpacked.name) / (Path(name).name or "bundle")  # a name, no place elsewhere
        configs = root / "configs"
        configs.mkdir(parents=True)
        for name in ("metadata.json", "inference.json"):
            (configs / name).write_text(carried[name], encoding="utf8")
        super().__init__(root, {**overrides, "ckpt_path": os.fspath(file.absolute())})

    def explain(self, source: Any, class_name: str | int | None = None) -> NoReturn:
        """Not with a traced network.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"a .ts of {self.name} has no layers to look into; explain with the bundle's folder.")

    def _load_network(self, path: str) -> tuple[nn.Module, str]:
        return torch.jit.load(path, map_location=self._content("device")), describe_weights_file(path)


def _carried(file: Path) -> dict[str, str]:
    """Content of the files that an archive carries."""
    if not file.is_file():
        raise FileNotFoundError(f"no archive {shown_name(file)}; give the .ts of an export.")
    try:
        found = torchscript.read_extra(file, list(CARRIED))
    except RuntimeError as error:
        raise ValueError(f"{shown_name(file)} is no TorchScript archive, or is damaged. {REMEDY}") from error
    missing = [name for name in CARRIED if found.get(name) in (None, "", "{}", "null")]
    if missing:
        raise ValueError(f"{shown_name(file)} does not carry {', '.join(missing)}. {REMEDY}")
    return found
