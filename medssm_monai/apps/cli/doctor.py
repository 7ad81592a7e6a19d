"""``medssm doctor``: what is installed, what would be used, and what stands in the way."""

from __future__ import annotations

import json
import os
import platform
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...bundle.find import bundle_places, list_bundles
from ...bundle.shipped import verify_shipped
from ...bundle.weights import bundle_weights, describe_weights_file
from ...bundle.work_place import work_folder
from ...utils.user_cache import is_writable, user_cache
from ...utils.versions import package_versions

__all__ = ["doctor", "examine"]

PACKAGES = (
    *("medssm-monai", "monai", "torch", "numpy", "pytorch-ignite", "mlflow", "numba", "itk", "nibabel", "scikit-image"),
    *("scikit-learn", "triton", "mamba-ssm", "onnx", "onnxruntime", "pydicom", "highdicom", "gradio", "monailabel"),
    *("nvflare", "monai-nvflare"),
)
EXTRAS = {
    "onnx": ("onnx", "onnxruntime", "onnxscript"),
    "viewer": ("gradio",),
    "conformal": ("mapie",),
    "tune": ("optuna",),
    "dicom": ("pydicom", "highdicom"),
    "federated": ("nvflare", "monai_nvflare"),
    "cuda": ("triton",),
    "label": ("monailabel",),
    "scale": ("pyarrow", "ray"),
}
VARIABLES = (
    *("MEDSSM_BUNDLES", "MEDSSM_SCAN_BACKEND", "MEDSSM_MAX_PIXELS", "MEDSSM_FULL_NAMES", "CUDA_VISIBLE_DEVICES"),
    *("MLFLOW_TRACKING_URI", "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "NUMBA_CACHE_DIR", "NUMBA_DISABLE_JIT"),
)


def examine() -> dict[str, Any]:
    """Everything that :func:`doctor` shows, by topic; ``problems`` lists what stands in the way, in words."""
    import torch

    from ...ops import available_backends, backend_for
    from ...utils.hardware import usable_cores

    cuda = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    device = "cuda:0" if cuda else "cpu"
    cores = usable_cores()
    backends = available_backends()
    bundles = {name: _bundle(root) for name, root in list_bundles().items()}
    here, cache = Path.cwd(), user_cache()
    problems = [] if bundles else [f"no bundles in {', '.join(map(str, bundle_places()))}; set MEDSSM_BUNDLES."]
    if not is_writable(here):
        problems.append(f"the current folder {here} cannot be written to: give commands an output folder (-o).")
    if cache is None:
        problems.append("no private cache folder: machine code of the scan is compiled anew in every process.")
    if backends.get("native"):
        problems.append(f"the fused scan for CPUs is not there: {backends['native']}; a slower one is used.")
    try:
        shipped = f"{len(verify_shipped())} files, all as they came with the package"
    except (OSError, ValueError) as error:
        shipped = "not as they came with the package"
        problems.append(str(error))
    return {
        "versions": package_versions(PACKAGES),
        "extras": {name: all(map(find_spec, modules)) for name, modules in EXTRAS.items()},
        "machine": {
            "system": platform.platform(),
            "cores that may be used": cores,
            "threads of torch": torch.get_num_threads(),
            "vector instructions": torch.backends.cpu.get_cpu_capability(),
            "GPUs": cuda,
        },
        "would be used": {
            "device": device,
            "scan": backend_for(torch.empty(1, device=device), requires_grad=False),
            "scan in training": backend_for(torch.empty(1, device=device), requires_grad=True),
        },
        "scan backends": {name: reason or "ready" for name, reason in backends.items()},
        "folders": {
            "current (can be written to)": f"{here} ({'yes' if is_writable(here) else 'no'})",
            "cache": str(cache),
            "bundles": ", ".join(map(str, bundle_places())),
        },
        "bundles": bundles,
        "weights of the package": {"SHA-256": shipped},
        "environment": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "problems": problems,
    }


def _bundle(root: Path) -> dict[str, str]:
    return {
        "folder": str(root),
        "weights": describe_weights_file(bundle_weights(root)),
        "results": work_folder(root),
    }


def doctor(as_json: bool = False) -> int:
    """Print what :func:`examine` finds; returns 1 when something stands in the way."""
    found = examine()
    if as_json:
        print(json.dumps(found, indent=2))
        return int(bool(found["problems"]))
    for topic, facts in found.items():
        if topic == "problems" or not facts:
            continue
        print(topic)
        for name, fact in facts.items():
            if isinstance(fact, dict):
                print(f"  {name}")
                for key, value in fact.items():
                    print(f"    {key:<10} {value}")
            else:
                print(f"  {name:<28} {_said(fact)}")
    print(
        "\n".join(["", *(f"PROBLEM: {problem}" for problem in found["problems"])])
        if found["problems"]
        else "\nAll well."
    )
    return int(bool(found["problems"]))


def _said(fact: Any) -> Any:
    if isinstance(fact, bool):
        return "installed" if fact else "not installed"
    return ", ".join(map(str, fact)) or "none" if isinstance(fact, list) else fact
