"""``torch.export``: a program of plain operators, the scan as one higher-order operator each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from .capture import Capture

__all__ = ["load", "read_extra", "write"]


def write(capture: Capture, path: Path, extra: Mapping[str, str]) -> None:
    """See :class:`~medssm_monai.export.Format`."""
    torch.export.save(capture.program, str(path), extra_files=dict(extra))


def load(path: Path) -> Callable[[Tensor], Tensor]:
    """The function that the file holds, run by PyTorch without this package."""
    return torch.export.load(str(path)).module()


def read_extra(path: Path, names: list[str]) -> dict[str, str]:
    """What the file carries."""
    found = dict.fromkeys(names, "")
    torch.export.load(str(path), extra_files=found)
    return found
