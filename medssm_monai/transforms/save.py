"""What the writers of results share: names after the inputs, whole files, 8-bit pictures and slices in NIfTI."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import PathLike
from monai.transforms import Transform
from monai.utils import optional_import
from PIL import Image

from ..data.readers.files import file_stem
from ..utils import writable_folder
from ..utils.shown_names import shown_name
from ..utils.text_files import printable

__all__ = ["ResultNames", "ResultWriter", "as_array", "eight_bit", "nifti_slice"]

logger = logging.getLogger(__name__)
nib, _ = optional_import("nibabel")


class ResultNames:
    """Give each input the path of its result, ``<stem><suffix>``.

    Two inputs with one stem never get the same path: the second becomes ``<parent folder>_<stem>``, with a number where
    that is taken too, and a warning. An input that comes again gets its own path again; what lies on the disk from
    earlier runs does not count.
    """

    def __init__(self) -> None:
        self._taken: dict[Path, str] = {}  # result -> its input

    def __call__(self, source: str, folder: Path, suffix: str) -> Path:
        """Path in ``folder`` for the result of ``source``."""
        path, stem = Path(source), file_stem(Path(source))
        names = [stem, f"{path.absolute().parent.name}_{stem}"]
        names += [f"{names[1]}_{number}" for number in range(2, len(self._taken) + 3)]
        targets = (folder / f"{name}{suffix}" for name in names)
        target = next(one for one in targets if self._taken.get(one, source) == source)
        if target.name != f"{stem}{suffix}":
            message = f"{shown_name(source)}: {stem}{suffix} belongs to another input, saved as {target.name}"
            logger.warning("%s", printable(message))
        self._taken[target] = source
        return target


class ResultWriter(Transform):
    """Base of the transforms that write results: a path for each input that no other input gets, and never the input
    itself.

    Args:
        output_dir: folder for the results; created if missing.
    """

    def __init__(self, output_dir: PathLike) -> None:
        self.output_dir = Path(output_dir)
        self._names = ResultNames()

    def _target(self, source: str, suffix: str, folder: str) -> Path:
        """Where the result of ``source`` is written, in a folder that is there.

        Raises:
            ValueError: it is the input itself.
            PermissionError: the folder cannot be created or written.
        """
        path, target = Path(source), self._names(source, self.output_dir / folder, suffix)
        if target.exists() and path.exists() and os.path.samefile(target, path):
            raise ValueError(f"saving to {target} would overwrite the input itself; choose another output_dir.")
        writable_folder(target.parent)
        return target


def as_array(value: Any) -> np.ndarray:
    """A tensor of any device, or what NumPy takes, as an array."""
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def eight_bit(values: np.ndarray) -> Image.Image:
    """``(H, W)`` or ``(H, W, 3)`` in [0, 1] as an 8-bit picture."""
    return Image.fromarray(np.floor(values * 255 + 0.5).astype(np.uint8))


def nifti_slice(values: np.ndarray, meta: Mapping[str, Any]) -> Any:
    """``(H, W)`` as a NIfTI image with shape and affine of the file that the metadata come from."""
    shape = tuple(int(size) for size in as_array(meta["file_shape"]) if size > 0)
    # (row = y, column = x) -> (x, y) with the axes of length one
    return nib.Nifti1Image(values.T.reshape(shape), as_array(meta["file_affine"]))
