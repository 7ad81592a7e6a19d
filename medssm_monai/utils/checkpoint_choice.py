"""Which weights a bundle uses when none are named: the user's own before those that come with the bundle."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["choose_checkpoint"]

OWN = "model.pt"
TRACES = ("model.json", "model_*.pt")


def choose_checkpoint(models_dir: str | os.PathLike[str], shipped: str) -> str:
    """Path of the weights in a bundle's ``models/``: ``model.pt`` of the user's last training, else the file
    ``shipped`` that comes with the bundle.

    Shipped weights answer for classes of their own, so they never stand in for a user's: where a settings file without
    weights, or dated weights, tell of own trainings, the shipped ones must be named.

    Returns:
        The path of ``model.pt``, although there is none, when neither file exists or own trainings have left traces:
        whoever needs the weights then says what is missing and what else there is
        (:func:`~medssm_monai.utils.require_weights`).
    """
    folder = Path(models_dir)
    own = folder / OWN
    traces = any(next(folder.glob(pattern), None) for pattern in TRACES)
    if not own.is_file() and not traces and (folder / shipped).is_file():
        return os.fspath(folder / shipped)
    return os.fspath(own)
