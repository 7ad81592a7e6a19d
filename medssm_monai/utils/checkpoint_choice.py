"""Where a bundle's weights lie, and which of them it uses when none are named: the user's own before those it ships."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["TRAINED", "choose_checkpoint"]

WEIGHTS = "model.pt"
TRAINED = "trained"
"""Folder within a bundle's ``models/`` that the user's trainings publish to."""
TRACES = ("model.json", "model_*.pt")


def choose_checkpoint(models_dir: str | os.PathLike[str]) -> str:
    """Path of the weights in a bundle's ``models/``: ``trained/model.pt`` of the user's last training, else
    ``model.pt``, which comes with the bundle and is the place where other hosts look.

    Shipped weights answer for classes of their own, so they never stand in for a user's: where a settings file without
    weights, or dated weights, tell of own trainings, the shipped ones must be named.

    Returns:
        The path of ``trained/model.pt``, although there is none, when own trainings have left traces; that of
        ``model.pt`` when there is neither: whoever needs the weights then says what is missing and what else there is
        (:func:`~medssm_monai.utils.require_weights`).
    """
    folder = Path(models_dir)
    own = folder / TRAINED
    traces = (own / WEIGHTS).is_file() or any(next(own.glob(pattern), None) for pattern in TRACES)
    return os.fspath((own if traces else folder) / WEIGHTS)
