"""Make the environment in which NVIDIA FLARE trains this package's bundles: its server, its sites, its simulator.

    python scripts/federated_environment.py
    .venv-federated/bin/python -m medssm_monai.apps.federated job mamba_mis JOB

Standard library only. The environment holds this package in editable mode with the extra ``federated``, in exactly the
versions of ``constraints.txt`` and ``constraints-federated.txt``. ``monai-nvflare`` comes without its dependencies: it
asks for FLARE 2.7 and Python below 3.12, and works with FLARE 2.9 and later Pythons.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from _venv import ROOT, SOURCES, Environment, add_options, build, guarded, say

PINS = ROOT / "constraints-federated.txt"
BRIDGE = "monai-nvflare"
SMOKE = "import nvflare.cli, monai_nvflare.client_algo_executor, monai_nvflare.monai_bundle_persistor, medssm_monai"


def bridge() -> str:
    """The pinned requirement of ``monai-nvflare``."""
    lines = PINS.read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if line.startswith(f"{BRIDGE}=="))


def install(environment: Environment, options: Sequence[str]) -> None:
    """This package with FLARE, then MONAI's integration as it is."""
    pins = ["--constraint", "constraints.txt", "--constraint", PINS.name]
    environment.pip("--editable", ".[federated]", *pins, *options)
    environment.pip("--no-deps", bridge(), *options)


def main(arguments: list[str] | None = None) -> None:
    """Set up, and say how a job is made."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.set_defaults(venv=str(ROOT / ".venv-federated"))
    options = parser.parse_args(arguments)
    sources = (*SOURCES, PINS, Path(__file__))
    environment = build(options, sources, lambda made, _: install(made, options.pip_option), SMOKE)
    say("To make a job:")
    say(f"  {environment.python} -m medssm_monai.apps.federated job mamba_mis JOB")


if __name__ == "__main__":
    with guarded():
        sys.exit(main())
