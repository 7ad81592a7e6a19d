"""A run's folder and name: one training at a time in it, and a name of its own for each site of a federation."""

from __future__ import annotations

import itertools
import logging
import os
import socket
import threading
import time
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from filelock import FileLock, Timeout

from ..utils.files import remove_parts, writable_folder
from .callers import calling, in_federation

__all__ = ["claim_run", "release_run", "site_run_name"]

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
    remove_parts(folder)
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


_given: WeakKeyDictionary[Any, dict[Path, str]] = WeakKeyDictionary()  # by the workflow's parser, then by folder
_naming = threading.Lock()


def site_run_name(
    output_dir: str | os.PathLike[str],
    run_name: str,
    resume_from: str | os.PathLike[str] | None = None,
    prefix: str = "",
) -> str:
    """The name under which a run is kept: the one asked for, but in a federation never that of another run.

    MONAI's federated client (``monai.fl.client``) names runs after the site and the second, sites without a name all
    alike, and simulators let several sites, as processes or as threads, write into one folder. For a config that such
    a client initializes the name is ``NAME``, ``NAME_2``, ``NAME_3``, …, the first that has no folder yet; the folder
    is made here, in one step, so that of two sites only one can get it. A workflow that is initialized again, as that
    client does, keeps its name.

    Elsewhere the name is taken as it is (:func:`claim_run` refuses a folder in which a training is
    running), and so it is for a training to be resumed, and in all processes but the first of a training on several.

    Args:
        output_dir: folder of all runs.
        run_name: the name asked for.
        resume_from: a checkpoint or a run's folder, or None.
        prefix: put before the name that a federated client asks for: it gives the same one to a site's training and
            to its evaluation.

    Raises:
        PermissionError: ``output_dir`` cannot be written to.
    """
    if not in_federation() or resume_from is not None or os.environ.get("RANK", "0") != "0":
        return run_name
    from monai.bundle import ConfigParser  # only here, so that this package stays light for the scan

    wanted = Path(output_dir, f"{prefix}{run_name}").absolute()
    with _naming:
        names = _given.setdefault(calling(ConfigParser) or threading.current_thread(), {})
        if wanted not in names:
            names[wanted] = _ending_of_a_new_folder(wanted)
        return f"{prefix}{run_name}{names[wanted]}"


def _ending_of_a_new_folder(wanted: Path) -> str:
    writable_folder(wanted.parent)
    for ending in itertools.chain([""], (f"_{count}" for count in itertools.count(2))):
        folder = wanted.with_name(f"{wanted.name}{ending}")
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            continue
        break
    if ending:
        logger.warning("another run is named %s already; this site's is %s", wanted.name, folder.name)
    return ending
