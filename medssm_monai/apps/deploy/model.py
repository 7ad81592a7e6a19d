"""The model that MONAI Deploy hands over: a bundle's folder or an exported archive, found where it lies."""

from __future__ import annotations

import os
from pathlib import Path

from ...bundle.find import bundle_config
from ...bundle.predictor import Predictor, load
from ...export.archive import ArchivePredictor

__all__ = ["open_model"]

DEPTH = 2  # folders: an application package has models/NAME/FILE


def open_model(path: str | os.PathLike[str], weights: str | None = None) -> Predictor:
    """The predictor of a model.

    Args:
        path: a bundle's folder (its own weights, as :func:`medssm_monai.load` takes them), a ``.ts`` of
            ``python -m medssm_monai.export``, or a folder that holds one of these, itself or in a folder below.
        weights: of a bundle's folder, a file or the name of one in its ``models/``, such as ``"volume"``.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: no model there, or several; an archive that does not carry what a prediction needs, or one for which
            weights are named.
    """
    place = Path(path)
    if not place.exists():
        raise FileNotFoundError(f"no model {place}: give a bundle's folder, or the .ts of an export.")
    found = _models(place, DEPTH)
    if len(found) != 1:
        there = (
            f"several models in {place}: {', '.join(str(one) for one in found)}" if found else f"no model in {place}"
        )
        raise ValueError(f"{there}. Give one: a bundle's folder, or the .ts of python -m medssm_monai.export.")
    (model,) = found
    if model.is_dir():
        return load(model, ckpt_path=weights)
    if weights is not None:
        raise ValueError(f"{model} holds its weights; name {weights!r} when the bundle is exported (--ckpt_path).")
    return ArchivePredictor(model)


def _models(place: Path, depth: int) -> list[Path]:
    if place.is_file():
        return [place] if place.suffix == ".ts" else []
    if bundle_config(place, "inference") is not None:
        return [place]
    below = sorted(one for one in place.iterdir() if not one.name.startswith("."))
    return [model for one in below if depth or one.is_file() for model in _models(one, depth - 1)]
