"""The scan as PyTorch's higher-order operator: its arithmetic, its export, and when it is chosen."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.export import Dim

from medssm_monai.ops import backend_for, selective_scan, use_backend
from medssm_monai.ops.arguments import validated
from medssm_monai.ops.backends import BACKENDS, scan_operator

from .scan_cases import Case, errors, expected, make_inputs
from .test_selective_scan import CASES

BATCH = {0: Dim("batch", min=1)}
ALL = {"skip": True, "gate": True, "bias": True, "softplus": True}
EXPORTED = [
    Case(length=1, **ALL),
    Case(length=2, constant_B=True, discretization="zoh"),
    Case(length=70, groups=2, order="shuffled", **ALL),
    Case(length=70, channels=20, states=6, groups=2, order="shuffled", discretization="zoh", **ALL),
    Case(length=37, constant_C=True, order="reversed", layout="channel last"),
]


class Scan(torch.nn.Module):
    """A scan with a parameter, so that gradients may be wanted."""

    def __init__(self, case: Case, order: Tensor | None) -> None:
        super().__init__()
        self.case, self.order = case, order
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        names = ("u", "delta", "A", "B", "C", "D", "z", "delta_bias")
        given = [inputs.get(name) for name in names]
        given[0] = given[0] * self.scale
        return selective_scan(
            *given, self.case.softplus, True, discretization=self.case.discretization, order=self.order
        )


def model_of(case: Case, seed: int = 0) -> tuple[Scan, dict[str, Tensor]]:
    inputs, order = make_inputs(case, seed)
    return Scan(case, order), {name: x.float() for name, x in inputs.items() if x is not None}


def exported(scan: Scan, inputs: dict[str, Tensor]) -> torch.export.ExportedProgram:
    with torch.no_grad():
        shapes = {name: BATCH if x.shape[0] == scan.case.batch and x.dim() > 2 else None for name, x in inputs.items()}
        return torch.export.export(scan, (inputs,), dynamic_shapes=(shapes,))


def scan_nodes(program: torch.export.ExportedProgram) -> int:
    return sum(node.op == "call_function" and str(node.target) == "scan" for node in program.graph.nodes)


@pytest.fixture
def as_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's operator by its definition, without the compiler that it would start."""

    def loop(combine: Callable, init: Tensor, xs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        outputs = []
        for step in range(len(next(iter(xs.values())))):
            init, y = combine(init, {name: x[step] for name, x in xs.items()})
            outputs.append(y)
        return init, torch.stack(outputs)

    monkeypatch.setattr(importlib.import_module("torch._higher_order_ops.scan"), "scan", loop)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_arithmetic_equals_the_oracle(as_a_loop: None, case: Case) -> None:
    inputs, order = make_inputs(case)
    args = validated(*(inputs[name] for name in inputs), order, case.softplus, case.discretization)
    y, state = scan_operator.scan(args)
    wanted = {name: expected(case)[name] for name in ("y", "state")}
    for name, error in errors({"y": y.flatten(1, 2), "state": state.flatten(1, 2)}, wanted).items():
        assert error <= 1e-12, (name, error)


@pytest.mark.parametrize("case", EXPORTED, ids=str)
def test_export_is_one_operator_and_equals_the_reference_for_any_batch(case: Case) -> None:
    scan, inputs = model_of(case)
    program = exported(scan, inputs)
    assert scan_nodes(program) == 1
    with use_backend("reference"), torch.no_grad():
        for batch in (1, 2, 3):
            more = Case(**{**vars(case), "batch": batch})
            _other, given = model_of(more, seed=1)
            truth = Scan(more, scan.order)(given)  # the order of the exported one
            for result, wanted in zip(program.module()(given), truth, strict=True):
                torch.testing.assert_close(result, wanted, rtol=1e-5, atol=1e-5)


def test_small_steps_stay_exact_without_expm1() -> None:
    """Under export ``exp(x) - 1`` is written with ``tanh``: ONNX has no ``expm1``, and the difference would cancel."""
    case = Case(batch=2, channels=8, length=40, discretization="zoh")
    scan, inputs = model_of(case)
    inputs["delta"] = torch.logspace(-6, 3, 640).view(2, 8, 40)
    inputs["A"][:, 0] = 0
    program = exported(scan, inputs)
    assert not any("expm1" in str(node.target) for node in program.graph.nodes)
    y, _ = program.module()(inputs)
    with use_backend("reference"), torch.no_grad():
        exact, _ = scan({name: x.double() for name, x in inputs.items()})
    assert ((y - exact).abs() / exact.abs().amax(-1, keepdim=True)).max() <= 2e-6


def test_chosen_under_torch_export_where_no_gradient_is_wanted() -> None:
    seen: list[str] = []

    class Asks(torch.nn.Module):
        """Notes which backend would be taken while it is recorded."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(()))

        def forward(self, x: Tensor) -> Tensor:
            seen.append(backend_for(x * self.weight))
            return x * self.weight

    asks, x = Asks(), torch.rand(2, 3)
    with torch.no_grad():
        torch.export.export(asks, (x,))
    assert set(seen) == {"scan_operator"}
    seen.clear()
    torch.export.export(asks, (x,))
    assert set(seen) == {"blocked"}
    seen.clear()
    with torch.no_grad():
        torch.jit.trace(asks, x, check_trace=False)
    assert set(seen) == {"blocked"}


def test_not_chosen_and_refused_without_an_exporter() -> None:
    assert backend_for(torch.zeros(1)) != "scan_operator"
    assert BACKENDS["scan_operator"].missing is None
    with pytest.raises(RuntimeError, match="'scan_operator' was asked for .*for torch.export"):
        backend_for(torch.zeros(1), backend="scan_operator")
