"""A bundle's inference config, read by MONAI's parser."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from ..utils import as_device
from .bundles import bundle_config

__all__ = ["read_inference_config"]


def read_inference_config(root: Path, overrides: Mapping[str, Any]) -> ConfigParser:
    """Parser of ``configs/inference.yaml`` with ``overrides``; nothing in it is built yet, and it will save no files.

    Raises:
        FileNotFoundError: the folder has no inference config.
        ValueError: overrides of keys that are not there, a device that is not there, or no ``prediction``.
    """
    file = bundle_config(root, "inference")
    if file is None:
        raise FileNotFoundError(f"{root} holds no configs/inference.yaml.")
    parser = ConfigParser()
    parser.read_config(str(file))
    unknown = sorted(key for key in overrides if key.split("#")[0].split("::")[0] not in parser.config)
    if unknown:
        known = ", ".join(sorted(key for key in parser.config if key != "imports"))
        raise ValueError(f"{file} has no {', '.join(unknown)}; its keys are {known}.")
    if "prediction" not in parser.config:
        raise ValueError(
            f"{file} has no key 'prediction': name the task there, for example "
            "prediction: {_target_: medssm_monai.apps.SegmentationTask}."
        )
    fixed = {"bundle_root": str(root), **({"save_results": False} if "save_results" in parser.config else {})}
    parser.update({**fixed, **overrides, **_device(overrides)})
    return parser


def _device(overrides: Mapping[str, Any]) -> dict[str, str]:
    """A device given as a word, as an expression that makes it; expressions stay as they are."""
    device = overrides.get("device")
    if device is None or (isinstance(device, str) and device.startswith("$")):
        return {}
    return {"device": f"$torch.device({str(as_device(device))!r})"}
