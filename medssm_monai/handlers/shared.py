"""One handler on several engines, written as a config component in each engine's list."""

from __future__ import annotations

from typing import Protocol

from ignite.engine import Engine

__all__ = ["SharedHandler"]


class _Handler(Protocol):
    def attach(self, engine: Engine) -> None: ...


class SharedHandler:
    """Attach a handler that is built elsewhere in the config, so that trainer and evaluator share one instance.

    A bare reference in ``train#handlers`` would do the same, but MONAI's ``check_properties`` expects each entry of
    that list to be a component with a ``_target_``.

    Args:
        handler: any object with ``attach(engine)``.
    """

    def __init__(self, handler: _Handler) -> None:
        self.handler = handler

    def attach(self, engine: Engine) -> None:
        """Attach the shared handler."""
        self.handler.attach(engine)
