"""A name that pydicom 3 dropped and that MONAI Label still needs, put back."""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec

__all__ = ["restore_pydicom_names"]

DROPPED = "pydicom._storage_sopclass_uids"


def restore_pydicom_names() -> None:
    """Let pydicom-seg, which MONAI Label imports, be imported beside pydicom 3.

    pydicom-seg 0.4.1, the last one, takes ``SegmentationStorage`` from a module that in pydicom 2 did nothing but hand
    on ``pydicom.uid``, and that pydicom 3 has no more. Where pydicom-seg is installed and that module is missing,
    ``pydicom.uid`` stands in its place, for this process.
    """
    if find_spec("pydicom_seg") is not None and DROPPED not in sys.modules and find_spec(DROPPED) is None:
        sys.modules[DROPPED] = importlib.import_module("pydicom.uid")
