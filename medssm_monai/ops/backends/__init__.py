"""What a scan backend is, and the list of them.

Every backend is one module beside this file, of the backend's name, with a function ``scan`` (see
:data:`ScanFunction`). What a backend can do is declared here, as data, so that choosing one imports nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import torch
from torch import Tensor

from ..arguments import ScanArguments

__all__ = ["BACKENDS", "Backend", "Request", "ScanFunction"]

ScanFunction = Callable[[ScanArguments], tuple[Tensor, Tensor]]
"""``scan(args) -> (out, last_state)``: the output, of the shape and dtype of ``args.u``, and the state after the last
token, ``(B, G, E, N)`` in the state dtype."""


@dataclass(frozen=True)
class Request:
    """What a call needs from a backend.

    Device type, dtype of the state, gradients, an exporter at work, the rule that turns steps into decays and inputs;
    and whether that exporter is ``torch.export``, which also records higher-order operators
    (``torch.onnx.export(dynamo=True)`` is one with it, ``torch.jit.trace`` is not).
    """

    device: str
    dtype: torch.dtype
    needs_grad: bool = False
    exporting: bool = False
    discretization: str = "euler"
    higher_order: bool = False


@dataclass(frozen=True)
class Backend:
    """One way to compute the scan.

    Attributes:
        name: what :func:`~medssm_monai.ops.use_backend`, the environment variable and its module are called.
        devices: device types it runs on, or None for every device.
        dtypes: dtypes of the state it computes in.
        differentiable: whether gradients flow through it.
        exportable: whether exporters (``torch.export``, ``torch.jit.trace``, ONNX) see plain PyTorch operators.
        higher_order: it is a higher-order operator, for ``torch.export`` only.
        missing: why it cannot run in this installation, or None.
        discretizations: the discretizations it knows.
        interpreted: whether Triton's interpreter (environment variable ``TRITON_INTERPRET=1``) runs it on any device,
            too slow for all but tests: only if asked for by name.
    """

    name: str
    devices: frozenset[str] | None = None
    dtypes: frozenset[torch.dtype] = frozenset({torch.float32, torch.float64})
    differentiable: bool = True
    exportable: bool = False
    higher_order: bool = False
    missing: str | None = None
    discretizations: frozenset[str] = frozenset({"euler", "zoh"})
    interpreted: bool = False

    @property
    def scan(self) -> ScanFunction:
        """Computes the scan; the backend's module is imported on first use."""
        this = sys.modules[__name__]  # torch.compile traces a module's attributes, ``import_module`` it does not
        return getattr(this, self.name).scan

    def refuses(self, request: Request, by_name: bool = False) -> str | None:
        """Why this backend cannot serve ``request``, which asks for it ``by_name`` or not, or None if it can."""
        anywhere = by_name and self.interpreted and os.environ.get("TRITON_INTERPRET") == "1"
        if self.devices is not None and request.device not in self.devices and not anywhere:
            return f"it runs on {sorted(self.devices)}, the tensors are on {request.device!r}"
        if request.dtype not in self.dtypes:
            return f"its state is one of {sorted(str(d) for d in self.dtypes)}, the call needs {request.dtype}"
        if self.higher_order and not request.higher_order:
            return "it is for torch.export and torch.onnx.export(dynamo=True), none of which is at work"
        if request.needs_grad and not self.differentiable:
            return "it has no gradient"
        if request.discretization not in self.discretizations:
            return f"it knows the discretizations {sorted(self.discretizations)}, not {request.discretization!r}"
        return self.missing


def _without(package: str) -> str | None:
    return None if find_spec(package) else f"the package {package!r} is not installed (pip install {package})"


def _without_mamba_1() -> str | None:
    """mamba-ssm's default builds since July 2026 leave this scan's kernel out, under the version number of before."""
    if find_spec("mamba_ssm") is None:
        return "the package 'mamba_ssm' is not installed (docs/install.md: its default build lacks this scan's kernel)"
    if find_spec("selective_scan_cuda") is None:
        return (
            "the package 'mamba_ssm' is installed without its extension 'selective_scan_cuda', the kernel of Mamba-1, "
            "which its default build leaves out; build it again with it, where PyTorch and CUDA's compiler are: "
            "MAMBA_KEEP_CUDA_BUILD=TRUE pip install --no-build-isolation --no-cache-dir --force-reinstall --no-deps "
            "mamba-ssm"
        )
    return None


# In order of preference: the automatic choice takes the first that serves the call.
BACKENDS: dict[str, Backend] = {
    backend.name: backend
    for backend in (
        Backend(
            "native",
            devices=frozenset({"cpu"}),
            dtypes=frozenset({torch.float32}),
            missing=_without("numba"),
        ),
        Backend(
            "triton",
            devices=frozenset({"cuda"}),
            dtypes=frozenset({torch.float32}),
            missing=_without("triton"),
            interpreted=True,
        ),
        Backend(
            "mamba_ssm",
            devices=frozenset({"cuda"}),
            dtypes=frozenset({torch.float32}),
            missing=_without_mamba_1(),
            discretizations=frozenset({"euler"}),
        ),
        Backend("scan_operator", differentiable=False, exportable=True, higher_order=True),
        Backend("blocked", exportable=True),
        Backend("reference", exportable=True),
    )
}


def __getattr__(name: str) -> ModuleType:
    """The module of a backend, imported when it is first asked for."""
    if name in BACKENDS:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
