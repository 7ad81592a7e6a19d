"""Make the environment in which the viewer runs.

    python scripts/viewer_environment.py
    .venv-viewer/bin/python -m medssm_monai.apps.viewer

Standard library only. The environment holds this package in editable mode with its extra ``viewer``, in the versions of
``constraints-viewer.txt``: Gradio wants an older Pillow than ``constraints.txt`` pins.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from _venv import ROOT, Environment, add_options, build, guarded, say

PINS = ROOT / "constraints-viewer.txt"
SMOKE = "import gradio, torch, monai, medssm_monai.apps.viewer.page"


def install(environment: Environment, options: Sequence[str]) -> None:
    """This package with what the viewer needs."""
    environment.pip("--editable", f"{ROOT}[viewer]", "--constraint", str(PINS), *options)


def main(arguments: list[str] | None = None) -> None:
    """Set up, and say how the viewer is started."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.set_defaults(venv=str(ROOT / ".venv-viewer"))
    options = parser.parse_args(arguments)
    sources = (PINS, ROOT / "pyproject.toml", Path(__file__))
    environment = build(options, sources, lambda made, _: install(made, options.pip_option), SMOKE)
    say("To start the viewer:")
    say(f"  {environment.python} -m medssm_monai.apps.viewer")


if __name__ == "__main__":
    with guarded():
        sys.exit(main())
