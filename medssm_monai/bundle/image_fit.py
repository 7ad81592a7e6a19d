"""Whether images have the number of dimensions that weights were trained for, said before they are read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..data.errors import ImageReadError
from ..data.readers.files import NIFTI, RASTER, file_kind
from ..data.readers.volume import is_volume
from .weights import weights_hint

__all__ = ["dimensions_of", "require_fitting_images"]

IMAGE_KEYS = ("image", "image_a")


def dimensions_of(source: Any) -> int | None:
    """2 for a picture or one NIfTI slice, 3 for a NIfTI volume or a series folder, None where only reading can tell:
    single DICOM files, images within ``.npz`` files, arrays, damaged or missing files. A list, files of the channels
    of one image, has the dimensions that all of them have."""
    if isinstance(source, (list, tuple)):
        found = {dimensions_of(one) for one in source}
        return found.pop() if len(found) == 1 else None
    if not isinstance(source, (str, os.PathLike)):
        return None
    path = Path(source)
    if path.is_dir():
        return 3
    kind = file_kind(path)
    if kind == RASTER and path.is_file():
        return 2
    try:
        return (3 if is_volume(path) else 2) if kind == NIFTI else None
    except ImageReadError:
        return None


def require_fitting_images(
    items: Iterable[Mapping[str, Any]], spatial_dims: int, ckpt_path: str | os.PathLike[str]
) -> None:
    """Compare images with the dimensions of the weights; the first that fits, or may fit, ends the search.

    Args:
        items: of a datalist, with ``image``, or with ``image_a`` of pairs.
        spatial_dims: what the weights were trained for.
        ckpt_path: the weights, for the message.

    Raises:
        ImageReadError: none of the images fits; the message names the weights that were taken and others that there
            are.
    """
    first = None
    for item in items:
        source = next((item[key] for key in IMAGE_KEYS if key in item), None)
        found = dimensions_of(source)
        if found is None or found == spatial_dims:
            return
        first = first or (source, found)
    if first is not None:
        named = ", ".join(map(str, first[0])) if isinstance(first[0], (list, tuple)) else first[0]
        raise ImageReadError(
            f"{named}: the image has {first[1]} dimensions, the weights are for images of {spatial_dims}. "
            f"{weights_hint(ckpt_path)}"
        )
