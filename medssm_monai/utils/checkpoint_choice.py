"""Which weights a bundle uses when none are named: the user's own before those that come with the bundle."""

from __future__ import annotations

import logging
import os
from pathlib import Path

__all__ = ["choose_checkpoint"]

logger = logging.getLogger(__name__)

OWN = "model.pt"


def choose_checkpoint(models_dir: str | os.PathLike[str], shipped: str) -> str:
    """Path of the weights in a bundle's ``models/``: ``model.pt`` of the user's last training if there is one, else the
    file ``shipped`` that comes with the bundle. The log says which one it is.

    Returns:
        The path of ``model.pt`` when neither file exists, so that the error that follows names it.
    """
    own, ours = Path(models_dir) / OWN, Path(models_dir) / shipped
    if own.is_file():
        logger.info("weights: %s, from your own training (those that come with the bundle: %s)", own, ours.name)
        return os.fspath(own)
    if ours.is_file():
        logger.info("weights: %s, which come with the bundle (model card: %s)", ours, ours.with_suffix(".md").name)
        return os.fspath(ours)
    return os.fspath(own)
