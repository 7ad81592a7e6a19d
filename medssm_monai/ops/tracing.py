"""Whether the operators that run are being recorded."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import Parameter
from torch.overrides import _get_current_function_mode_stack

from .small_maps import SmallMapsInFloat32

__all__ = ["fixed_sizes", "is_capturing", "is_eager", "is_exporting", "without_autocast"]

_PLAIN = (Tensor, Parameter)


def is_exporting() -> bool:
    """True under ``torch.export``, ``torch.onnx.export`` and ``torch.jit.trace``: only plain operators may run."""
    return torch.compiler.is_exporting() or torch.jit.is_tracing() or torch.onnx.is_in_onnx_export()


def is_capturing() -> bool:
    """True under an exporter or ``torch.compile``."""
    return torch.compiler.is_compiling() or is_exporting()


def is_eager(*tensors: Tensor | None) -> bool:
    """Whether tensors are plain, and nobody looks at operators.

    No compiler, exporter, functional transform, tensor subclass, view whose sign is to be turned, or mode (but
    :class:`~.SmallMapsInFloat32`).
    """
    if (
        torch.compiler.is_compiling()
        or torch.compiler.is_exporting()
        or torch.jit.is_tracing()  # true where the older ONNX exporter runs a network
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack()
        or _is_watched()
        or forward_ad._current_level >= 0
    ):
        return False
    return all([x is None or (type(x) in _PLAIN and not x.is_neg()) for x in tensors])


def _is_watched() -> bool:
    """Whether a mode sees the operators that run, other than the one that only makes some of them exact."""
    return bool(torch._C._len_torch_function_stack()) and not all(
        isinstance(mode, SmallMapsInFloat32) for mode in _get_current_function_mode_stack()
    )


@contextmanager
def _without_tracer_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        yield


def fixed_sizes() -> AbstractContextManager[None]:
    """Silences the tracer's warnings about sizes that become constants: a traced scan holds for one shape by design."""
    return _without_tracer_warnings() if torch.jit.is_tracing() else nullcontext()


def without_autocast(device: str) -> AbstractContextManager[Any]:
    """Autocast off for a kind of device; nothing where it is off: exporters make a program of its own of a region."""
    on = device != "meta" and torch.is_autocast_enabled(device)
    return torch.autocast(device, enabled=False) if on else nullcontext()
