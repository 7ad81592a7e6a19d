"""Make the environment in which MONAI Label's server runs with this package's app.

    python scripts/label_environment.py
    .venv-label/bin/python -m medssm_monai.apps.label --studies FOLDER --models mamba_mis

Standard library only. The environment holds this package in editable mode, and MONAI Label in exactly the versions of
``constraints-label.txt``, without the packages that only SAM 2 needs.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from _venv import ROOT, Environment, add_options, build, guarded, say

PINS = ROOT / "constraints-label.txt"
SAM2 = {"sam2", "hydra-core", "omegaconf", "antlr4-python3-runtime", "iopath", "portalocker"}  # not used
SMOKE = (
    "import torchvision, medssm_monai.apps.label.app, monailabel.interfaces.app, highdicom, medssm_monai.dicom.engine"
)
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
    lines = [line.strip() for line in PINS.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line and line[0] != "#" and re.split("[=<>]", line)[0].lower() not in SAM2]


def install(environment: Environment, options: Sequence[str]) -> None:
    """torch with what its build needs, then the pinned packages as they are, then this package."""
    torch = [line for line in pins() if line.startswith("torch==")]
    environment.pip(*torch, "--constraint", str(PINS), *options)
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "requirements.txt"
        listed.write_text("\n".join(pins()), encoding="utf-8")
        environment.pip("--no-deps", "--requirement", str(listed), *options)
    environment.pip("--no-deps", "--no-build-isolation", "--editable", str(ROOT), *options)
    if not environment.dry_run and environment.ask("import torchvision") is None:
        say("torchvision is built for CUDA, torch is not: the two operators that it misses are declared.")
        folder = environment.ask("import sysconfig; print(sysconfig.get_paths()['purelib'])")
        (Path(str(folder)) / "sitecustomize.py").write_text(STUB, encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """Set up, and say how the server is started."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.set_defaults(venv=str(ROOT / ".venv-label"))
    options = parser.parse_args(arguments)
    environment = build(options, (PINS, Path(__file__)), lambda made, _: install(made, options.pip_option), SMOKE)
    say("To start the server:")
    say(f"  {environment.python} -m medssm_monai.apps.label --studies FOLDER --models mamba_mis")


if __name__ == "__main__":
    with guarded():
        sys.exit(main())
