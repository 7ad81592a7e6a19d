"""How a data set is called in logs, runs and reports."""

from __future__ import annotations

from pathlib import Path

from monai.config import PathLike

from ..utils.typed_option import typed_option
from .demo import DEMO
from .root import is_demo

__all__ = ["dataset_name"]


def dataset_name(dataset_dir: PathLike) -> str:
    """``"demo"`` for the embedded synthetic demo set, else the name of the folder or file.

    A folder that is itself called ``demo`` is named ``demo_folder``, so that it is never taken for the demo set.
    """
    if is_demo(dataset_dir):
        return DEMO
    name = Path(str(typed_option(dataset_dir, "dataset_dir"))).expanduser().resolve().name or "root"
    name = name.encode("utf-8", "replace").decode("utf-8")  # trackers and pages store UTF-8
    return "demo_folder" if name == DEMO else name
