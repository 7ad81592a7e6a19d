"""Export of a bundle to TorchScript, ``torch.export`` and ONNX; each file is checked in its own runtime before it gets
its name.

One command: ``python -m medssm_monai.export bundles/mamba_mis --formats torchscript onnx exported``.
"""

from __future__ import annotations

from .archive import ArchivePredictor
from .formats import FORMATS, Format
from .report import ExportReport, FormatReport
from .run import export_bundle

__all__ = ["FORMATS", "ArchivePredictor", "ExportReport", "Format", "FormatReport", "export_bundle"]
