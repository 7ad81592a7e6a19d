"""Which commit a package runs from, where it runs from a checkout."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TypedDict

__all__ = ["Checkout", "checkout_state"]

SECONDS = 20.0


class Checkout(TypedDict):
    """``commit`` in hexadecimal, and whether tracked files, or new ones beside them, differ from it."""

    commit: str
    changed: bool


def checkout_state(package: str | os.PathLike[str]) -> Checkout | None:
    """The commit of the checkout that holds a package's folder; None where Git does not know the folder's files.

    A package that lies in an environment inside of somebody's checkout, but is no part of it, has no commit. Nothing in
    the checkout is written.

    Args:
        package: folder of the package.
    """
    folder = Path(package).resolve()
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    commit = _git(folder, "rev-parse", "HEAD")
    status = _git(folder, "status", "--porcelain", "--", ":/")
    if not commit or status is None:
        return None
    return {"commit": commit.strip(), "changed": bool(status.strip())}


def _git(folder: Path, *words: str) -> str | None:
    """What Git says; None where it is not there, refuses, or takes too long."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-C", os.fspath(folder), *words],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            stdin=subprocess.DEVNULL,
            env=environment | {"GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
