"""JSON that comes with a request and goes with an answer: objects whose values can be kept, written and sent again."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Mapping
from typing import Any

__all__ = ["json_object", "storable", "unchanging"]

DEEPEST = 20


def json_object(text: str | None, what: str, max_bytes: int) -> dict[str, Any]:
    """The object in a text; an empty one for no text.

    Raises:
        ValueError: too long, no JSON, another kind of value, or one that :func:`storable` refuses.
    """
    if not text:
        return {}
    if len(text) > max_bytes:
        raise ValueError(f"{what} may have {max_bytes} characters, got {len(text)}.")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{what} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f'{what} must be an object, {{"name": value}}, got {type(found).__name__}.')
    return storable(found, what)


def storable(value: Any, what: str, depth: int = 0) -> Any:
    """The value itself, if it can be stored and sent again as JSON in UTF-8.

    Raises:
        ValueError: NaN, infinity, half a surrogate pair, or more than 20 objects and lists in each other.
    """
    if depth > DEEPEST:
        raise ValueError(f"{what}: no more than {DEEPEST} objects and lists in each other.")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{what}: NaN and infinity are no JSON.")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{what}: a text that is no Unicode ({error.reason}).") from error
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            storable(key, what, depth + 1)
            storable(inner, what, depth + 1)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            storable(inner, what, depth + 1)
    return value


def unchanging(value: Any) -> Any:
    """A copy of the objects and lists of an answer, which another thread may go on writing to while it is sent.

    MONAI Label hands out the record of a task itself, with a queue of the last lines of its output. Each object and
    list is copied in one step of the interpreter, so that none changes while it is read; queues become lists.
    """
    if type(value) is dict:
        return {key: unchanging(inner) for key, inner in dict(value).items()}
    if type(value) in (list, deque):
        return [unchanging(inner) for inner in list(value)]
    return value
