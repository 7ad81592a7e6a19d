"""A PostgreSQL of our own on the loopback interface, made by Debian's programs and gone after the block."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..waiting import wait_for
from .label_server import free_port

DEBIAN = Path("/usr/lib/postgresql")
DRIVER = "psycopg"
USER = "medssm"
START_SECONDS = 60.0


def programs() -> Path | None:
    """The folder of ``initdb`` and ``postgres``, of the newest version that is installed."""
    places = sorted(DEBIAN.glob("*/bin"), key=lambda place: float(place.parent.name), reverse=True)
    places += [Path(found).parent for found in [shutil.which("initdb")] if found]
    return next((place for place in places if (place / "initdb").exists() and (place / "postgres").exists()), None)


def missing() -> str:
    """Why the tests cannot run here; empty where they can."""
    if programs() is None:
        return "PostgreSQL is not installed (apt-get install postgresql)"
    if importlib.util.find_spec(DRIVER) is None:
        return f'{DRIVER} is not installed (pip install "psycopg[binary]")'
    return ""


def _owner() -> dict[str, int | list[int]]:
    """PostgreSQL refuses to run as root; arguments of :class:`subprocess.Popen` that make it somebody else."""
    if os.getuid() != 0:
        return {}
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    other = names.get("postgres") or names["nobody"]
    return {"user": other.pw_uid, "group": other.pw_gid, "extra_groups": []}


@contextmanager
def postgres() -> Iterator[str]:
    """Address of an empty database, as MLflow takes it."""
    place = programs()
    assert place is not None, missing()
    owner, port = _owner(), free_port()
    folder = Path(tempfile.mkdtemp(prefix="medssm-postgres-"))  # pytest's own folders are closed to other users
    log = folder / "log"
    if owner:
        shutil.chown(folder, owner["user"], owner["group"])
    try:
        with log.open("wb") as said:
            words = ["--auth", "trust", "--username", USER, "--encoding", "UTF8", "--locale", "C", "--no-sync"]
            subprocess.run(
                [place / "initdb", "--pgdata", folder / "data", *words], check=True, cwd=folder, stdout=said, **owner
            )
            words = ["-D", str(folder / "data"), "-h", "127.0.0.1", "-p", str(port), "-F"]  # -F: nothing is synced
            words += ["-c", "unix_socket_directories="]
            process = subprocess.Popen([place / "postgres", *words], cwd=folder, stdout=said, stderr=said, **owner)
        try:
            _create_database(place, port, process, log)
            yield f"postgresql+{DRIVER}://{USER}@127.0.0.1:{port}/mlflow"
        finally:
            process.send_signal(signal.SIGQUIT)  # at once, whoever is connected
            process.wait(timeout=START_SECONDS)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _create_database(place: Path, port: int, process: subprocess.Popen, log: Path) -> None:
    words = [place / "createdb", "-h", "127.0.0.1", "-p", str(port), "-U", USER, "mlflow"]
    wait_for(
        "database",
        lambda: subprocess.run(words, capture_output=True, check=False).returncode == 0,
        show=lambda: log.read_text(errors="replace")[-3000:],
        pause=0.2,
        process=process,
    )
