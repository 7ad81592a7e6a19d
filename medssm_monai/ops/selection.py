"""Which backend computes a scan: automatic, forced by a context manager, or forced by the environment."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from .arguments import state_dtype
from .backends import BACKENDS, Backend, Request
from .tracing import is_eager, is_exporting

__all__ = ["BACKEND_ENV", "available_backends", "backend_for", "choose", "runs_native", "use_backend"]

BACKEND_ENV = "MEDSSM_SCAN_BACKEND"
AUTO = "auto"


class _Forced(threading.local):
    name: str | None = None


_forced = _Forced()  # per thread; torch.compile reads a threading.local, not a context variable
_warned: set[str] = set()
_log = logging.getLogger(__name__)


def _known(name: str, source: str) -> str:
    if name != AUTO and name not in BACKENDS:
        raise ValueError(f"unknown scan backend {name!r} ({source}); expected {AUTO!r} or one of {sorted(BACKENDS)}")
    return name


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Force the scan backend inside a ``with`` block, in this thread only.

    Args:
        name: a name from :func:`available_backends`, or ``"auto"`` for the automatic choice.

    Raises:
        ValueError: the name is unknown.

    Example:
        >>> from medssm_monai.ops import use_backend
        >>> with use_backend("reference"):
        ...     pass
    """
    before = _forced.name
    _forced.name = _known(name, "use_backend")
    try:
        yield
    finally:
        _forced.name = before


def available_backends() -> dict[str, str | None]:
    """Name of every backend -> None if it can run in this installation, else the reason why not. Best first."""
    return {name: backend.missing for name, backend in BACKENDS.items()}


def _automatic(request: Request) -> Backend:
    for backend in BACKENDS.values():
        if request.exporting and not backend.exportable:
            continue
        reason = backend.refuses(request)
        if reason is None:
            return backend
        suited = backend.devices is not None and request.device in backend.devices and request.dtype in backend.dtypes
        if suited and backend.missing and backend.name not in _warned:
            _warned.add(backend.name)
            _log.warning("scan backend %r is not available: %s; a slower one is used", backend.name, reason)
    raise RuntimeError(f"no scan backend serves {request}; available: {available_backends()}")


def choose(request: Request, name: str | None = None) -> Backend:
    """The backend for a request.

    ``name`` if given, else that of :func:`use_backend`, else of the environment, else the best that fits.

    Raises:
        ValueError: the forced name is unknown.
        RuntimeError: the forced backend cannot serve the request.
    """
    source = "argument backend"
    if name is None:
        name, source = _forced.name, "use_backend"
    if name is None:
        name, source = os.environ.get(BACKEND_ENV) or AUTO, f"environment variable {BACKEND_ENV}"
    if _known(name, source) == AUTO:
        return _automatic(request)
    backend = BACKENDS[name]
    reason = backend.refuses(request, by_name=True)
    if reason is not None:
        raise RuntimeError(f"scan backend {name!r} was asked for ({source}) but cannot be used: {reason}")
    return backend


def runs_native(*tensors: Tensor | None) -> bool:
    """Whether fused operators beside the scan serve these tensors, here and now.

    They are float32 on the CPU and hold something, autocast is off, nobody records or transforms operators, and the
    scan of such tensors is ``native``, by itself or because it was asked for.
    """
    name = _forced.name or os.environ.get(BACKEND_ENV) or AUTO
    if (name != AUTO and name != "native") or BACKENDS["native"].missing is not None:
        return False
    if not is_eager(*tensors) or torch.is_autocast_enabled("cpu"):
        return False
    # a list: this runs before every fused operator, and a generator takes twice as long
    return all([x is None or (x.dtype is torch.float32 and x.is_cpu and x.numel() > 0) for x in tensors])


def backend_for(tensor: Tensor, *, requires_grad: bool | None = None, backend: str | None = None) -> str:
    """Name of the backend that would scan ``tensor``: for logs and reports.

    Args:
        tensor: stands for the scan's inputs; its device and dtype count.
        requires_grad: whether gradients will be wanted; default: ``tensor.requires_grad`` while gradients are enabled.
        backend: as in :func:`~medssm_monai.ops.selective_scan`.
    """
    if requires_grad is None:
        requires_grad = tensor.requires_grad and torch.is_grad_enabled()
    higher_order = torch.compiler.is_exporting()
    request = Request(tensor.device.type, state_dtype(tensor), requires_grad, is_exporting(), higher_order=higher_order)
    return choose(request, backend).name
