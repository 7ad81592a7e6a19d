"""Items of a batch, the files they came from, and which of them fail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ignite.engine import Engine
from monai.utils import CommonKeys, ImageMetaKey

__all__ = ["batch_files", "decollated", "item_file", "item_stage"]


def _names(value: Any) -> list[str]:
    """File names of one entry of a batch: from a MetaTensor's meta dict, or a path kept as text."""
    meta = getattr(value, "meta", None)
    found = meta.get(ImageMetaKey.FILENAME_OR_OBJ) if isinstance(meta, Mapping) else None
    if found is None:
        return []
    return [found] if isinstance(found, str) else [str(name) for name in found]


def item_file(item: Mapping[str, Any], keys: Sequence[str] = ("image", "label")) -> str | None:
    """The file behind one decollated item, from the first of ``keys`` that knows it; ``None`` when none does."""
    for key in keys:
        names = _names(item.get(key))
        if names:
            return names[0]
    return None


def batch_files(batch: Any, keys: Sequence[str] = ("image", "label")) -> list[str]:
    """All file names of a batch, in order; empty when the data was never read from files.

    Args:
        batch: ``engine.state.batch``: a collated dict (meta holds a list), or a list of decollated dicts.
        keys: entries asked for their file name, the first that knows one wins.
    """
    if isinstance(batch, Mapping):
        for key in keys:
            names = _names(batch.get(key))
            if names:
                return names
        return []
    if isinstance(batch, Sequence) and not isinstance(batch, str):
        files = [item_file(item, keys) for item in batch if isinstance(item, Mapping)]
        return [file for file in files if file is not None]
    return []


def decollated(engine: Engine, keys: Sequence[str], user: str) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """The items of the last iteration's output, each with the item of the batch that it came from.

    Args:
        engine: an evaluator built with ``decollate=True``.
        keys: what each item must have.
        user: who asks, for the error.

    Raises:
        ValueError: the output is no list of dicts with these keys and something under each.
    """
    output, batch = engine.state.output, engine.state.batch
    if not isinstance(output, list) or any(item.get(key) is None for item in output for key in keys):
        *first, last = (f"'{key}'" for key in keys)
        named = f"{', '.join(first)} and {last}" if first else last
        raise ValueError(
            f"{user} needs decollated items with {named}, got {type(output).__name__}; build the evaluator with "
            f"decollate=True{' and give the data labels' if CommonKeys.LABEL in keys else ''}."
        )
    for position, item in enumerate(output):
        yield item, batch[position] if isinstance(batch, list) and position < len(batch) else item


@contextmanager
def item_stage(engine: Engine, file: str, stage: str) -> Iterator[None]:
    """What fails inside is recorded as a failure of the item by a ``BulkEvaluator``; other engines raise it."""
    try:
        yield
    except Exception as error:
        item_failed = getattr(engine, "item_failed", None)
        if item_failed is None:
            raise
        item_failed(file, stage, error)
