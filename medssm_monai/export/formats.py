"""The formats: how each is written, and how it is run in its own runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor

from . import onnx_file, torch_export, torchscript
from .capture import Capture

__all__ = ["FORMATS", "Format"]


class Load(Protocol):
    """See :class:`Format`."""

    def __call__(self, path: Path, extra: dict[str, str] | None = None, /) -> Callable[[Tensor], Tensor]: ...


@dataclass(frozen=True)
class Format:
    """One export format.

    Attributes:
        name: what the command line calls it.
        suffix: of its files.
        runtime: the program that runs it, for the report.
        write: ``write(capture, path, extra)`` makes the file; ``extra`` is file name -> text that it has to carry.
        load: ``load(path, extra=None)`` returns a function from a batch to the output, run by the format's own runtime,
            and puts what the file carries under each name of ``extra`` there; to read a file takes long.
        require: raises ImportError when a package is missing.
        facts: further lines for the report.
    """

    name: str
    suffix: str
    runtime: str
    write: Callable[[Capture, Path, Mapping[str, str]], None]
    load: Load
    require: Callable[[], None] = lambda: None
    facts: Callable[[Path], dict[str, object]] = lambda _path: {}


FORMATS: dict[str, Format] = {
    format_.name: format_
    for format_ in (
        Format("torchscript", ".ts", "torch.jit.load", torchscript.write, torchscript.load),
        Format("exported", ".pt2", "torch.export.load", torch_export.write, torch_export.load),
        Format(
            "onnx",
            ".onnx",
            "onnxruntime, CPU",
            onnx_file.write,
            onnx_file.load,
            onnx_file.require,
            onnx_file.facts,
        ),
    )
}
