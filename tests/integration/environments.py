"""Environments of their own that the scripts make, made or reused for tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

REPOSITORY = Path(__file__).resolve().parents[2]
HIDDEN = ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")


def own_variables(*hidden: str, **more: str) -> dict[str, str]:
    """Variables for pip and the programs of such an environment: those of this process but for what leads elsewhere.

    pip then compiles nothing: what is imported is compiled by the first program that does.

    Args:
        hidden: further variables that are left out.
        more: variables and their values.
    """
    kept = {name: value for name, value in os.environ.items() if name not in (*HIDDEN, *hidden)}
    return {**kept, "OMP_WAIT_POLICY": "PASSIVE", "PIP_COMPILE": "0", **more}


def environment_python(name: str) -> Path:
    """Interpreter of the environment that ``scripts/NAME_environment.py`` makes.

    The variable ``MEDSSM_NAME_VENV`` names another folder for it than ``.venv-NAME``. AssertionError with the end of
    the script's output where it cannot be made.
    """
    venv = Path(os.environ.get(f"MEDSSM_{name.upper()}_VENV") or REPOSITORY / f".venv-{name}")
    script = REPOSITORY / "scripts" / f"{name}_environment.py"
    with FileLock(f"{venv}.lock"):  # two processes of the tests need it, one makes it
        done = subprocess.run(
            [sys.executable, str(script), "--venv", str(venv)],
            env=own_variables(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
        )
    assert done.returncode == 0, done.stdout[-6000:]
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
