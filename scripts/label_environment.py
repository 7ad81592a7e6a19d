"""Make the environment in which MONAI Label's server runs with this package's app.

    python scripts/label_environment.py
    .venv-label/bin/python -m medssm_monai.apps.label --studies FOLDER --models mamba_mis

Standard library only. The environment holds this package in editable mode, and MONAI Label in exactly the versions of
``constraints-label.txt``; it is reused as long as that file stays the same.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from _environment import BASE_PYTHON, ROOT, Environment, SetupError, add_options, assess, guarded, probe_python, say
from _environment import start_afresh as make_venv
from _stamp import Stamp

__all__ = ["VENV", "main", "prepare_label"]

PINS = ROOT / "constraints-label.txt"
VENV = ROOT / ".venv-label"
LEFT_OUT = {
    "sam2",
    "hydra-core",
    "omegaconf",
    "antlr4-python3-runtime",
    "iopath",
    "portalocker",
}  # SAM 2, not used
SMOKE = "import torchvision, monailabel.interfaces.app, medssm_monai.apps.label.app"
STUB = '''"""Operators that a torchvision built for CUDA misses, and cannot do without, beside torch for the CPU."""

import importlib.util

if importlib.util.find_spec("torch") is not None:
    import torch

    _library = torch.library.Library("torchvision", "DEF")
    for _name in ("nms", "qnms"):
        _library.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
'''


def pins() -> list[str]:
    """Lines of ``constraints-label.txt`` that are installed."""
    if not PINS.is_file():
        raise SetupError(f"{PINS} is missing: run this script from a complete copy of the repository.")
    lines = [line.strip() for line in PINS.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line and line[0] != "#" and re.split("[=<>]", line)[0].lower() not in LEFT_OUT]


def fingerprint() -> str:
    """SHA-256 over what decides what is installed."""
    return hashlib.sha256("\n".join([*pins(), STUB]).encode()).hexdigest()


def pip(environment: Environment, *arguments: str) -> None:
    """``pip install``; SetupError if it fails."""
    if environment.run("-m", "pip", "install", *arguments) != 0:
        raise SetupError("pip could not install the packages (its own message is above). Start the same command again.")


def install(environment: Environment, options: list[str]) -> None:
    """torch with what its build needs, then the pinned packages as they are, then this package."""
    say("Installing MONAI Label and the pinned versions; this takes some minutes.")
    constraint = ["--constraint", str(PINS), *options]
    pip(environment, *[line for line in pins() if line.startswith("torch==")], *constraint)
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "requirements.txt"
        listed.write_text("\n".join(pins()), encoding="utf-8")
        pip(environment, "--no-deps", "--requirement", str(listed), *options)
    pip(environment, "--no-deps", "--no-build-isolation", "--editable", str(ROOT), *options)
    if environment.dry_run:
        return
    if environment.ask("import torchvision") is None:
        say("torchvision is built for CUDA, torch is not: the two operators that it misses are declared.")
        folder = environment.ask("import sysconfig; print(sysconfig.get_paths()['purelib'])")
        (Path(str(folder)) / "sitecustomize.py").write_text(STUB, encoding="utf-8")
    if environment.ask(SMOKE) is None:
        environment.run("-c", SMOKE)
        raise SetupError("MONAI Label is installed, but cannot be imported (message above).")


def prepare_label(options: argparse.Namespace) -> Environment:
    """Hand back a complete environment in ``options.venv``, building it only where that is needed.

    Raises:
        SetupError: what stands in the way, and how to mend it.
    """
    venv = Path(os.path.abspath(Path(options.venv).expanduser()))
    environment = Environment(venv, options.dry_run)
    asked = probe_python(options.python) if options.python else ""
    wanted = Stamp("complete", fingerprint(), str(ROOT), str(venv), asked, ("label",))
    action, reason = assess(venv, wanted)
    say(f"Virtual environment {venv}: {action} ({reason}).")
    if action == "reuse":
        return environment
    python = options.python or BASE_PYTHON
    wanted = replace(wanted, python=asked or probe_python(python))
    make_venv(venv, replace(wanted, state="building"), python, options.dry_run)
    install(environment, options.pip_option)
    if not options.dry_run:
        wanted.write()
    return environment


def main(arguments: list[str] | None = None) -> None:
    """Set up, and say how the server is started."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.set_defaults(venv=str(VENV))
    environment = prepare_label(parser.parse_args(arguments))
    say("To start the server:")
    say(f"  {environment.python} -m medssm_monai.apps.label --studies FOLDER --models mamba_mis")


if __name__ == "__main__":
    with guarded():
        sys.exit(main())
