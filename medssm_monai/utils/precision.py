"""In which number format a network computes its products, checked against the device that it is on."""

from __future__ import annotations

import torch

from .device import as_device

__all__ = ["PRECISIONS", "chosen_precision"]

PRECISIONS = ("float32", "bfloat16", "float16", "auto")
"""``auto``: on a CUDA device bfloat16 where it has that in hardware, else float16; float32 on every other device."""


def chosen_precision(precision: str, device: str | torch.device) -> str:
    """The precision that a network computes in on a device: ``"float32"``, ``"bfloat16"`` or ``"float16"``.

    Args:
        precision: one of :data:`PRECISIONS`.
        device: where the network is.

    Raises:
        ValueError: another word, float16 on a device that is no CUDA device (its gradients need MONAI's scaling, which
            is made for CUDA), bfloat16 on a CUDA device that lacks it; or no such device.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision {precision!r} is not known; give one of {', '.join(PRECISIONS)}.")
    kind = as_device(device).type
    if precision == "auto":
        if kind != "cuda":
            return "float32"
        return "bfloat16" if _has_bfloat16(device) else "float16"
    if precision == "float16" and kind != "cuda":
        raise ValueError(f"precision 'float16' is for CUDA devices, the device is {kind!r}; give bfloat16 or float32.")
    if precision == "bfloat16" and kind == "cuda" and not _has_bfloat16(device):
        raise ValueError(f"device {str(device)!r} has no bfloat16 in hardware; give float16, auto or float32.")
    return precision


def _has_bfloat16(device: str | torch.device) -> bool:
    with torch.cuda.device(device):
        return torch.cuda.is_bf16_supported(including_emulation=False)
