"""The model of a federation as weights of its bundle."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch

from ...bundle.checkpoint import read_weights
from ...bundle.settings import WEIGHTS_SHA256, settings_file
from ...utils.files import file_sha256, replace_file, writable_folder
from .job import start_files

__all__ = ["take_model"]

SHOWN = 4


def take_model(
    global_model: str | os.PathLike[str], job: str | os.PathLike[str], ckpt_path: str | os.PathLike[str]
) -> Path:
    """Write the aggregated weights and the settings of their network, as a training leaves them.

    FLARE averages in float64 what has whole numbers, such as the counters of batch normalization; they become whole
    numbers again. Then the bundle's ``evaluate.yaml`` and ``inference.yaml`` take the file as ``--ckpt_path``.

    Args:
        global_model: ``FL_global_model.pt`` or ``best_FL_global_model.pt`` of FLARE's server.
        job: the folder that :func:`~.job.write_job` wrote.
        ckpt_path: the file to write; its settings go beside it.

    Returns:
        ``ckpt_path``.

    Raises:
        FileNotFoundError: no such model or job.
        FileExistsError: there is something at ``ckpt_path``, or where its settings go.
        ValueError: the model is of another job, or holds numbers that are not finite.
    """
    target = Path(ckpt_path)
    there = [str(path) for path in (target, settings_file(target)) if os.path.lexists(path)]
    if there:
        raise FileExistsError(f"{' and '.join(there)}: there already, and left as it is. Name another file.")
    if not Path(global_model).is_file():
        raise FileNotFoundError(f"{os.fspath(global_model)}: no such model. FLARE's server writes it after each round.")
    first, settings = start_files(job)
    start, found = read_weights(first), read_weights(global_model)
    wrong = sorted(start.keys() ^ found.keys())
    wrong += sorted(key for key in start.keys() & found.keys() if start[key].shape != found[key].shape)
    if wrong:
        raise ValueError(
            f"{os.fspath(global_model)} is not of the job {os.fspath(job)}: {', '.join(wrong[:SHOWN])} "
            f"({len(wrong)} in all) are missing, unknown or of another shape. Give the job that it came from."
        )
    infinite = sorted(key for key, value in found.items() if not bool(value.isfinite().all()))
    if infinite:
        raise ValueError(
            f"{os.fspath(global_model)} holds numbers that are not finite, in {', '.join(infinite[:SHOWN])} "
            f"({len(infinite)} in all): a site's training has failed. Its log says more; start again without it."
        )
    weights = {key: _as(found[key], value.dtype) for key, value in start.items()}
    writable_folder(target.parent, remedy="Make it writable, or name another file.")
    with replace_file(target) as temporary, replace_file(settings_file(target)) as beside:
        torch.save(weights, temporary)
        content = {**json.loads(settings.read_text(encoding="utf8")), WEIGHTS_SHA256: file_sha256(temporary)}
        beside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf8")
    return target


def _as(value: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return (value if dtype.is_floating_point else value.round()).to(dtype)
