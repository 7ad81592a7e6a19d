"""What also runs inside of Orthanc, whose Python has no package but the standard library: rules, queue and plugin."""

from __future__ import annotations

from pathlib import Path

__all__ = ["entry_file"]


def entry_file() -> Path:
    """The script that Orthanc runs (``PythonScript`` of its configuration)."""
    return Path(__file__).resolve().parent / "entry.py"
