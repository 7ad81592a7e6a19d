"""Pictures for people: an explanation or an overlay as a Secondary Capture image."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .deidentify import Deidentifier
from .facts import ModelFacts
from .secondary import require_clean_pixels, secondary_capture
from .sources import picture_of, source_header, source_headers
from .writing import save_object

if TYPE_CHECKING:
    from ..data.studies.series import Series

__all__ = ["write"]

SERIES_NUMBER = 9704


def write(
    series: Series,
    picture: np.ndarray,
    output_dir: str | os.PathLike[str],
    about: ModelFacts,
    *,
    what: str,
    source: str | None = None,
    deidentify: Deidentifier | None = None,
) -> list[Path]:
    """Write a picture that refers to its source.

    Args:
        series: that it was made from.
        picture: ``(rows, columns, 3)`` uint8, red, green, blue.
        output_dir: folder of the file.
        about: the model.
        what: it shows, such as ``"explanation of lesion"``; part of descriptions, so without names of people.
        source: the picture of the series that it shows, a file or the address of a frame; None refers to all images.
        deidentify: takes the patient out.

    Returns:
        the file.

    Raises:
        ImportError: highdicom is not installed.
        ValueError: a picture of another form; a source with burned in annotation, to be written without the patient.
    """
    if picture.ndim != 3 or picture.shape[-1] != 3 or picture.dtype != np.uint8:
        raise ValueError(
            f"a key picture is (rows, columns, 3) uint8, got {picture.shape} {picture.dtype}; draw it as RGB first."
        )
    frames: list[int] = []
    if source is None:
        headers = source_headers(series.instances, deidentify)
    else:
        instance, frame = picture_of(series, source)
        headers = [source_header(instance.header, deidentify)]
        frames = [] if frame is None else [frame]
    if deidentify is not None:
        require_clean_pixels(headers)
    size = (int(headers[0].Rows), int(headers[0].Columns))
    made = secondary_capture(
        picture,
        headers,
        about,
        what,
        SERIES_NUMBER,
        frames,
        same_pixels=source is not None and picture.shape[:2] == size,
    )
    return [save_object(made, output_dir, "picture", deidentify)]
