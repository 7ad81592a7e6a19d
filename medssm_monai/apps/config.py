"""A bundle's inference config, read by MONAI's parser."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from ..utils import as_device, require_known_keys
from ..utils.bundles import bundle_config
from ..utils.literal import literal

__all__ = ["read_inference_config"]


def read_inference_config(root: Path, overrides: Mapping[str, Any]) -> ConfigParser:
    """Parser of ``configs/inference.yaml`` with ``overrides``; nothing in it is built yet, and it will save no files.

    Texts in ``overrides`` are data: a folder called ``study#2`` or ``$name`` is that folder; nothing is run or looked
    up.

    Raises:
        FileNotFoundError: the folder has no inference config.
        ValueError: overrides of keys that nothing in the config uses, a device that is not there, or no
            ``prediction``.
    """
    file = bundle_config(root, "inference")
    if file is None:
        raise FileNotFoundError(f"{root} holds no configs/inference.yaml.")
    parser = ConfigParser()
    parser.read_config(str(file))
    if "prediction" not in parser.config:
        raise ValueError(
            f"{file} has no key 'prediction': name the task there, for example "
            "prediction: {_target_: medssm_monai.apps.SegmentationTask}."
        )
    fixed = {"bundle_root": str(root), **({"save_results": False} if "save_results" in parser.config else {})}
    device = {} if overrides.get("device") is None else {"device": as_device(overrides["device"])}
    parser.update({**{key: literal(value) for key, value in {**fixed, **overrides}.items()}, **device})
    require_known_keys(parser)
    return parser
