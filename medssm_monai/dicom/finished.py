"""Results of one prediction in a folder of their own, which is whole or not there."""

from __future__ import annotations

import json
import os
import shutil
import socket
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..utils.files import file_sha256, replace_file, writable_folder

__all__ = ["RESULT", "answers_follow_from", "clear_leftovers", "process_lives", "read_result", "whole_folder"]

NOT_OF_THE_ANSWER = ("ckpt_path", "device")  # overrides that answers do not depend on beyond the hash of the weights
RESULT = "result.json"
"""What a folder of results says about itself."""
PART = ".part-"


def read_result(folder: Path) -> dict[str, Any] | None:
    """What a finished folder says about itself; None where there is none, or one of its files is gone."""
    try:
        result = json.loads((folder / RESULT).read_text(encoding="utf8"))
        whole = isinstance(result, dict) and all((folder / name).is_file() for name in result["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return result if whole else None


@contextmanager
def whole_folder(target: Path, result: dict[str, Any]) -> Iterator[Path]:
    """Give an empty folder to write into; after the block it takes the place of ``target``, in one step.

    Args:
        target: where it is going to lie. A damaged one there is replaced; a whole one, of another process that was
            faster, stays, and ours is thrown away.
        result: what :data:`RESULT` is going to say, read after the block; ``files`` with their SHA-256 are added.

    Raises:
        PermissionError: the folder above cannot be written into.
    """
    writable_folder(target.parent, remedy="Make it writable, or choose another output folder.")
    part = target.parent / f"{PART}{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    part.mkdir(mode=0o700)
    try:
        yield part
        files = sorted(path.name for path in part.iterdir())
        content: Mapping[str, Any] = {**result, "files": {name: file_sha256(part / name) for name in files}}
        with replace_file(part / RESULT) as file:
            file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf8")
        _put(part, target)
        _sync(target.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _put(part: Path, target: Path) -> None:
    try:
        os.rename(part, target)
    except OSError:
        if not target.exists():
            raise
        if read_result(target) is None:  # files were taken out of it
            shutil.rmtree(target)
            os.rename(part, target)


def _sync(folder: Path) -> None:
    """The name of a new entry is on the disk too."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def clear_leftovers(folder: Path) -> None:
    """Remove what killed processes of this computer left half done, one level below."""
    ours = f"{PART}{socket.gethostname()}-"
    for part in folder.glob(f"*/{ours}*"):
        process = part.name.removeprefix(ours).split("-")[0]
        if process.isdigit() and not process_lives(int(process)):
            shutil.rmtree(part, ignore_errors=True)


def answers_follow_from(predictor: Any) -> list[Any]:
    """What the answers of a predictor depend on beside its weights, as JSON can hold it: overrides of its config, and
    the calibration (of the same weights: other sets and masks), where there is one."""
    given = predictor.overrides
    overrides = {name: str(given[name]) for name in sorted(given) if name not in NOT_OF_THE_ANSWER}
    calibration = getattr(predictor.task, "calibration", None)
    return [overrides, *([] if calibration is None else [dict(calibration)])]


def process_lives(process: int) -> bool:
    """Whether there is a process of this number on this computer."""
    if process == os.getpid():
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
