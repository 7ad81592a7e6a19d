"""One training at a time in a run's folder."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from .callers import calling

__all__ = ["claim_run", "release_run"]

logger = logging.getLogger(__name__)

LOCK, HOLDER = ".training.lock", ".training"


@dataclass
class _Claim:
    """Who in this process has a folder: a workflow, known by its parser, and the thread in which it asked."""

    lock: FileLock
    parser: weakref.ref[Any] | None
    thread: threading.Thread

    def goes_on_to(self, parser: Any) -> bool:
        """Whether this workflow or thread has the claim already, or its owner is gone without giving it back."""
        owner = None if self.parser is None else self.parser()
        if owner is None:
            return self.thread is threading.current_thread() or not self.thread.is_alive()
        return owner is parser or self.thread is threading.current_thread()


_held: dict[str, _Claim] = {}
_guard = threading.RLock()


def claim_run(run_dir: str | os.PathLike[str]) -> None:
    """Take a run's folder for this training, until :func:`release_run` or the end of the process.

    The lock is the operating system's: that of a process which was killed is free again, and its folder can be resumed.
    A claim of the same workflow, or of the same thread, is renewed.

    Raises:
        RuntimeError: another training, which is still running, has the folder, in this process or in another one.
    """
    from monai.bundle import ConfigParser  # only here, so that this package stays light for the scan

    folder, parser = Path(run_dir).absolute(), calling(ConfigParser)
    folder.mkdir(parents=True, exist_ok=True)
    with _guard:
        claim = _held.get(str(folder))
        if claim is not None and not claim.goes_on_to(parser):
            raise _in_use(folder)
        lock = _locked(folder) if claim is None else claim.lock
        _held[str(folder)] = _Claim(lock, None if parser is None else weakref.ref(parser), threading.current_thread())


def _locked(folder: Path) -> FileLock:
    """Lock a folder that this process does not hold, and say in it who has it."""
    lock, holder = FileLock(folder / LOCK, timeout=0, thread_local=False), folder / HOLDER
    try:
        lock.acquire()
    except Timeout:
        raise _in_use(folder) from None
    if holder.is_file():
        logger.info("%s: a training was interrupted here (%s); its folder is taken over", folder, _read(holder))
    holder.unlink(missing_ok=True)
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    holder.write_text(f"process {os.getpid()} on {socket.gethostname()} since {since}\n", encoding="utf8")
    return lock


def _in_use(folder: Path) -> RuntimeError:
    return RuntimeError(
        f"{folder}: a training is running in this folder ({_read(folder / HOLDER)}). Wait for its end, stop it, or "
        "give this training another --run_name."
    )


def _read(holder: Path) -> str:
    try:
        return holder.read_text(encoding="utf8").strip()
    except OSError:
        return "process unknown"


def release_run(run_dir: str | os.PathLike[str]) -> None:
    """Give the folder back; a folder that this process has not claimed is left as it is."""
    folder = Path(run_dir).absolute()
    with _guard:
        claim = _held.pop(str(folder), None)
        if claim is not None:
            (folder / HOLDER).unlink(missing_ok=True)
            claim.lock.release()
