"""The MONAI object on whose behalf an expression of a config runs."""

from __future__ import annotations

import inspect
from typing import TypeVar

__all__ = ["calling"]

Kind = TypeVar("Kind")


def calling(kind: type[Kind]) -> Kind | None:
    """The nearest object of a class whose method is running, or None.

    MONAI hands neither its parser nor its workflow to the expressions that they evaluate; both are the ``self`` of a
    method on the stack.
    """
    frame = inspect.currentframe()
    while frame is not None:
        if isinstance(found := frame.f_locals.get("self"), kind):
            return found
        frame = frame.f_back
    return None
