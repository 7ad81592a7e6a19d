"""Values that users give, handed through MONAI's config language as they are."""

from __future__ import annotations

import os
from typing import Any

from fire.parser import DefaultParseValue

__all__ = ["command_word", "literal"]

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
