"""Build and reuse the virtual environment that ``quickstart.py`` and ``run_tests.py`` work in.

Standard library only, Python 3.10 or newer. The environment holds this package in editable mode, in exactly the
versions of ``constraints.txt``. A small JSON file inside it (the stamp) says what it was made from: a complete
environment is reused, an outdated one is brought up to date, a half-built one is built again, and a folder that
these scripts did not make is never touched.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from _stamp import ROOT, SetupError, Stamp, fingerprint

__all__ = ["ROOT", "Environment", "SetupError", "add_options", "assess", "guarded", "prepare", "say"]

BASE_PYTHON = getattr(sys, "_base_executable", None) or sys.executable  # outside of an environment that is replaced
MINIMUM_PYTHON = (3, 10)
RESOLVED_PYTHONS = ("3.10", "3.11", "3.12", "3.13")  # constraints.txt has a version of every package for these
DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # MLflow sends usage data otherwise
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait for one another by spinning crawl on a machine that is not idle
}
NEEDED_GIB = 4.0  # the CPU environment takes 3.5 GiB

PROBE = """
import importlib.util as u, json, struct, sys
print(json.dumps({"version": list(sys.version_info[:3]), "bits": 8 * struct.calcsize("P"),
                  "missing": [m for m in ("venv", "ensurepip") if u.find_spec(m) is None]}))
"""
INSTALLED = "from importlib.metadata import version; print(version('medssm-monai'), version('torch'), version('monai'))"
SMOKE = "import torch, monai, medssm_monai as m; print('torch', torch.__version__, '| monai', monai.__version__)"

PIP_HELP = """pip could not install the packages (its own message is above). What usually mends it:
  * behind a proxy:           --pip-option=--proxy=http://USER@HOST:PORT     (or the variable HTTPS_PROXY)
  * own certificate:          --pip-option=--cert=FILE.pem
  * own package index:        --pip-option=--index-url=URL                   (or the variable PIP_INDEX_URL)
  * no network, wheel folder: --pip-option=--no-index --pip-option=--find-links=FOLDER   (setuptools must be in it)
  * torch without CUDA:       --pip-option=--extra-index-url=URL of PyTorch's CPU wheels (pytorch.org, "Get started")
  * disk or temporary folder full: free some space, name another --venv, or set TMPDIR
  * "no matching distribution": use a 64-bit Python {tested}: --python=PATH
Then start the same command again."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment: the folder, and how to run programs in it."""

    venv: Path
    dry_run: bool = False

    @property
    def scripts(self) -> Path:
        """Folder of its programs: ``Scripts`` on Windows, ``bin`` elsewhere."""
        return self.venv / ("Scripts" if os.name == "nt" else "bin")

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.scripts / ("python.exe" if os.name == "nt" else "python")

    @property
    def activation(self) -> str:
        """What a user types to activate it."""
        return (
            str(self.scripts / "activate") if os.name == "nt" else f"source {shlex.quote(str(self.scripts))}/activate"
        )

    def variables(self) -> dict[str, str]:
        """The process environment as after activation, with `DEFAULTS` where the user has not set them."""
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONHOME"}
        return {
            **DEFAULTS,
            **kept,
            "VIRTUAL_ENV": str(self.venv),
            "PATH": os.pathsep.join([str(self.scripts), kept.get("PATH", os.defpath)]),
        }

    def run(self, *arguments: str) -> int:
        """Run this environment's Python with ``arguments`` from the repository's root; return its exit status."""
        return call([str(self.python), *arguments], self.dry_run, self.variables())

    def ask(self, code: str) -> str | None:
        """Standard output of a short Python program run here, or None if it fails."""
        try:
            done = subprocess.run([str(self.python), "-c", code], capture_output=True, text=True, cwd=self.venv)
        except OSError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None


def say(text: str) -> None:
    """Tell the user what happens; flushed, so that it stays in order with the output of the programs started."""
    print(f"[medssm-monai] {text}", flush=True)


def call(command: Sequence[str], dry_run: bool = False, variables: dict[str, str] | None = None) -> int:
    """Show ``command``, run it from the repository's root unless ``dry_run``, and return its exit status."""
    say("$ " + (subprocess.list2cmdline(command) if os.name == "nt" else shlex.join(command)))
    return 0 if dry_run else subprocess.run(command, cwd=ROOT, env=variables).returncode


def probe_python(python: str) -> str:
    """The version of an interpreter, as ``"3.11"``; SetupError if the environment cannot be made with it."""
    try:
        done = subprocess.run([python, "-c", PROBE], capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
    except (OSError, subprocess.CalledProcessError, ValueError) as error:
        raise SetupError(
            f"'{python}' does not run as a Python interpreter ({error}). Name one: --python=PATH"
        ) from error
    version = ".".join(map(str, found["version"]))
    minor = version.rpartition(".")[0]
    if tuple(found["version"][:2]) < MINIMUM_PYTHON:
        raise SetupError(f"Python {version} ({python}) is too old: 3.10 or newer is needed. Name one: --python=PATH")
    if found["bits"] != 64:
        raise SetupError(f"{python} is a {found['bits']}-bit Python; torch needs a 64-bit one. Name one: --python=PATH")
    if found["missing"]:
        raise SetupError(
            f"Python {version} ({python}) lacks the module(s) {', '.join(found['missing'])}, needed to make a virtual "
            f"environment. On Debian and Ubuntu: sudo apt install python{minor}-venv. "
            "Or name another interpreter: --python=PATH"
        )
    return minor


def assess(venv: Path, wanted: Stamp) -> tuple[str, str]:
    """Decide what to do with the folder ``venv``.

    Args:
        venv: absolute path of the environment.
        wanted: what it should be made from; any Python will do where ``wanted.python`` is empty.

    Returns:
        The action (``"create"``, ``"rebuild"``, ``"update"`` or ``"reuse"``) and the reason for it.

    Raises:
        SetupError: the folder has content that these scripts did not put there.
    """
    if not venv.exists() or (venv.is_dir() and not any(venv.iterdir())):
        return "create", "there is none yet"
    found = Stamp.read(venv)
    if found is None:
        raise SetupError(
            f"{venv} exists, and these scripts did not make it, so it is left alone. "
            "Name another folder with --venv=FOLDER, or delete this one."
        )
    if found.state != "complete":
        return "rebuild", "it was left half-built"
    if found.venv != str(venv):
        return "rebuild", f"it was moved from {found.venv}"
    if wanted.python not in ("", found.python):
        return "rebuild", f"it has Python {found.python}, wanted is {wanted.python}"
    if Environment(venv).ask(INSTALLED) is None:
        return "rebuild", "its Python or its packages are gone"
    if found.root != wanted.root:
        return "update", f"it belongs to another copy of the repository, {found.root}"
    if found.fingerprint != wanted.fingerprint:
        return "update", "pyproject.toml or constraints.txt changed"
    missing = sorted(set(wanted.extras) - set(found.extras))
    if missing:
        return "update", f"it lacks the extra(s) {', '.join(missing)}"
    return "reuse", "it is complete"


def check_space(venv: Path) -> None:
    """SetupError if the disk that will hold ``venv`` is too full for a new environment."""
    parent = next(folder for folder in venv.parents if folder.is_dir())
    free = shutil.disk_usage(parent).free / 2**30
    if free < NEEDED_GIB:
        raise SetupError(
            f"Only {free:.1f} GiB are free under {parent}; the environment takes {NEEDED_GIB:.0f} GiB, and more "
            "where torch comes with CUDA. Free some space or name a folder on another disk: --venv=FOLDER"
        )


def start_afresh(venv: Path, building: Stamp, python: str, dry_run: bool) -> None:
    """Make an empty virtual environment in ``venv``, replacing the one these scripts made before."""
    if not dry_run:
        try:
            if venv.exists():
                shutil.rmtree(venv)
            check_space(venv)
            venv.mkdir(parents=True)
            building.write()
        except OSError as error:
            raise SetupError(
                f"{venv} cannot be written: {error}. Close programs that use it (an activated shell, on Windows), "
                "check its permissions, or name another folder: --venv=FOLDER"
            ) from error
    if call([python, "-m", "venv", str(venv)], dry_run) != 0:
        raise SetupError(f"The virtual environment could not be made in {venv} (message above). Try another --python.")


def install(environment: Environment, extras: Sequence[str], pip_options: Sequence[str]) -> None:
    """Install the package, editable, with ``extras`` and the pinned versions."""
    target = f".[{','.join(extras)}]" if extras else "."
    say("Installing the package and the pinned versions; the first time this takes some minutes.")
    arguments = ["-m", "pip", "install", "--editable", target, "--constraint", "constraints.txt", *pip_options]
    if environment.run(*arguments) != 0:
        raise SetupError(PIP_HELP.format(tested=f"{RESOLVED_PYTHONS[0]} to {RESOLVED_PYTHONS[-1]}"))
    if not environment.dry_run:
        versions = environment.ask(SMOKE)
        if versions is None:
            environment.run("-c", SMOKE)
            raise SetupError("The packages are installed, but cannot be imported (message above).")
        say(f"Installed: {versions}")


def complete(environment: Environment, wanted: Stamp, fallback: Stamp, pip_options: Sequence[str]) -> None:
    """Install what ``wanted`` says and stamp the result; a failing pip leaves the stamp ``fallback`` behind."""
    if wanted.python not in RESOLVED_PYTHONS:
        say(f"Python {wanted.python} is newer than any the pins were resolved for ({', '.join(RESOLVED_PYTHONS)}).")
    if environment.dry_run:
        install(environment, wanted.extras, pip_options)
        return
    replace(wanted, state="building").write()
    try:
        install(environment, wanted.extras, pip_options)
    except SetupError:
        fallback.write()
        raise
    wanted.write()


def prepare(options: argparse.Namespace, extras: Sequence[str] = ()) -> Environment:
    """Hand back a complete environment in ``options.venv``, building or updating it only where that is needed.

    Args:
        options: the parsed options of `add_options`.
        extras: optional dependency groups of ``pyproject.toml`` that must be there.

    Raises:
        SetupError: what stands in the way, and how to mend it.
    """
    venv = Path(os.path.abspath(Path(options.venv).expanduser()))
    environment = Environment(venv, options.dry_run)
    asked = probe_python(options.python) if options.python else ""
    wanted = Stamp("complete", fingerprint(), str(ROOT), str(venv), asked, tuple(sorted(extras)))
    action, reason = assess(venv, wanted)
    say(f"Virtual environment {venv}: {action} ({reason}).")
    if action == "reuse":
        return environment
    found = Stamp.read(venv)
    if action == "update" and found is not None:
        wanted = replace(wanted, python=found.python, extras=tuple(sorted({*extras, *found.extras})))
        fallback = found
    else:
        python = options.python or BASE_PYTHON
        wanted = replace(wanted, python=asked or probe_python(python))
        fallback = replace(wanted, state="building")
        start_afresh(venv, fallback, python, options.dry_run)
    complete(environment, wanted, fallback, options.pip_option)
    return environment


def add_options(parser: argparse.ArgumentParser) -> None:
    """Give ``parser`` the options that both scripts share."""
    parser.add_argument("--venv", default=str(ROOT / ".venv"), help="folder of the environment (default: %(default)s)")
    parser.add_argument("--python", help="interpreter to make it with (default: the one that runs this script)")
    parser.add_argument(
        "--pip-option",
        action="append",
        default=[],
        metavar="OPTION",
        help="handed on to 'pip install'; may be repeated: --pip-option=--proxy=http://HOST:PORT",
    )
    parser.add_argument("--dry-run", action="store_true", help="only show the commands, change nothing")


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Turn the errors a user can mend into one message, and an interrupt into a plain end, without a traceback."""
    try:
        yield
    except SetupError as error:
        sys.exit(f"[medssm-monai] ERROR: {error}")
    except KeyboardInterrupt:
        sys.exit("[medssm-monai] Interrupted. Start the same command again: it goes on where that is possible.")
