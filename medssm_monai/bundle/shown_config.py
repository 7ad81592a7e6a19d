"""The config of a run as it may be shown: overlays and options applied, values where they are known, no places."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..utils.shown_names import full_names, shown_name, shown_value

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

__all__ = ["shown_config"]

MOST = 64  # entries of a list that is a setting, not data
_ADDRESS = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]*:/{1,4}[^\s'\"]+")
_ABSOLUTE = re.compile(r"(?<=['\"])(?:~|[A-Za-z]:)?[/\\][^'\"]*(?=['\"])")  # a text within an expression
_SCALAR = (bool, int, float, str, type(None))


def shown_config(parser: ConfigParser, values: bool = True) -> dict[str, Any]:
    """All keys of a config that a run was started with.

    Overlay files and options of the command line have been applied. A key that the run has asked for has its value
    where that is a number, a text or a short list of them; every other one its expression. Files and folders are called
    as :func:`~medssm_monai.utils.shown_names.shown_name` has them, addresses of servers are left out; both stay as they
    are with ``MEDSSM_FULL_NAMES=1``.

    Args:
        parser: of the config; nothing in it is evaluated that was not before.
        values: False leaves every expression as it is.
    """
    from monai.bundle.config_parser import ID_SEP_KEY

    known = parser.ref_resolver.resolved_content if values else {}

    def shown(name: str, value: Any) -> Any:
        if name in known and not isinstance(value, (Mapping, list)) and _is_setting(known[name]):
            value = known[name]
        if isinstance(value, Mapping):
            return {str(key): shown(f"{name}{ID_SEP_KEY}{key}", entry) for key, entry in value.items()}
        if isinstance(value, (list, tuple)):
            return [shown(f"{name}{ID_SEP_KEY}{number}", entry) for number, entry in enumerate(value)]
        return _shown_text(value) if isinstance(value, str) else value if isinstance(value, _SCALAR) else str(value)

    return {name: shown(name, value) for name, value in parser.get().items() if not name.startswith("_")}


def _is_setting(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return len(value) <= MOST and all(isinstance(entry, _SCALAR) for entry in value)
    if isinstance(value, Mapping):
        return len(value) <= MOST and all(isinstance(entry, _SCALAR) for entry in value.values())
    return isinstance(value, _SCALAR)


def _shown_text(text: str) -> str:
    if full_names():
        return text
    plain = _ADDRESS.sub("(address)", text)
    if plain[:1] in ("$", "@", "%"):
        return _ABSOLUTE.sub(lambda found: _shown_place(found[0]), plain)
    return _shown_place(plain) if plain.startswith("~") else shown_value(plain)


def _shown_place(text: str) -> str:
    """An absolute path within an expression; a part of one, such as ``/models``, stays as it is."""
    whole = os.path.expanduser(text)
    first = Path(whole).parts[:2]
    there = text.startswith("~") or len(first) > 1 and os.path.exists(os.path.join(*first))
    return shown_name(whole) if there else text
