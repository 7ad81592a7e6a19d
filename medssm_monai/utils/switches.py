"""Settings that are on or off, as a config file and a command line give them."""

from __future__ import annotations

from typing import Any

__all__ = ["switch"]

WORDS = {"true": True, "false": False}


def switch(value: Any, name: str, remedy: str = "") -> bool:
    """``True`` or ``False``, also for the words of YAML, which a command line hands over as texts.

    Args:
        value: what was given.
        name: of the setting, for the message.
        remedy: a sentence for those who gave something else.

    Raises:
        ValueError: neither on nor off.

    Example:
        >>> switch("true", "resume")
        True
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in WORDS:
        return WORDS[value.lower()]
    raise ValueError(f"{name} is {value!r}; it takes True or False. {remedy}".rstrip())
