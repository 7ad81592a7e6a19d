"""A name for what an object does: equal for objects of equal kind and settings, another when a setting changes."""

from __future__ import annotations

import copyreg
import hashlib
import types
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

__all__ = ["object_digest"]

PLAIN = (type(None), bool, int, float, complex, str, bytes)


def object_digest(thing: Any) -> str:
    """SHA-256 of an object's classes and settings, the same in every process.

    Functions count by their code, defaults and what they enclose, arrays by their values, other objects by what pickle
    would keep of them; generators of random numbers, and what cannot be pickled (a lock), by their class alone.
    """
    digest = hashlib.sha256()
    for part in _parts(thing, ()):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def _parts(thing: Any, above: tuple[int, ...]) -> Iterator[bytes]:
    yield type(thing).__qualname__.encode()
    if isinstance(thing, PLAIN):
        yield repr(thing).encode()
    elif id(thing) in above:
        yield str(above[::-1].index(id(thing))).encode()  # a circle: so many levels up
    else:
        yield from _settings(thing, (*above, id(thing)))


def _settings(thing: Any, above: tuple[int, ...]) -> Iterator[bytes]:
    """Of anything that holds other things."""
    if isinstance(thing, Mapping) and type(thing).__module__ in ("builtins", "collections", "types"):
        for pair in sorted((object_digest(key), key) for key in thing):
            yield pair[0].encode()
            yield from _parts(thing[pair[1]], above)
    elif isinstance(thing, (list, tuple)):
        yield str(len(thing)).encode()
        for entry in thing:
            yield from _parts(entry, above)
    elif isinstance(thing, (set, frozenset)):
        yield from (name.encode() for name in sorted(map(object_digest, thing)))
    elif isinstance(thing, (np.ndarray, torch.Tensor)):
        values = thing.detach().cpu().numpy() if isinstance(thing, torch.Tensor) else thing
        yield f"{values.dtype} {values.shape}".encode()
        yield from _parts(values.tolist(), above) if values.dtype.hasobject else [values.tobytes()]
    elif isinstance(thing, types.FunctionType):
        yield f"{thing.__module__}.{thing.__qualname__}".encode()
        yield from _parts(thing.__code__, above)
        cells = [cell.cell_contents for cell in thing.__closure__ or ()]
        yield from _parts((thing.__defaults__, thing.__kwdefaults__, cells), above)
    elif isinstance(thing, types.CodeType):
        yield thing.co_code
        yield from _parts((thing.co_consts, thing.co_names, thing.co_varnames), above)
    elif isinstance(thing, types.MethodType):
        yield from _parts((thing.__func__, thing.__self__), above)
    elif isinstance(thing, (type, types.BuiltinFunctionType, types.ModuleType)):
        yield f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', thing.__name__)}".encode()
    else:
        yield from _pickled(thing, above)


def _pickled(thing: Any, above: tuple[int, ...]) -> Iterator[bytes]:
    """Class and state of an object, as pickle takes them apart."""
    yield f"{type(thing).__module__}.{type(thing).__qualname__}".encode()
    if isinstance(thing, (np.random.RandomState, np.random.Generator)):  # where it stands is no setting
        return
    reduce = copyreg.dispatch_table.get(type(thing), type(thing).__reduce_ex__)
    try:
        reduced = reduce(thing, 2) if reduce is type(thing).__reduce_ex__ else reduce(thing)
    except Exception:  # every class that pickle cannot take raises its own kind
        return
    if isinstance(reduced, str):
        yield reduced.encode()
        return
    yield from _parts(reduced[:3], above)
    for entries in reduced[3:5]:
        yield from _parts(list(entries) if entries is not None else None, above)
