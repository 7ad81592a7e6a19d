"""TorchScript by tracing, as ``python -m monai.bundle ckpt_export --use_trace True`` writes it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from monai.data.torchscript_utils import load_net_with_metadata, save_net_with_metadata
from monai.networks.utils import convert_to_torchscript
from torch import Tensor

from .capture import Capture

__all__ = ["load", "read_extra", "write"]

METADATA = "metadata.json"


def write(capture: Capture, path: Path, extra: Mapping[str, str]) -> None:
    """Trace with the pure PyTorch scan; see :class:`~medssm_monai.export.Format`."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", torch.jit.TracerWarning
        )  # of sizes, which are constants here; results are checked
        traced = convert_to_torchscript(capture.network, inputs=[capture.example], use_trace=True, check_trace=False)
    others = {name: text.encode() for name, text in extra.items() if name != METADATA}
    save_net_with_metadata(
        traced, str(path), include_config_vals=False, meta_values=json.loads(extra[METADATA]), more_extra_files=others
    )


def load(path: Path, extra: dict[str, str] | None = None) -> Callable[[Tensor], Tensor]:
    """The function that the file holds, run by ``torch.jit``; see :class:`~medssm_monai.export.Format`."""
    names = [name for name in extra or () if name != METADATA]
    network, metadata, others = load_net_with_metadata(
        str(path), map_location=torch.device("cpu"), more_extra_files=names
    )
    if extra is not None:
        extra |= {METADATA: json.dumps(metadata), **{name: text.decode() for name, text in others.items()}}
    return network.eval()


def read_extra(path: Path, names: list[str]) -> dict[str, str]:
    """What the file carries."""
    found = dict.fromkeys(names, "")
    load(path, found)
    return found
