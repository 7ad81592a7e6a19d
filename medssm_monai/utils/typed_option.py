"""Words of the command line as the user typed them, before Fire and MONAI read them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fire.parser import DefaultParseValue

__all__ = ["typed_option", "unchanged_path"]


def _options(argv: Sequence[str]) -> Iterator[tuple[str, str]]:
    """``(key, value)`` of the words ``--key value`` and ``--key=value``."""
    for index, word in enumerate(argv):
        if word.startswith("--"):
            key, has_value, value = word[2:].partition("=")
            if not has_value and index + 1 < len(argv):
                value = argv[index + 1]
            yield key.replace("-", "_"), value


def _arrives(word: str) -> Any:
    """What a config makes of a word: Fire reads numbers and cuts ``study#2``, MONAI turns ``#`` into ``::``."""
    value = DefaultParseValue(word)
    return value.replace("#", "::") if isinstance(value, str) else value


def typed_option(value: Any, key: str, argv: Sequence[str] | None = None) -> Any:
    """The value of an option that names a path, as it stands on the command line; what did not come from there is
    handed back as it is.

    ``--dataset_dir 2017`` arrives as a number, ``2_0`` as 20, ``a,b`` as a pair, ``set#2`` as ``set``, ``./set#2`` as
    ``./set::2``.

    Args:
        value: what arrived.
        key: name of the option.
        argv: command line, default ``sys.argv[1:]``.
    """
    for name, word in _options(sys.argv[1:] if argv is None else argv):
        arrived = _arrives(word) if name == key else None
        if name != key or type(arrived) is not type(value) or arrived != value:
            continue
        if not isinstance(value, (list, tuple)) or Path(word).expanduser().exists():  # lists of files are meant so
            return word
    return value


def unchanged_path(path: str | os.PathLike[str], argv: Sequence[str] | None = None) -> str | os.PathLike[str]:
    """The path itself; an error where it is an option of the command line, or lies below one, whose ``#`` MONAI has
    replaced.

    Raises:
        ValueError: naming the option, and how to write it.
    """
    text = os.fspath(path)
    for key, word in _options(sys.argv[1:] if argv is None else argv):
        if "#" not in word or word.startswith("$"):
            continue
        arrived = str(_arrives(word))
        if text == arrived or text.startswith((f"{arrived}/", f"{arrived}{os.sep}")):
            escaped = word.replace("#", r"\x23")
            raise ValueError(
                f"--{key} {word} reached the run as {arrived}: MONAI's config language reads # as a separator. "
                f"Choose a path without #, or write it as an expression: --{key} \"$'{escaped}'\"."
            )
    return path
