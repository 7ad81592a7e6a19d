"""How a data set is called in logs, runs and reports."""

from __future__ import annotations

from pathlib import Path

from monai.config import PathLike

from .demo import DEMO
from .root import is_demo

__all__ = ["dataset_name"]


def dataset_name(dataset_dir: PathLike) -> str:
    """``"demo"`` for the embedded synthetic demo set, else the name of the folder or file.

    A folder that is itself called ``demo`` is named ``demo_folder``, so that it is never taken for the demo set.
    """
    if is_demo(dataset_dir):
        return DEMO
    name = Path(dataset_dir).expanduser().resolve().name or "root"
    return "demo_folder" if name == DEMO else name
