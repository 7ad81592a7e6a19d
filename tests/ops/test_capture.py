"""The scan under ``torch.compile``, ``torch.export`` and ``torch.jit.trace``."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor

from medssm_monai.ops import selective_scan, use_backend

from .scan_cases import Case, make_inputs, usable

CASE = Case(
    length=70, channels=20, states=6, groups=2, skip=True, gate=True, bias=True, softplus=True, order="shuffled"
)
needs_native = pytest.mark.skipif(usable("native") is not None, reason=f"native backend: {usable('native')}")


class Scan(torch.nn.Module):
    def __init__(self, order: Tensor) -> None:
        super().__init__()
        self.register_buffer("order", order)

    def forward(self, *args: Tensor) -> Tensor:
        y, state = selective_scan(*args, True, True, order=self.order)
        return y.mean() + state.square().mean()


@pytest.fixture
def model() -> tuple[Scan, tuple[Tensor, ...]]:
    inputs, order = make_inputs(CASE)
    return Scan(order), tuple(x.float() for x in inputs.values())


def scan_nodes(graph: torch.fx.Graph) -> list[str]:
    return [str(node.target) for node in graph.nodes if "medssm" in str(node.target)]


@pytest.mark.parametrize("backend", ["blocked", pytest.param("native", marks=needs_native)])
def test_compile_without_graph_breaks_and_with_gradients(backend: str, model: tuple) -> None:
    scan, args = model
    leaves = [x.clone().requires_grad_() for x in args]
    with use_backend(backend):
        eager = torch.autograd.grad(scan(*leaves), leaves)
        compiled = torch.autograd.grad(torch.compile(scan, backend="aot_eager", fullgraph=True)(*leaves), leaves)
    for a, b in zip(compiled, eager, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@needs_native
def test_compile_sees_one_operator(model: tuple) -> None:
    graphs = []

    def keep(graph: torch.fx.GraphModule, _: object) -> torch.fx.GraphModule:
        graphs.append(graph.graph)
        return graph

    torch.compile(model[0], backend=keep, fullgraph=True)(*model[1])
    assert [scan_nodes(g) for g in graphs] == [["medssm.native_scan.default"]] or all(
        len(scan_nodes(g)) == 1 for g in graphs
    )


def test_export_holds_plain_operators(model: tuple) -> None:
    scan, args = model
    program = torch.export.export(scan, args)
    assert scan_nodes(program.graph) == []
    torch.testing.assert_close(program.module()(*args), scan(*args), rtol=1e-5, atol=1e-6)


@needs_native
def test_export_of_the_forced_native_backend_is_one_operator(model: tuple) -> None:
    scan, args = model
    with use_backend("native"):
        program = torch.export.export(scan, args)
    assert scan_nodes(program.graph) == ["medssm.native_scan.default"]
    torch.testing.assert_close(program.module()(*args), scan(*args))


def test_trace(model: tuple) -> None:
    scan, args = model
    with warnings.catch_warnings():
        warnings.simplefilter("error", torch.jit.TracerWarning)
        traced = torch.jit.trace(scan, args)
    assert "medssm::" not in str(traced.inlined_graph)
    other = tuple(x * 0.9 for x in args)
    torch.testing.assert_close(traced(*other), scan(*other), rtol=1e-5, atol=1e-6)


@needs_native
def test_operator_registration_is_sound() -> None:
    from medssm_monai.ops.backends.native.operator import scan_forward

    generator = torch.Generator().manual_seed(0)
    u, z = (torch.randn(2, 1, 20, 70, generator=generator, requires_grad=True) for _ in range(2))
    delta = torch.rand(2, 1, 20, 70, generator=generator, requires_grad=True)
    A = (-torch.rand(1, 20, 6, generator=generator)).requires_grad_()
    B, C = (torch.randn(2, 1, 6, 70, generator=generator, requires_grad=True) for _ in range(2))
    D = torch.ones(1, 20, requires_grad=True)
    torch.library.opcheck(scan_forward, (u, delta, A, B, C, D, z, None, None, True, "euler", None, True))
    torch.library.opcheck(
        scan_forward, tuple(x.detach() for x in (u, delta, A, B, C, D, z)) + (None, None, True, "zoh", None, False)
    )
