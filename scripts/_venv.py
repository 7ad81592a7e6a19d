"""The virtual environment that the scripts here work in: made with ``venv``, filled by pip, used again.

Standard library only. pip decides what is missing, and is not asked while a note in the environment says that nothing
has changed since it last ended well, neither the pins nor what is installed. An environment that is broken or was moved
is removed and built again; a folder without such a note is never touched.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = (ROOT / "pyproject.toml", ROOT / "constraints.txt")
NOTE = "medssm-monai.json"
BASE_PYTHON = getattr(sys, "_base_executable", None) or sys.executable  # not one of an environment that is replaced
DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # MLflow sends usage data otherwise
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait for one another by spinning crawl on a machine that is not idle
}
PROBE = """
import sys
version = "%d.%d" % sys.version_info[:2]
if sys.version_info < (3, 10) or sys.maxsize < 2**32:
    sys.exit("this is Python " + version + ", and a 64-bit Python 3.10 or newer is needed")
try:
    import ensurepip, venv
except ImportError as error:
    sys.exit(str(error) + "; on Debian and Ubuntu: sudo apt install python" + version + "-venv")
print(version)
"""
NEEDED_GIB = 4
SMOKE = "import torch, monai, medssm_monai"
LOST_FILES = """
import importlib.metadata, sys
for found in importlib.metadata.distributions():
    for file in found.files or ():
        if len(file.parts) == 2 and file.name == "__init__.py" and not file.locate().exists():
            sys.exit(f"{found.name} lacks {file}")
"""
PIP_HELP = """pip could not install the packages (its own message is above). What usually helps:
  * behind a proxy:           --pip-option=--proxy=http://USER@HOST:PORT     (or the variable HTTPS_PROXY)
  * own package index:        --pip-option=--index-url=URL, and --pip-option=--cert=FILE.pem for its certificate
  * no network, wheel folder: --pip-option=--no-index --pip-option=--find-links=FOLDER   (setuptools must be in it)
  * torch without CUDA:       --pip-option=--extra-index-url=URL of PyTorch's CPU wheels (pytorch.org, "Get started")
  * disk full (4 GiB are needed, more with CUDA): free some space, name another --venv, or set TMPDIR
  * "no matching distribution": use a 64-bit Python 3.10 to 3.13: --python=PATH
Then start the same command again."""


class SetupError(RuntimeError):
    """Something in the surroundings stands in the way; the message says what, and what to do."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment: the folder, and how to run programs in it."""

    venv: Path
    dry_run: bool = False

    @property
    def scripts(self) -> Path:
        """Folder of its programs."""
        return self.venv / ("Scripts" if os.name == "nt" else "bin")

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.scripts / ("python.exe" if os.name == "nt" else "python")

    def variables(self) -> dict[str, str]:
        """The process environment as after activation, with ``DEFAULTS`` where the user has not set them."""
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONHOME"}
        path = os.pathsep.join([str(self.scripts), kept.get("PATH", os.defpath)])
        return {**DEFAULTS, **kept, "VIRTUAL_ENV": str(self.venv), "PATH": path}

    def run(self, *arguments: str, python: str = "") -> int:
        """Show and run ``python ARGUMENTS`` from the repository's root; returns the exit status (0 in a dry run)."""
        command = [python or str(self.python), *arguments]
        say("$ " + (subprocess.list2cmdline(command) if os.name == "nt" else shlex.join(command)))
        return 0 if self.dry_run else subprocess.run(command, cwd=ROOT, env=self.variables()).returncode

    def pip(self, *arguments: str) -> None:
        """``pip install``; SetupError if it fails."""
        if self.run("-m", "pip", "install", *arguments) != 0:
            raise SetupError(PIP_HELP)

    def ask(self, code: str) -> str | None:
        """Standard output of a short Python program run here, or None if it fails."""
        try:
            done = subprocess.run([str(self.python), "-c", code], capture_output=True, text=True, cwd=self.venv)
        except OSError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None


def say(text: str) -> None:
    """Show what happens; flushed, so that it stays in order with the output of the programs started."""
    print(f"[medssm-monai] {text}", flush=True)


def probe(python: str) -> str:
    """The version of an interpreter, as ``"3.11"``; SetupError if an environment cannot be made with it."""
    try:
        return subprocess.run([python, "-c", PROBE], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", "").strip() or error
        raise SetupError(f"{python} cannot be used: {reason}. Name another Python: --python=PATH") from error


def digest(venv: Path, sources: Sequence[Path]) -> str:
    """SHA-256 over what decides what is installed (``sources``), and over the names of what is installed."""
    folders = [*venv.glob("lib/python*/site-packages"), *venv.glob("Lib/site-packages")]
    names = sorted(path.name for folder in folders for path in folder.iterdir() if path.name != "__pycache__")
    texts = [str(ROOT).encode(), *(path.read_bytes() for path in sources), *map(os.fsencode, names)]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()


def read_note(venv: Path) -> dict:
    """What the scripts left in ``venv``; empty where there is nothing yet, SetupError where others' files are."""
    if (venv / NOTE).is_file():
        with contextlib.suppress(ValueError, TypeError):
            if note := dict(json.loads((venv / NOTE).read_text(encoding="utf-8"))):
                return note
        return {"venv": "an unknown place"}
    if venv.exists() and (not venv.is_dir() or any(venv.iterdir())):
        raise SetupError(
            f"{venv} exists, and these scripts did not make it, so it is left alone. "
            "Name another folder with --venv=FOLDER, or delete this one."
        )
    return {}


def write_note(note: dict) -> dict:
    """Leave and return what :func:`read_note` reads; ``digest`` is empty until everything is installed."""
    (Path(note["venv"]) / NOTE).write_text(json.dumps(note, indent=2), encoding="utf-8")
    return note


def fault(environment: Environment, note: dict, python: str | None) -> str:
    """Why an environment that is there cannot be used; empty if it can."""
    if note.get("venv") != str(environment.venv):
        return f"it was moved from {note.get('venv')}"
    if python and probe(python) != note.get("python"):
        return f"it has Python {note.get('python')}, wanted is {probe(python)}"
    return "its Python or its pip is gone" if environment.ask("import pip") is None else ""


def check_space(venv: Path) -> None:
    """SetupError if the disk that will hold ``venv`` is too full for a new environment."""
    parent = next(folder for folder in venv.parents if folder.is_dir())
    free = shutil.disk_usage(parent).free / 2**30
    if free < NEEDED_GIB:
        raise SetupError(
            f"Only {free:.1f} GiB are free under {parent}; the environment takes {NEEDED_GIB} GiB, and more where "
            "torch comes with CUDA. Free some space or name a folder on another disk: --venv=FOLDER"
        )


def make(environment: Environment, python: str) -> dict:
    """An empty virtual environment, in place of one that these scripts made before; returns its note."""
    venv, version, note = environment.venv, probe(python), {}
    if not environment.dry_run:
        if venv.exists():
            shutil.rmtree(venv)
        check_space(venv)
        venv.mkdir(parents=True)
        note = write_note({"venv": str(venv), "python": version})
    if environment.run("-m", "venv", str(venv), python=python) != 0:
        raise SetupError(f"No virtual environment could be made in {venv} (message above). Try another --python.")
    return note


def build(
    options: argparse.Namespace,
    sources: Sequence[Path],
    install: Callable[[Environment, Sequence[str]], None],
    smoke: str,
    extras: Sequence[str] = (),
) -> Environment:
    """Hand back a complete environment in ``options.venv``: what ``sources`` say, put there by ``install`` (which is
    called with the extras), and able to run ``smoke``. SetupError says what stands in the way, and what to do."""
    environment = Environment(Path(os.path.abspath(Path(options.venv).expanduser())), options.dry_run)
    venv, note = environment.venv, read_note(environment.venv)
    reason = fault(environment, note, options.python) if note else "there is none yet"
    if not reason:
        if note.get("digest") == digest(venv, sources) and {*extras} <= {*note["extras"]}:
            say(f"Virtual environment {venv}: it is complete.")
            return environment
        extras = sorted({*extras, *note.get("extras", ())})
    for fresh in (True,) if reason else (False, True):
        if fresh:
            say(f"Virtual environment {venv}: {reason}; it is {'removed and built again' if note else 'made'}.")
            note = make(environment, options.python or BASE_PYTHON)
        say("Installing what is missing; the first time this takes some minutes.")
        if options.dry_run:
            install(environment, extras)
            return environment
        note = write_note({**note, "extras": list(extras), "digest": ""})
        install(environment, extras)
        if environment.ask(LOST_FILES) is not None:
            break
        reason = "its packages are broken"
    if environment.ask(smoke + LOST_FILES) is None:  # built again, that would be no better
        environment.run("-c", smoke + LOST_FILES)
        raise SetupError("The packages are installed, but cannot be used (message above).")
    write_note({**note, "digest": digest(venv, sources)})
    return environment


def prepare(options: argparse.Namespace, extras: Sequence[str] = ()) -> Environment:
    """Hand back a complete environment with this package, editable, and the pinned versions."""

    def install(environment: Environment, extras: Sequence[str]) -> None:
        target = f".[{','.join(extras)}]" if extras else "."
        environment.pip("--editable", target, "--constraint", "constraints.txt", *options.pip_option)

    return build(options, SOURCES, install, SMOKE, extras)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Give ``parser`` the options that the scripts share."""
    parser.add_argument("--venv", default=str(ROOT / ".venv"), help="folder of the environment (default: %(default)s)")
    parser.add_argument("--python", help="interpreter to make it with (default: the one that runs this script)")
    parser.add_argument("--pip-option", action="append", default=[], metavar="OPTION", help="for pip; may be repeated")
    parser.add_argument("--dry-run", action="store_true", help="only show the commands, change nothing")


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Turn the errors a user can do something about into one message, and an interrupt into a plain end."""
    try:
        yield
    except (SetupError, OSError) as error:
        sys.exit(f"[medssm-monai] ERROR: {error}")
    except KeyboardInterrupt:
        sys.exit("[medssm-monai] Interrupted. Start the same command again: it goes on where that is possible.")
