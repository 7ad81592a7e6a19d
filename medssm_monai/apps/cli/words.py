"""The words of a command: its own options, and those for the keys of a bundle's config."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

__all__ = ["without_overrides"]


def without_overrides(words: Sequence[str], parser: argparse.ArgumentParser) -> tuple[list[str], list[str]]:
    """Split off ``--key value`` and ``--key=value`` of keys that the parser does not know.

    Such a key takes exactly one word, as MONAI's command line does, so that an image after it stays an image.
    Everything after ``--`` is for the config, whatever its name.

    Returns:
        the parser's own words, and those for the config.

    Raises:
        SystemExit: a key without its value; the message names it.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> _ = parser.add_argument("--weights")
        >>> without_overrides(["a.png", "--threshold", "0.3", "--weights", "w.pt", "b.png"], parser)
        (['a.png', '--weights', 'w.pt', 'b.png'], ['--threshold', '0.3'])
    """
    own: list[str] = []
    overrides: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, has_value, _ = word.partition("=")
        if word == "--":
            return own, [*overrides, *rest]
        if not word.startswith("--") or name in parser._option_string_actions:
            own.append(word)
        elif has_value:
            overrides.append(word)
        elif rest and not rest[0].startswith("--"):
            overrides += [word, rest.pop(0)]
        else:
            parser.error(
                f"{word} is no option of this command, and as a key of the config it needs a value: {word} VALUE"
            )
    return own, overrides
