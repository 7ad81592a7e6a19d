"""Where studies, uploads and trainings of the server lie: over HTTP nobody's business, and often a patient's name."""

from __future__ import annotations

import os
import tempfile

from ...utils.shown_names import remember_data, remember_place

__all__ = ["hide_places"]


def hide_places(studies: str | os.PathLike[str], app_dir: str | os.PathLike[str]) -> None:
    """Have answers and log name files from these folders on (:func:`~medssm_monai.utils.shown_names.shown_text`), by
    whatever link they are reached. Bundles do so themselves.

    Args:
        studies: folder of the images.
        app_dir: where logs and trainings are kept.
    """
    for folder, called in ((tempfile.gettempdir(), "(temporary folder)"), (app_dir, "(app folder)")):
        for way in {os.path.abspath(folder), os.path.realpath(folder)}:
            remember_place(way, called)
    for way in {os.path.abspath(studies), os.path.realpath(studies)}:
        remember_data(way)
