"""Is somebody recording the operators that run?"""

from __future__ import annotations

import torch

__all__ = ["is_capturing", "is_exporting"]


def is_exporting() -> bool:
    """True under ``torch.export``, ``torch.onnx.export`` and ``torch.jit.trace``: only plain operators may run."""
    return torch.compiler.is_exporting() or torch.jit.is_tracing() or torch.onnx.is_in_onnx_export()


def is_capturing() -> bool:
    """True under an exporter or ``torch.compile``."""
    return torch.compiler.is_compiling() or is_exporting()
