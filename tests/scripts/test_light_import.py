"""``import medssm_monai`` takes only what MONAI and torch bring, and needs none of the optional packages."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("mlflow", "numba", "pydicom", "highdicom", "mamba_ssm", "matplotlib", "triton", "onnx", "onnxruntime")
OPTIONAL = ("pydicom", "highdicom", "mamba_ssm", "triton", "onnx", "onnxruntime", "monailabel")
LAZY = ("mlflow", "matplotlib", "numba")


def run_python(root: Path, program: str) -> list[str]:
    """The JSON list that ``program`` prints as its last line."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_import_brings_nothing_heavy_beyond_monai(repository_root: Path) -> None:
    program = f"""
import json, sys
import monai
before = set(sys.modules)
import medssm_monai
print(json.dumps([name for name in {HEAVY!r} if name in sys.modules and name not in before]))
"""
    assert run_python(repository_root, program) == []


@pytest.mark.parametrize("blocked", [OPTIONAL, OPTIONAL + LAZY], ids=["extras", "extras and lazy imports"])
def test_every_subpackage_imports_without_these(repository_root: Path, blocked: tuple[str, ...]) -> None:
    program = f"""
import importlib, json, pkgutil, sys
sys.modules.update(dict.fromkeys({blocked!r}))
import medssm_monai
packages = [m.name for m in pkgutil.walk_packages(medssm_monai.__path__, "medssm_monai.") if m.ispkg]
for name in packages:
    face = importlib.import_module(name)
    [getattr(face, public) for public in getattr(face, "__all__", ())]
print(json.dumps(packages))
"""
    imported = run_python(repository_root, program)
    assert {"medssm_monai.ops", "medssm_monai.networks.nets", "medssm_monai.handlers"} <= set(imported)


def test_signals_and_errors_of_a_command_need_no_monai(repository_root: Path) -> None:
    program = """
import json, sys
from medssm_monai.bundle import claim_run, end_on_signals, find_bundle, tidy_console
print(json.dumps(sorted(name for name in ("monai", "ignite", "skimage") if name in sys.modules)))
"""
    assert run_python(repository_root, program) == []
