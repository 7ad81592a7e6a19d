"""The spectral filter as a differentiable function."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..first_order import first_order
from ..selection import runs_native

__all__ = ["spectral_filter"]

NUMBERS_A_UNIT = 2048  # complex ones: the filter's part and its gradient's stay near while the samples pass


def spectral_filter(maps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``irfft2(W ⊙ rfft2(x) + b)`` with orthonormal transforms; of volumes over all three axes.

    In float32 on the CPU all that lies between PyTorch's transforms is one pass over the spectrum, and the gradient
    takes two real transforms.

    Args:
        maps: ``(B, C, H, W)`` or ``(B, C, X, Y, Z)``.
        weight, bias: complex numbers as real pairs ``(C, H, W//2 + 1, 2)`` or ``(C, X, Y, Z//2 + 1, 2)``.

    Returns:
        As ``maps``.
    """
    *rows, width = maps.shape[1:]
    fits = weight.shape == bias.shape == (*rows, width // 2 + 1, 2)
    if not fits or not runs_native(maps, weight, bias):  # what does not fit PyTorch refuses, or broadcasts
        w, b = (torch.view_as_complex(p.contiguous()) for p in (weight, bias))
        return _back(torch.addcmul(b, w, _spectrum(maps)), maps.shape[2:])
    if torch.is_grad_enabled() and (maps.requires_grad or weight.requires_grad or bias.requires_grad):
        return _SpectralFilter.apply(maps, weight, bias)
    spectrum = _spectrum(maps).contiguous()
    _multiply(spectrum, weight.contiguous(), bias.contiguous(), spectrum)
    return _back(spectrum, maps.shape[2:])


def _spectrum(maps: Tensor) -> Tensor:
    return torch.fft.rfftn(maps, dim=tuple(range(2, maps.ndim)), norm="ortho")


def _back(spectrum: Tensor, size: Sequence[int]) -> Tensor:
    """Maps of this size from their spectrum."""
    return torch.fft.irfftn(spectrum, s=tuple(size), dim=tuple(range(2, spectrum.ndim)), norm="ortho")


class _SpectralFilter(torch.autograd.Function):
    """With ``G = rfft2(dy)`` the gradient of ``x`` is ``irfft2(conj(W) ⊙ G)``; for the others see :mod:`.kernel`."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        dense = weight.contiguous()
        spectrum = _spectrum(maps).contiguous()
        ctx.save_for_backward(spectrum, dense, weight)  # the last one so that a change of it is noticed
        ctx.size = maps.shape[2:]
        out = torch.empty_like(spectrum)
        _multiply(spectrum, dense, bias.contiguous(), out)
        return _back(out, ctx.size)

    @staticmethod
    @first_order
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        spectrum, weight, _ = ctx.saved_tensors
        back = _spectrum(gradient).contiguous()
        dweight, dbias = torch.empty_like(weight), torch.empty_like(weight)
        _pull_back(spectrum, weight, back, dweight, dbias, ctx.size[-1])
        dx = _back(back, ctx.size) if ctx.needs_input_grad[0] else None
        return dx, dweight, dbias


def _multiply(spectrum: Tensor, weight: Tensor, bias: Tensor, out: Tensor) -> None:
    from .kernel import FORWARD

    _run(FORWARD, spectrum.shape, 0, {"spectrum": spectrum, "weight": weight, "bias": bias, "out": out})


def _pull_back(spectrum: Tensor, weight: Tensor, gradient: Tensor, dweight: Tensor, dbias: Tensor, width: int) -> None:
    """``gradient`` becomes that of the transform of the input; ``width``: of the maps."""
    from .kernel import BACKWARD

    tensors = {"spectrum": spectrum, "weight": weight, "gradient": gradient, "dweight": dweight, "dbias": dbias}
    _run(BACKWARD, spectrum.shape, (width + 1) // 2, tensors)


def _run(task: int, shape: Sequence[int], doubled: int, tensors: dict[str, Tensor]) -> None:
    from ..backends.native.eager import named
    from ..backends.native.thread_pool import run_units, thread_count
    from .kernel import FIELDS, spectral_kernel

    batch, columns = shape[0], shape[-1]
    rows = math.prod(shape[1:-1])
    run = max(1, NUMBERS_A_UNIT // columns)
    values = {"task": task, "batch": batch, "rows": rows, "columns": columns, "doubled": doubled, "run": run}
    values |= {name: x.data_ptr() for name, x in tensors.items()}
    with named("medssm::spectral"):
        params = array("q", [values.get(name, 0) for name in FIELDS])
        run_units(spectral_kernel(), params, 0, -(-rows // run), thread_count(batch * rows * columns))
