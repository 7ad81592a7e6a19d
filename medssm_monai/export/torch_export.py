"""``torch.export``: a program of plain operators, the scan as one higher-order operator each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from .capture import Capture

__all__ = ["load", "write"]


def write(capture: Capture, path: Path, extra: Mapping[str, str]) -> None:
    """See :class:`~medssm_monai.export.Format`."""
    torch.export.save(capture.program, str(path), extra_files=dict(extra))


def load(path: Path, extra: dict[str, str] | None = None) -> Callable[[Tensor], Tensor]:
    """The function that the file holds, run by PyTorch alone; see :class:`~medssm_monai.export.Format`."""
    return torch.export.load(str(path), extra_files=extra).module()
