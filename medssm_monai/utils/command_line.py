"""The command that runs this program, and its words as they were typed, before Fire and MONAI read them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fire.parser import DefaultParseValue

__all__ = [
    "arguments_with",
    "as_typed",
    "launcher",
    "note_short_command",
    "option_words",
    "python_name",
    "run_by_monai",
    "short_command",
    "typed_option",
    "unchanged_path",
]


def run_by_monai() -> bool:
    """Whether this program is ``python -m monai.bundle``."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return spec is not None and spec.name in ("monai.bundle", "monai.bundle.__main__")


_short: list[str] = []


def note_short_command(words: Sequence[str]) -> None:
    """Remember that this program was started by a shorter command, such as ``medssm train mamba_mis``.

    Args:
        words: program, action, bundle, and what chooses its configs; no other options.
    """
    _short[:] = words


def short_command() -> list[str]:
    """What :func:`note_short_command` has remembered; empty where nothing was."""
    return list(_short)


def python_name() -> str:
    """``python`` where that word starts this interpreter, else its path."""
    return next((name for name in ("python", "python3") if shutil.which(name) == sys.executable), sys.executable)


def as_typed(words: Sequence[str]) -> str:
    """Words quoted for a shell, lists of config files as the documentation has them: ``"['a.yaml', 'b.yaml']"``."""
    return " ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    return f'"{word}"' if "'" in word and not set(word) & set('"$`\\!') else shlex.quote(word)


def option_words(arguments: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Split a command line into the words that are no options, and the words of each option, by its name.

    An option is ``--name value``, ``--name=value`` or ``--name`` alone; the last one of a name counts.

    Example:
        >>> option_words(["run", "training", "--max_epochs", "3", "--amp"])
        (['run', 'training'], {'max_epochs': ['--max_epochs', '3'], 'amp': ['--amp']})
    """
    plain: list[str] = []
    options: dict[str, list[str]] = {}
    words = list(arguments)
    while words:
        word = words.pop(0)
        if not _is_option(word):
            plain.append(word)
            continue
        name, assigned, _ = word.lstrip("-").partition("=")
        value = [words.pop(0)] if not assigned and words and not _is_option(words[0]) else []
        options.pop(name, None)
        options[name] = [word, *value]
    return plain, options


def before_dashes(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split a command line at its two dashes: the command's own words, and those that it passes on.

    Example:
        >>> before_dashes(["bundles/mamba_mis", "--", "--max_epochs", "3"])
        (['bundles/mamba_mis'], ['--max_epochs', '3'])
    """
    given = list(arguments)
    cut = given.index("--") if "--" in given else len(given)
    return given[:cut], given[cut + 1 :]


def _is_option(word: str) -> bool:
    return word.startswith("--") or re.match(r"-[A-Za-z]", word) is not None


def arguments_with(arguments: Sequence[str], changes: Mapping[str, str]) -> list[str]:
    """A command line with other values of some options, which come last."""
    plain, options = option_words(arguments)
    kept = [word for name, words in options.items() if name not in changes for word in words]
    return [*plain, *kept, *(word for name, value in changes.items() for word in (f"--{name}", value))]


def launcher() -> list[str]:
    """What stands before ``-m``: this interpreter, or the ``torchrun`` that started this process (the words for each
    machine, where there are several)."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return [python_name()]
    nodes, each = os.environ.get("GROUP_WORLD_SIZE", "1"), os.environ.get("LOCAL_WORLD_SIZE", "1")
    where = ["--standalone"] if nodes == "1" else ["--nnodes", nodes, "--rdzv_backend", "c10d"]
    where += [] if nodes == "1" else ["--rdzv_endpoint", f"{os.environ.get('MASTER_ADDR', 'HOST')}:29500"]
    return ["torchrun", *where, "--nproc_per_node", each]


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
