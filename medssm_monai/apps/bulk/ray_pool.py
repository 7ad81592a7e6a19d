"""Workers as actors of Ray, on this machine or on a cluster: Ray starts them, places them and replaces those that die.

A worker has one study at a time. So it is known which study a worker died of, and studies are taken from their source
only as fast as they are worked at.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from monai.utils import optional_import

from ...dicom.finished import process_lives
from .in_process import Take
from .outcome import Outcome
from .study import Study
from .work import Work
from .worker import StudyWorker

__all__ = ["RayPool", "has_ray", "require_ray"]

logger = logging.getLogger(__name__)
PREFIX = "medssm-ray-"
OWN = {  # of a Ray of this machine alone; what the user has set stays
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # on every system: addresses of this machine only (127.0.0.1)
    "RAY_AUTH_MODE": "token",  # other users of the machine cannot join
    "RAY_worker_niceness": "0",  # Ray's 15 would leave workers next to nothing beside other programs
}
STORE = 80 * 2**20  # bytes of Ray's object store: studies and outcomes are small
LOADS = 5  # times that a worker may die while it loads, one after the other
UNREACHED = 600.0  # seconds that Ray may take to begin a worker anew
NODE_DIGITS = 8
WAIT, TOLD = 1.0, 60.0  # seconds between two looks, and until a cluster without room is reported


def has_ray() -> bool:
    """Whether Ray is installed; it is not imported."""
    return find_spec("ray") is not None


def require_ray(local: bool = False) -> Any:
    """The module Ray, which reports nothing to its makers.

    Args:
        local: for a Ray of this machine alone, which no other machine and no other user can reach. Ray reads how when
            it is imported: where that was done before, it stays as it is.

    Raises:
        ImportError: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if local and "ray" not in sys.modules:
        for name, value in OWN.items():
            os.environ.setdefault(name, value)
        if os.environ["RAY_AUTH_MODE"] == "token" and "RAY_AUTH_TOKEN_PATH" not in os.environ:
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    ray, there = optional_import("ray")
    if not there:
        raise ImportError(
            'several workers, and clusters, need Ray; install it with: pip install "medssm-monai[scale]". Without '
            "--workers and --address one process does the same work."
        )
    return ray


class StudyWorkerOnNode(StudyWorker):
    """A worker that says on which node of the cluster it is."""

    def load(self) -> dict[str, Any]:
        """See :meth:`~.worker.StudyWorker.load`."""
        ray = require_ray()
        return {**super().load(), "node": ray.get_runtime_context().get_node_id()}


@dataclass
class _Seat:
    """One worker, in its first and every further life."""

    actor: Any
    deaths: int = 0  # while it loaded, since it last did
    lost: float = 0.0  # when it was last there, in its earlier life
    rests: float = 0.0  # until when it is not asked
    node: str = ""


class RayPool:
    """A pool of workers.

    Args:
        work: what is to be done, and how.
        workers: how many; None as many as there is room for, by CPUs, or by GPUs where ``gpus`` is above 0.
        cpus: that each of them occupies.
        gpus: that each of them occupies; a fraction shares one.
        address: of a cluster (``"auto"``, ``"10.0.0.1:6379"``); None begins a Ray of this machine alone, which listens
            on 127.0.0.1 only and ends with this process.
        temp: folder for Ray's sockets and logs; None takes a short-lived one of the system's.

    Attributes:
        nodes: how many studies each node of the cluster has done.

    Raises:
        ImportError: Ray is not installed.
        ConnectionError: no cluster at the address.
        ValueError: a cluster without room for one worker.
    """

    here = False
    actor: type[StudyWorker] = StudyWorkerOnNode

    def __init__(
        self,
        work: Work,
        workers: int | None,
        cpus: int = 1,
        gpus: float = 0.0,
        address: str | None = None,
        temp: str | None = None,
    ) -> None:
        self._ray = require_ray(local=address is None)
        self._folder: Path | None = None
        self.nodes: Counter[str] = Counter()
        try:
            self._begin(None if workers is None else workers * cpus, address, temp)
            self.workers = workers or self._room(cpus, gpus)
            needs: dict[str, Any] = {"num_cpus": cpus, "num_gpus": gpus}
            actor = self._ray.remote(max_restarts=-1, max_task_retries=0, **needs)(self.actor)
            self._seats = [_Seat(actor.remote(work)) for _ in range(self.workers)]
        except BaseException:
            self.close()
            raise

    def _begin(self, cpus: int | None, address: str | None, temp: str | None) -> None:
        quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
        if address is not None:
            try:
                self._ray.init(address=address, **quiet)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise ConnectionError(
                    f"no Ray cluster at {address!r} ({' '.join(str(error).split())[:300]}). Start one "
                    "(ray start --head), or leave out --address."
                ) from error
            return
        clear_leftovers(temp)
        self._folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=temp))
        store = {"object_store_memory": STORE, "include_dashboard": False, "_temp_dir": str(self._folder)}
        self._ray.init(address="local", num_cpus=cpus, **store, **quiet)

    def _room(self, cpus: int, gpus: float) -> int:
        there = self._ray.cluster_resources()
        room = int(there.get("GPU", 0) / gpus) if gpus else int(there.get("CPU", 0) // cpus)
        if room < 1:
            raise ValueError(
                f"there is no room for a worker of {cpus} CPU(s) and {gpus:g} GPU(s): {there.get('CPU', 0):g} and "
                f"{there.get('GPU', 0):g} are there. Lower --threads or --gpus."
            )
        return room

    def run(self, take: Take) -> Iterator[tuple[Study, Outcome | None]]:
        """See :class:`~.in_process.Pool`.

        Raises:
            Exception: what a worker raised while it loaded, which all others would meet too.
            RuntimeError: workers die while they load.
        """
        ray = self._ray
        pending: dict[Any, tuple[_Seat, Study | None]] = {}
        idle: list[_Seat] = []
        resting = list(self._seats)
        told = time.monotonic() + TOLD
        while True:
            for seat in [one for one in resting if one.rests <= time.monotonic()]:
                resting.remove(seat)
                pending[seat.actor.load.remote()] = seat, None
            while idle and (study := take()) is not None:
                seat = idle.pop()
                pending[seat.actor.predict.remote(study)] = (seat, study)
            if idle and all(study is None for _, study in pending.values()):
                return  # nothing is at work, and nothing is left
            if not pending:
                time.sleep(WAIT / 10)
                continue
            ready, _ = ray.wait(list(pending), num_returns=1, timeout=WAIT)
            if len(self._seats) == len(pending) and time.monotonic() > told and not idle:
                if all(study is None for _, study in pending.values()):
                    logger.warning("no worker has begun for %g s: the cluster may have no room for any.", TOLD)
                told = time.monotonic() + TOLD
            for reference in ready:
                seat, study = pending.pop(reference)
                try:
                    answer = ray.get(reference)
                except ray.exceptions.RayTaskError as error:
                    raise error.cause if isinstance(error.cause, Exception) else error from None
                except ray.exceptions.RayError as error:
                    self._lost(seat, study, error)
                    resting.append(seat)  # until its next life
                    if study is not None:
                        yield study, None
                    continue
                idle.append(seat)
                if study is None:
                    seat.deaths, seat.lost, seat.node = 0, 0.0, answer["node"][:NODE_DIGITS]
                else:
                    self.nodes[seat.node] += 1
                    yield study, answer

    def _lost(self, seat: _Seat, study: Study | None, error: Exception) -> None:
        """A worker has died, or has not begun anew yet. Of one that dies of a study Ray also says that it cannot be
        reached (and begins it anew), so that this counts as its death too.

        Raises:
            RuntimeError: it dies each time that it loads the model, or does not begin.
        """
        now = time.monotonic()
        seat.rests, seat.lost = now + WAIT, seat.lost or now
        starting = isinstance(error, self._ray.exceptions.ActorUnavailableError)
        seat.deaths += study is None and not starting
        if seat.deaths >= LOADS or now - seat.lost > UNREACHED:
            what = (
                f"has died {LOADS} times while it loaded the model" if seat.deaths >= LOADS else "does not begin again"
            )
            raise RuntimeError(f"a worker {what} ({type(error).__name__}); fewer workers need less memory (--workers).")

    def close(self) -> None:
        """End all workers, and the Ray of this machine where it was begun here."""
        self._ray.shutdown()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def clear_leftovers(temp: str | None = None) -> None:
    """Remove the folders of Rays whose process was killed."""
    for folder in Path(temp or tempfile.gettempdir()).glob(f"{PREFIX}*"):
        process = folder.name.removeprefix(PREFIX).split("-")[0]
        if process.isdigit() and not process_lives(int(process)):
            shutil.rmtree(folder, ignore_errors=True)
