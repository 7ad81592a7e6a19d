"""Order tables as the kernels read them: ``int32``, contiguous, and every position inside the sequence."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

__all__ = ["checked", "kept_positions"]

_kept: WeakIdKeyDictionary = WeakIdKeyDictionary()  # table -> its version, the copy made of it


def checked(order: Tensor) -> Tensor:
    """``order`` if it holds positions only: the kernels address memory with these numbers.

    Raises:
        ValueError: a position outside the sequence.
    """
    table = order.numpy()
    if table.min() < 0 or table.max() >= table.shape[-1]:
        raise ValueError(f"order must hold positions 0..{table.shape[-1] - 1}, got {table.min()}..{table.max()}")
    return order


def kept_positions(order: Tensor) -> Tensor:
    """A checked ``int32`` copy, made once for each table: networks hand in the same one again and again.

    The copy belongs to this module, so that no write to the table reaches a kernel unchecked; a table that changed by
    PyTorch's own operators is copied anew. Tables made in inference mode count no changes: they are copied each time.
    """
    if order.is_inference():
        return _copy(order)
    known = _kept.get(order)
    if known is None or known[0] != order._version:
        known = (order._version, _copy(order))
        _kept[order] = known
    return known[1]


def _copy(order: Tensor) -> Tensor:
    with torch.inference_mode(False), torch.no_grad():
        return checked(order).to(torch.int32, copy=True, memory_format=torch.contiguous_format)
