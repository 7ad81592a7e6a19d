"""``python -m medssm_monai.registry``: the command of the MLflow registry, :mod:`medssm_monai.apps.registry`."""

from __future__ import annotations

import sys

from ..apps.registry import main

if __name__ == "__main__":
    sys.exit(main(prog="python -m medssm_monai.registry"))
