"""The command that runs this program, in words that can be typed again."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence

__all__ = ["arguments_with", "as_typed", "launcher", "option_words", "python_name", "run_by_monai"]


def run_by_monai() -> bool:
    """Whether this program is ``python -m monai.bundle``."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return spec is not None and spec.name in ("monai.bundle", "monai.bundle.__main__")


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


def _is_option(word: str) -> bool:
    return word.startswith("--") or re.match(r"-[A-Za-z]", word) is not None


def arguments_with(arguments: Sequence[str], changes: Mapping[str, str]) -> list[str]:
    """A command line with other values of some options, which come last."""
    plain, options = option_words(arguments)
    kept = [word for name, words in options.items() if name not in changes for word in words]
    return [*plain, *kept, *(word for name, value in changes.items() for word in (f"--{name}", value))]


def launcher() -> list[str]:
    """What stands before ``-m``: this interpreter, or the ``torchrun`` that started this process."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return [python_name()]
    return ["torchrun", "--standalone", "--nproc_per_node", os.environ.get("LOCAL_WORLD_SIZE", "1")]
