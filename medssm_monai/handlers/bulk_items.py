"""How a handler says that one item failed, to an engine that goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ignite.engine import Engine

__all__ = ["item_stage"]


@contextmanager
def item_stage(engine: Engine, file: str, stage: str) -> Iterator[None]:
    """What fails inside is recorded as a failure of the item by a `BulkEvaluator`; other engines raise it."""
    try:
        yield
    except Exception as error:
        item_failed = getattr(engine, "item_failed", None)
        if item_failed is None:
            raise
        item_failed(file, stage, error)
