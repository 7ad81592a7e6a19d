"""Running a bundle's configs from tests, in this process and as a program, on a tiny network and few demo images."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow

REPOSITORY = Path(__file__).resolve().parents[2]
BUNDLE = REPOSITORY / "bundles" / "mamba_mis"
TINY = {
    "network_args": {"base_dim": 8, "d_state": 4},
    "image_size": [32, 32],
    "datalists#demo_counts": [8, 4, 4],
    "max_epochs": 1,
    "batch_size": 4,
    "device": "cpu",
}


def config(*names: str) -> list[str]:
    return [str(BUNDLE / "configs" / name) for name in names]


def workflow(names: tuple[str, ...], out: Path, kind: str = "train", **overrides: Any) -> ConfigWorkflow:
    """An initialised workflow of the given config files that writes below ``out`` only."""
    folders = {"bundle_root": str(BUNDLE), "output_dir": f"$'{out.as_posix()}'"}
    if names[0] == "train.yaml":
        folders["ckpt_dir"] = str(out / "models")
    arguments = {**folders, **overrides}
    if "device" in arguments:
        arguments["device"] = f"$torch.device('{arguments['device']}')"
    flow = ConfigWorkflow(config_file=config(*names), workflow_type=kind, logging_file=False, **arguments)
    flow.initialize()
    return flow


def run(names: tuple[str, ...], out: Path, kind: str = "train", **overrides: Any) -> ConfigWorkflow:
    """Run the workflow to its end and hand it back."""
    flow = workflow(names, out, kind, **overrides)
    flow.run()
    flow.finalize()
    return flow


def program(arguments: list[str], cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``python ARGUMENTS`` as a user would, with this interpreter."""
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY), **environment}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=env, capture_output=True, text=True, timeout=600, check=False
    )


def command_line(overrides: dict[str, Any], out: Path) -> list[str]:
    """The overrides of a tiny run as words of a command line."""
    words = ["--output_dir", f"$'{out.as_posix()}'", "--ckpt_dir", str(out / "models")]
    for key, value in overrides.items():
        words += [f"--{key}", f"$torch.device('{value}')" if key == "device" else str(value)]
    return words
