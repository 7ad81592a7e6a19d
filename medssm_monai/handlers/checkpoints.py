"""The checkpoint files of a run: how they are named, written whole, found and read."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch

from ..bundle.run_records import newest_run
from ..utils import replace_file
from ..utils.switches import switch
from .events import process_rank
from .mlflow import new_run_name

__all__ = [
    "CheckpointError",
    "checkpoint_path",
    "checkpoints_in",
    "find_checkpoint",
    "read_checkpoint",
    "resumes",
    "run_name_for",
    "serialized",
    "sha256_of",
    "unwrapped_network",
    "write_checkpoint",
]

logger = logging.getLogger(__name__)

_NAME = re.compile(r"checkpoint_epoch=(\d+)\.pt")
_A_FOLDER = "To go on with a certain run give its folder as --resume_from, or its name as --run_name."


class CheckpointError(RuntimeError):
    """A checkpoint that could not be written; the message says what is kept and how to go on."""


def checkpoint_path(folder: Path, epoch: int) -> Path:
    """File of the state after an epoch."""
    return folder / f"checkpoint_epoch={epoch}.pt"


def checkpoints_in(folder: Path) -> dict[int, Path]:
    """Checkpoints of a run's folder by epoch, the newest first."""
    found = {
        int(match[1]): path for path in folder.glob("checkpoint_epoch=*.pt") if (match := _NAME.fullmatch(path.name))
    }
    return dict(sorted(found.items(), reverse=True))


def resumes(resume: Any) -> bool:
    """Whether a training goes on by itself with what it finds, as the setting ``resume`` says.

    Raises:
        ValueError: neither on nor off, such as a folder.
    """
    return switch(resume, "resume", _A_FOLDER)


def run_name_for(
    resume_from: str | os.PathLike | None,
    *parts: str,
    resume: Any = False,
    output_dir: str | os.PathLike | None = None,
) -> str:
    """Name of the run that a training belongs to: that of the checkpoint's folder, that of the newest run of the same
    settings, or a new one.

    Args:
        resume_from: a checkpoint or a run's folder, or None for a new run.
        parts: what a new run is about, as ``new_run_name`` takes it.
        resume: ``True`` looks for the newest run of the config in ``output_dir``
            (:func:`medssm_monai.bundle.newest_run`); on rank 0 alone, whose folder all ranks resume from.
        output_dir: folder of all runs.

    Raises:
        ValueError: ``resume`` is neither on nor off.
    """
    if resume_from is None:
        first = resumes(resume) and output_dir is not None and process_rank() == 0
        earlier = newest_run(output_dir) if first and output_dir is not None else None
        return new_run_name(*parts) if earlier is None else earlier.name
    path = Path(resume_from)
    return (path if path.is_dir() else path.parent).resolve().name


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU, read with ``weights_only=True``.

    Raises:
        ValueError: empty, truncated, or no checkpoint of a run.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # empty, truncated, no archive, pickled objects: PyTorch raises many kinds
        size = path.stat().st_size
        raise ValueError(f"{path} does not load ({size} bytes, {type(error).__name__})") from error
    if not isinstance(state, dict) or not {"model", "optimizer", "trainer"} <= state.keys():
        raise ValueError(f"{path} is no checkpoint of a run (a checkpoint_epoch=N.pt)")
    return state


def find_checkpoint(resume_from: str | os.PathLike) -> tuple[Path, dict[str, Any], list[Path]]:
    """The checkpoint to resume from: a file, or the newest of a folder that loads.

    Returns:
        Its path, its content, and newer ones of the folder that do not load; the log names those.

    Raises:
        FileNotFoundError: neither a file nor a folder with a checkpoint.
        ValueError: the file, or every checkpoint of the folder, does not load; the message names those that do.
    """
    given = Path(resume_from)
    if given.is_file():
        try:
            return given, read_checkpoint(given), []
        except ValueError as error:
            others = [path for path in checkpoints_in(given.parent).values() if path.name != given.name]
            raise ValueError(f"{error}. {_remedy(others)}") from error
    candidates = list(checkpoints_in(given).values()) if given.is_dir() else []
    if not candidates:
        raise FileNotFoundError(
            f"checkpoint not found: {given}. Give the folder of the run to go on with, or a checkpoint_epoch=N.pt in "
            "it, in --resume_from."
        )
    broken: list[Path] = []
    reasons: list[str] = []
    for path in candidates:
        try:
            state = read_checkpoint(path)
        except ValueError as error:
            logger.warning("%s; it is left out, the one before is tried", error)
            broken.append(path)
            reasons.append(str(error))
        else:
            return path, state, broken
    raise ValueError(
        f"no checkpoint of {given} loads: {'; '.join(reasons)}. Start the training again, under another --run_name."
    )


def _remedy(others: list[Path]) -> str:
    for path in others:
        try:
            read_checkpoint(path)
        except ValueError:
            continue
        return f"{path.name} beside it does: resume from it, or give the folder, --resume_from {path.parent}"
    return "No other checkpoint beside it loads; start the training again."


def serialized(content: Any) -> bytes:
    """What ``torch.save`` writes; the same content gives the same bytes, whatever the file is called."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def sha256_of(data: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()


def write_checkpoint(path: Path, data: bytes, before_replacing: Callable[[], Any] | None = None) -> None:
    """Write serialized content beside ``path``, load it once from there, and put it in place in one step.

    Args:
        path: the file; a link there is replaced.
        data: as :func:`serialized` gives it.
        before_replacing: called when the new file is whole, before it takes the place.

    Raises:
        CheckpointError: it could not be written, or not be read again. What was there stays.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(path) as temporary:
            temporary.write_bytes(data)
            torch.load(temporary, map_location="cpu", weights_only=True)
            if before_replacing is not None:
                before_replacing()
    except Exception as error:  # of the disk, or whatever PyTorch raises for what it cannot read
        there = checkpoints_in(path.parent)
        kept = f"{', '.join(file.name for file in there.values())} kept" if there else "no checkpoint was there yet"
        how = f"go on with --resume_from {path.parent}" if there else "start again"
        raise CheckpointError(
            f"{path.name} ({len(data) / 1e6:.1f} MB) could not be saved: {error} Checkpoints: {kept}. "
            f"Free space or make the folder writable, then {how}"
        ) from error


def unwrapped_network(network: torch.nn.Module) -> torch.nn.Module:
    """The network inside ``DistributedDataParallel``, ``DataParallel`` and ``torch.compile``, which prefix names."""
    while True:
        if isinstance(network, (torch.nn.parallel.DistributedDataParallel, torch.nn.DataParallel)):
            network = network.module
        elif hasattr(network, "_orig_mod"):
            network = cast(torch.nn.Module, network._orig_mod)
        else:
            return network
