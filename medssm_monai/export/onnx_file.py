"""ONNX through ``torch.export``: each scan becomes one ``Scan`` node."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from monai.utils import optional_import
from torch import Tensor

from .capture import Capture

__all__ = ["INPUT", "OUTPUT", "facts", "load", "require", "write"]

INPUT, OUTPUT = "image", "pred"
PACKAGES = ("onnx", "onnxruntime", "onnxscript")


def require() -> None:
    """Raises:
    ImportError: a package that writes or runs ONNX is missing.
    """
    missing = [name for name in PACKAGES if not optional_import(name)[1]]
    if missing:
        raise ImportError(
            f"ONNX needs {', '.join(missing)}: install them with pip install 'medssm-monai[onnx]', or leave ONNX out "
            "with --formats torchscript exported."
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's notes on packages it does not need and constants it does not fold."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def write(capture: Capture, path: Path, extra: Mapping[str, str]) -> None:
    """See :class:`~medssm_monai.export.Format`.

    The graph is left to the runtime's own optimizer, which is as good here and takes no minutes. Notes on where in the
    source a node came from, with paths of this machine, are removed.
    """
    require()
    from onnx_ir.passes import common

    with _quiet(), torch.no_grad():
        converted = torch.onnx.export(
            capture.program,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamo=True,
            optimize=False,
            verbose=False,
        )
    assert converted is not None  # as always with dynamo
    model = converted.model
    for clean in (common.InlinePass(), common.RemoveUnusedNodesPass(), common.ClearMetadataAndDocStringPass()):
        clean(model)
    model.metadata_props.update(extra)
    converted.save(str(path), external_data=False)


def load(path: Path, extra: dict[str, str] | None = None) -> Callable[[Tensor], Tensor]:
    """The function that the file holds, run by ONNX Runtime on as many threads as PyTorch may use.

    See :class:`~medssm_monai.export.Format`.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    options.log_severity_level = 3  # errors; the warnings are about constants that it does not fold
    session = onnxruntime.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])

    if extra is not None:
        carried = session.get_modelmeta().custom_metadata_map
        extra.update({name: carried.get(name, "") for name in extra})

    def run(x: Tensor) -> Tensor:
        return torch.from_numpy(session.run([OUTPUT], {INPUT: x.numpy()})[0])

    return run


def facts(path: Path) -> dict[str, object]:
    """Version of the operator set, number of nodes, and how many of them are scans."""
    import onnx

    model = onnx.load(os.fspath(path))
    opset = next(entry.version for entry in model.opset_import if not entry.domain)
    kinds = [node.op_type for node in model.graph.node]
    return {"opset": opset, "nodes": len(kinds), "scan_nodes": kinds.count("Scan")}
