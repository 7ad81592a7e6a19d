"""What the export says at the end: which files passed, where they are, and how to try them."""

from __future__ import annotations

from ..bundle.closing_message import closing_block
from ..utils.command_line import as_typed, python_name
from ..utils.files import shown_path
from .report import ExportReport

__all__ = ["close_export"]

TRIALS = {  # format -> Python that loads the file in its own runtime
    "torchscript": "import torch; print(torch.jit.load({path!r}).forward.schema)",
    "onnx": "import onnxruntime; print(onnxruntime.InferenceSession({path!r}).get_inputs()[0].shape)",
}


def close_export(report: ExportReport) -> str:
    """The block after the page of a report that was written."""
    assert report.page is not None  # it was written
    folder = report.page.parent
    passed = [one for one in report.formats if one.passed]
    trials = {
        f"try {one.format}": as_typed(
            [python_name(), "-c", TRIALS[one.format].format(path=shown_path(folder / one.file))]
        )
        for one in passed
        if one.format in TRIALS
    }
    return closing_block(
        f"Exported: {len(passed)} of {len(report.formats)} files passed all checks",
        {"files": [folder / one.file for one in passed], "report": report.page},
        trials,
    )
