"""Where and with what a benchmark ran: every program prints it above its figures."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

import torch

from medssm_monai.utils.versions import package_versions

__all__ = ["ROOT", "describe", "heading", "processor", "revision"]

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("torch", "monai", "numba", "numpy", "triton", "mamba-ssm")
INSTRUCTIONS = ("avx512f", "avx2", "asimd")


def processor() -> str:
    """Name of the processor, its widest instructions and the number of cores that this process may use."""
    name, flags = platform.processor() or platform.machine(), ""
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
        fields = {key.strip(): value.strip() for key, value in lines.items()}
        name, flags = fields.get("model name", name), fields.get("flags", fields.get("Features", ""))
    widest = next((known for known in INSTRUCTIONS if known in flags.split()), "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return ", ".join(filter(None, (name, widest, f"{cores} cores")))


def revision(checkout: Path) -> str:
    """Commit of a checkout, with ``+`` where files were changed after it; empty where Git does not know it."""
    words = ["git", "-C", str(checkout), "describe", "--always", "--dirty=+", "--abbrev=10", "--exclude=*"]
    try:
        done = subprocess.run(words, capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def describe(threads: int, repeats: int, device: str = "cpu", command: Sequence[str] | None = None) -> dict[str, str]:
    """The run in words: command, time, machine, versions, threads and repeats."""
    program = Path(sys.argv[0]).stem
    words = [f"python -m benchmarks.{program}", *sys.argv[1:]] if command is None else list(command)
    system = {"command": " ".join(f'"{word}"' if " " in word and i else word for i, word in enumerate(words))}
    system |= {"time": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"), "machine": processor()}
    if device == "cuda":
        system["device"] = torch.cuda.get_device_name()
    versions = {**package_versions(PACKAGES), "commit": revision(ROOT)}
    system["versions"] = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    system["load"] = f"{os.getloadavg()[0]:.1f} before the run" if hasattr(os, "getloadavg") else "not known"
    system |= {"threads": str(threads), "repeats": f"{repeats} interleaved, median"}
    system["OMP_WAIT_POLICY"] = os.environ.get("OMP_WAIT_POLICY", "not set")
    return system


def heading(system: Mapping[str, str]) -> str:
    """The description as a Markdown list."""
    return "\n".join(f"- {name}: {value}" for name, value in system.items()) + "\n"
