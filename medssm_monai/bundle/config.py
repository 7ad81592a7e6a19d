"""A bundle's inference config, read by MONAI's parser, and values that pass through its language as they are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fire.parser import DefaultParseValue
from monai.bundle import ConfigParser

from ..utils import as_device
from .find import bundle_config
from .known_keys import require_known_keys

__all__ = ["command_word", "literal", "read_inference_config"]

MARKS = "$@%#"  # of MONAI's config language: expression, reference, macro, and the old separator of ids


def _quoted(text: str) -> str:
    """An expression whose value is the text, with none of the marks in it but the first ``$``."""
    escaped = ascii(text)
    for mark in MARKS:
        escaped = escaped.replace(mark, f"\\x{ord(mark):02x}")
    return f"${escaped}"


def literal(value: Any) -> Any:
    """A config value that MONAI's parser hands on unchanged, whatever text it holds.

    In a config a text that starts with ``$`` is run as code, one that is ``@name`` is looked up, ``%`` reads a file,
    and ``#`` becomes ``::``. A folder may be called so: paths, texts, and those in lists and mappings come through
    as data.
    (A mapping with ``_target_`` still builds that component.)
    """
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str):
        return _quoted(value) if any(mark in value for mark in MARKS) else value
    if isinstance(value, dict):
        return {key: literal(entry) for key, entry in value.items()}
    return [literal(entry) for entry in value] if isinstance(value, list) else value


def command_word(value: Any) -> str:
    """A value as a word of the command line ``python -m monai.bundle run``, where it arrives unchanged.

    Beside what :func:`literal` says, a folder called ``2017`` stays a text and is not read as a number.
    """
    if isinstance(value, (str, os.PathLike)):
        text = os.fspath(value)
        plain = not any(mark in text for mark in MARKS) and DefaultParseValue(text) == text
        return text if plain else _quoted(text)
    return str(literal(value))


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
    if "prediction" not in parser.get():
        raise ValueError(
            f"{file} has no key 'prediction': name the task there, for example "
            "prediction: {_target_: medssm_monai.bundle.SegmentationTask}."
        )
    fixed = {"bundle_root": str(root), **({"save_results": False} if "save_results" in parser.get() else {})}
    device = {} if overrides.get("device") is None else {"device": as_device(overrides["device"])}
    parser.update({**{key: literal(value) for key, value in {**fixed, **overrides}.items()}, **device})
    require_known_keys(parser)
    return parser
