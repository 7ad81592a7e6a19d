"""Fused chains of token-wise layers against the same modules in float64, and when they must not be fused."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from medssm_monai.ops import use_backend
from medssm_monai.ops.tokenwise import launch, tokenwise
from medssm_monai.ops.tokenwise.joined_axes import joined_axis, joined_order
from medssm_monai.ops.tokenwise.recording import spans


class Chains(nn.Module):
    """Layers of every kind that the kernel knows, as the blocks of Mamba-MIS use them."""

    def __init__(self, dim: int, bias: bool = True) -> None:
        super().__init__()
        self.widths = [dim // 3, 2 * dim // 3 - dim // 3, dim - 2 * dim // 3]
        self.lift = nn.ModuleList(nn.Sequential(nn.LayerNorm(w), nn.Linear(w, dim)) for w in self.widths)
        self.norm = nn.LayerNorm(dim, eps=1e-3, bias=bias)
        self.bare = nn.LayerNorm(dim, elementwise_affine=False)
        self.fuse = nn.Linear(2 * dim, dim, bias=bias)
        self.proj = nn.Linear(dim, dim)
        self.expand = nn.Linear(dim, 4 * 5, bias=False)
        self.small = nn.LayerNorm(5)
        self.dropout = nn.Dropout(0.0)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.5)

    def first(self, x):
        _, local, other = (lift(part) for lift, part in zip(self.lift, x.split(self.widths, dim=-1), strict=True))
        return local, other

    def second(self, x, local, other):
        gate = self.lift[0](x.split(self.widths, dim=-1)[0])
        other = F.silu(self.bare(self.norm(other)))
        return x + self.dropout(self.proj(F.silu(gate) * self.fuse(torch.cat([local, other], dim=-1))))

    def third(self, x):
        return self.small(self.expand(x).unflatten(-1, (5, 2, 2)).movedim(-3, -1))

    def forward(self, x):
        local, other = tokenwise(self.first, x, memory=(None, (0, 3, 1, 2)))
        x = tokenwise(self.second, x, local, other)
        return tokenwise(self.third, x, memory=((0, 1, 3, 2, 4, 5),))


class Volumes(Chains):
    """The same chains on volumes."""

    def forward(self, x):
        local, other = tokenwise(self.first, x, memory=(None, (0, 4, 1, 2, 3)), spatial_dims=3)
        x = tokenwise(self.second, x, local, other, spatial_dims=3)
        return tokenwise(self.third, x, memory=((0, 1, 4, 2, 5, 3, 6),), spatial_dims=3)


@pytest.fixture
def fused_calls(monkeypatch):
    """Passes of the kernel."""
    calls: list[str] = []
    for name in ("forward", "backward"):
        run = getattr(launch.Plan, name)
        monkeypatch.setattr(
            launch.Plan, name, lambda self, *args, run=run, name=name: (calls.append(name), run(self, *args))[1]
        )
    return calls


def outcome(module, x, gradient):
    x = x.detach().to(gradient.dtype).requires_grad_()
    y = module(x)
    return y.detach(), torch.autograd.grad(y, [x, *module.parameters()], gradient)


def laid_out(x: torch.Tensor, layout: str) -> torch.Tensor:
    if layout == "channel first":
        return x.movedim(-1, 1).contiguous().movedim(1, -1)
    if layout == "slice":
        return torch.cat([x, x, x], dim=2)[:, :, 1 : 1 + x.shape[2], :].copy_(x)
    if layout == "columns":
        return x.transpose(1, 2).contiguous().transpose(1, 2)
    if layout == "transposed channel first":
        return x.permute(0, 3, 2, 1).contiguous().permute(0, 3, 2, 1)
    return x


@pytest.mark.parametrize("layout", ["dense", "channel first", "slice", "columns", "transposed channel first"])
@pytest.mark.parametrize(
    ("dim", "size"),
    [
        (8, (3, 16, 12)),
        (16, (1, 5, 7)),
        (32, (2, 8, 8)),
        (7, (2, 3, 50)),
        (3, (1, 1, 1)),
        (128, (2, 4, 4)),
        (8, (1, 40, 41)),
    ],
)
def test_values_and_gradients_are_those_of_the_layers(dim, size, layout, fused_calls):
    torch.manual_seed(0)
    module = Chains(dim)
    x = laid_out(torch.randn(*size, dim), layout)
    gradient = torch.randn(*size, 2, 2, 5)
    y, grads = outcome(module, x, gradient)
    assert fused_calls == ["forward"] * 3 + ["backward"] * 3
    expected, exact = outcome(copy.deepcopy(module).double(), x, gradient.double())
    torch.testing.assert_close(y.double(), expected, rtol=1e-4, atol=1e-4)
    for got, want in zip(grads, exact, strict=True):
        assert (got - want).norm() <= 2e-5 * want.norm() + 1e-6
    with torch.no_grad():
        assert torch.equal(module(x), y)


VOLUMES = [(0, 1, 2, 3, 4), (0, 4, 1, 2, 3), (0, 1, 3, 2, 4), (4, 3, 2, 1, 0)]


@pytest.mark.parametrize("memory", VOLUMES, ids=["dense", "channel first", "third axis first", "all turned around"])
@pytest.mark.parametrize("size", [(2, 3, 4, 5), (1, 6, 2, 2), (3, 1, 1, 7)])
def test_volumes_are_fused_as_well(size, memory, fused_calls):
    torch.manual_seed(0)
    module, back = Volumes(7), [memory.index(axis) for axis in range(5)]
    x, gradient = torch.randn(*size, 7).permute(memory).contiguous().permute(back), torch.randn(*size, 2, 2, 5)
    y, grads = outcome(module, x, gradient)
    assert fused_calls == ["forward"] * 3 + ["backward"] * 3
    expected, exact = outcome(copy.deepcopy(module).double(), x, gradient.double())
    torch.testing.assert_close(y.double(), expected, rtol=1e-4, atol=1e-4)
    for got, want in zip(grads, exact, strict=True):
        assert (got - want).norm() <= 2e-5 * want.norm() + 1e-6


def test_a_chain_of_volumes_may_lie_in_memory_as_it_is_asked_to():
    x = torch.randn(2, 3, 4, 5, 7)
    local, other = tokenwise(Volumes(7).first, x, memory=(None, (0, 4, 1, 2, 3)), spatial_dims=3)
    assert local.is_contiguous() and other.movedim(-1, 1).is_contiguous()


@pytest.mark.parametrize(
    ("memory", "axis"), [(None, 2), ([None, (0, 4, 1, 2, 3)], 2), ([(0, 1, 4, 2, 5, 3, 6)], 0), ([(0, 1, 2, 3, 4)], 2)]
)
def test_two_axes_are_joined_that_the_outputs_keep_together(memory, axis):
    dense = torch.empty(2, 3, 4, 5, 7)
    assert joined_axis([(dense.shape, dense.stride())], memory) == axis


def test_two_axes_are_joined_that_need_no_copy():
    halves = torch.empty(2, 3, 4, 10, 7)[..., ::2, :]  # every other place along the last axis: rows stay even apart
    slabs = torch.empty(2, 3, 9, 5, 7)[:, :, :4].transpose(2, 3)
    assert joined_axis([(halves.shape, halves.stride())], None) == 2
    assert joined_axis([(slabs.shape, slabs.stride())], None) == 0


def test_orders_of_axes_after_joining():
    assert joined_order((0, 4, 1, 2, 3), 2) == (0, 3, 1, 2)
    assert joined_order((0, 1, 4, 2, 5, 3, 6), 0) == (0, 3, 1, 4, 2, 5)


def test_outputs_that_keep_no_axes_together_are_refused():
    with pytest.raises(ValueError, match=r"axes 2 and 3 nor axes 0 and 1"):
        tokenwise(Volumes(7).third, torch.randn(1, 2, 2, 2, 7), memory=((1, 4, 0, 2, 5, 3, 6),), spatial_dims=3)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_results_do_not_depend_on_the_number_of_threads(threads):
    torch.manual_seed(0)
    module, x, gradient = Chains(16), torch.randn(2, 64, 48, 16), torch.randn(2, 64, 48, 2, 2, 5)
    y, grads = outcome(module, x, gradient)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        again, grads_again = outcome(module, x, gradient)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(y, again)
    assert all(torch.equal(a, b) for a, b in zip(grads, grads_again, strict=True))


def test_gradients_may_come_in_any_layout_and_with_a_turned_sign():
    torch.manual_seed(0)
    module, x = Chains(8), torch.randn(1, 6, 6, 8, requires_grad=True)

    def loss(y):
        y = y.flatten(-3).permute(0, 3, 2, 1).contiguous()
        return torch.view_as_real(torch.complex(y, y * 2).conj() * 0.3).square().sum() + y.pow(3).sum()

    (got,) = torch.autograd.grad(loss(module(x)), x)
    exact = copy.deepcopy(module).double()
    (want,) = torch.autograd.grad(loss(exact(x.double())), x)
    assert (got - want).norm() <= 1e-4 * want.norm()
    turned = torch.complex(x.detach(), x.detach()).conj().imag  # a view whose sign is to be turned
    assert turned.is_neg()
    torch.testing.assert_close(module(turned), module(-x.detach()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_default_dtype_does_not_matter(dtype):
    torch.manual_seed(0)
    module, x = Chains(8), torch.randn(1, 6, 6, 8, requires_grad=True)
    gradient = torch.randn(1, 6, 6, 2, 2, 5)
    expected = outcome(module, x, gradient)
    torch.set_default_dtype(dtype)
    try:
        y, grads = outcome(module, x, gradient)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(y, expected[0])
    assert all(torch.equal(a, b) for a, b in zip(grads, expected[1], strict=True))


def test_outputs_lie_in_memory_as_asked():
    module = Chains(8)
    local, other = tokenwise(module.first, torch.randn(2, 6, 5, 8), memory=(None, (0, 3, 1, 2)))
    assert local.is_contiguous()
    assert other.movedim(-1, 1).is_contiguous()
    y = tokenwise(module.third, torch.randn(2, 6, 5, 8), memory=((0, 1, 3, 2, 4, 5),))
    assert y.transpose(2, 3).is_contiguous()


class Repeats(nn.Module):
    """Channels that are read more than once, and outputs that are read on."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.mix = nn.Linear(4 * dim + 1, dim)
        self.norm = nn.LayerNorm(dim)

    def chain(self, x):
        first, rest = x.split([1, self.norm.normalized_shape[0] - 1], dim=-1)
        y = self.mix(torch.cat([x, first, first, first, rest, rest, x], dim=-1))
        z = F.silu(y + y) * y
        return z, self.norm(z) + y, F.silu(z)

    def forward(self, x):
        return torch.cat(tokenwise(self.chain, x), dim=-1)


@pytest.mark.parametrize("dim", [5, 32])
def test_channels_may_be_read_more_than_once(dim, fused_calls):
    torch.manual_seed(0)
    module, x, gradient = Repeats(dim), torch.randn(2, 9, 5, dim), torch.randn(2, 9, 5, 3 * dim)
    y, grads = outcome(module, x, gradient)
    assert fused_calls == ["forward", "backward"]
    expected, exact = outcome(copy.deepcopy(module).double(), x, gradient.double())
    torch.testing.assert_close(y.double(), expected, rtol=1e-4, atol=1e-4)
    for got, want in zip(grads, exact, strict=True):
        assert (got - want).norm() <= 2e-5 * want.norm() + 1e-6


def test_layers_without_bias_and_frozen_parameters():
    torch.manual_seed(0)
    module = Chains(8, bias=False)
    module.fuse.weight.requires_grad_(False)
    x = torch.randn(2, 6, 5, 8)
    module(x).sum().backward()
    assert module.fuse.weight.grad is None
    exact = copy.deepcopy(module).double()
    exact.zero_grad()
    exact(x.double()).sum().backward()
    for got, want in zip(module.parameters(), exact.parameters(), strict=True):
        if want.grad is not None:
            torch.testing.assert_close(got.grad.double(), want.grad, rtol=1e-4, atol=1e-4)


def hooked(module):
    module.proj.register_forward_hook(lambda *_: None)


def dropping(module):
    module.dropout.p = 0.5
    module.dropout.train()


def parametrized(module):
    torch.nn.utils.parametrizations.weight_norm(module.proj)


def appended(module):
    module.lift[0].append(nn.SiLU())


def patched(module):
    forward = module.proj.forward
    module.proj.forward = lambda x: forward(x) * 2


def other_norm(module):
    class Doubled(nn.LayerNorm):
        def forward(self, x):
            return super().forward(x) * x.pow(2)

    module.bare = Doubled(8, elementwise_affine=False)


def no_epsilon(module):
    module.norm.eps = 0.0


@pytest.mark.parametrize("change", [hooked, dropping, parametrized, patched, other_norm, no_epsilon])
def test_what_the_kernel_does_not_see_runs_layer_by_layer(change, fused_calls):
    torch.manual_seed(0)
    module, x = Chains(8), torch.randn(1, 4, 4, 8)
    module(x)
    fused_calls.clear()
    change(module)
    torch.manual_seed(1)
    y = module(x)
    assert fused_calls == ["forward"] * 2  # all but the chain that was changed
    torch.manual_seed(1)
    with use_backend("reference"):
        torch.testing.assert_close(y, module(x), rtol=1e-4, atol=1e-5)


def test_changed_modules_are_read_anew():
    torch.manual_seed(0)
    module, x = Chains(8), torch.randn(1, 4, 4, 8)
    module.small.eps = 0.5
    for change in (appended, lambda m: setattr(m.small, "eps", 1.0), lambda m: m.lift[0].pop(2)):
        module(x)
        change(module)
        with use_backend("reference"):
            expected = module(x)
        torch.testing.assert_close(module(x), expected, rtol=1e-4, atol=1e-5)


def test_tied_weights_may_part():
    torch.manual_seed(0)
    module, x = Chains(8), torch.randn(1, 4, 4, 8)
    module.lift[1][1].weight = nn.Parameter(torch.randn(8, 3))
    module.lift[2][1].weight = module.lift[1][1].weight
    module.lift[2][0], module.widths = nn.LayerNorm(3), [2, 3, 3]
    module(x)
    module.lift[1][1].weight = nn.Parameter(torch.randn(8, 3))
    with use_backend("reference"):
        expected = module(x)
    torch.testing.assert_close(module(x), expected, rtol=1e-4, atol=1e-5)


def test_global_hooks_see_tensors_of_all_layers():
    module, x, seen = Chains(8), torch.randn(1, 4, 4, 8), []
    handle = torch.nn.modules.module.register_module_forward_hook(
        lambda m, args, y: seen.append((type(m).__name__, type(y)))
    )
    try:
        module(x)
    finally:
        handle.remove()
    assert {kind for _, kind in seen} == {torch.Tensor}
    assert "Linear" in {name for name, _ in seen}


def test_parameters_elsewhere_are_pytorchs_error():
    module, x = Chains(8), torch.randn(1, 4, 4, 8)
    module(x)
    module.to("meta")
    with pytest.raises((RuntimeError, NotImplementedError)):
        module(x).sum().item()


def test_other_weights_are_used_at_once():
    torch.manual_seed(0)
    module, other, x = Chains(8), Chains(8), torch.randn(1, 4, 4, 8)
    module(x)
    expected = other(x)
    torch.testing.assert_close(torch.func.functional_call(module, dict(other.state_dict()), x), expected)
    module.proj.weight = nn.Parameter(other.proj.weight.detach().clone())
    module.load_state_dict(other.state_dict())
    assert torch.equal(module(x), expected)
    module.proj = nn.Linear(8, 8, dtype=torch.float32)
    with use_backend("reference"):
        expected = module(x)
    torch.testing.assert_close(module(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("where", ["float64", "autocast", "backend", "export", "vmap", "empty"])
def test_the_layers_themselves_run_elsewhere(where, fused_calls):
    module, x = Chains(8), torch.randn(1, 4, 4, 8)
    if where == "float64":
        assert module.double()(x.double()).dtype == torch.float64
    elif where == "autocast":
        with torch.autocast("cpu", torch.bfloat16):
            tokenwise(module.first, x)
    elif where == "backend":
        with use_backend("blocked"):
            module(x)
    elif where == "export":
        exported = torch.export.export(module, (x,)).module()
        assert fused_calls == []
        torch.testing.assert_close(exported(x), module(x), rtol=1e-4, atol=1e-5)
        return
    elif where == "vmap":
        torch.func.vmap(module)(x[None])
    else:
        assert module(x[:0]).shape == (0, 4, 4, 2, 2, 5)
    assert fused_calls == []


def test_gradients_of_gradients_are_refused_and_the_layers_have_them():
    module, x = Chains(8), torch.randn(1, 4, 4, 8, requires_grad=True)
    with pytest.raises(RuntimeError, match="create_graph=True"):
        torch.autograd.grad(module(x).sum(), x, create_graph=True)
    with use_backend("blocked"):
        (grad,) = torch.autograd.grad(module(x).square().sum(), x, create_graph=True)
    grad.sum().backward()
    assert x.grad is not None


def test_no_module_is_kept_alive():
    import gc
    import weakref

    module = Chains(8)
    module(torch.randn(1, 4, 4, 8))
    gone = weakref.ref(module)
    del module
    gc.collect()
    assert gone() is None


def test_activation_checkpoints_compute_the_chain_anew():
    from torch.utils.checkpoint import checkpoint

    torch.manual_seed(0)
    net, x = Chains(12), torch.randn(2, 3, 5, 12, requires_grad=True)
    (expected,) = torch.autograd.grad(net(x).square().sum(), x)
    (got,) = torch.autograd.grad(checkpoint(net, x, use_reentrant=False).square().sum(), x)
    assert torch.equal(got, expected)


@pytest.mark.parametrize("dim", [3, 13, 48, 96])
def test_equal_channels_have_no_deviation(dim, fused_calls):
    """A norm of them is its bias, however large they are."""

    class Norm(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.LayerNorm(dim)

        def run(self, x):
            return self.norm(x)

    x = torch.tensor([1000.3, -517.77, 1e-3]).view(1, 1, 3, 1).expand(1, 20, 3, dim)
    assert tokenwise(Norm().run, x).abs().max() == 0
    assert fused_calls == ["forward"]


def test_an_epsilon_that_float32_does_not_know_stays_with_the_layer(fused_calls):
    class Norm(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.LayerNorm(16, eps=1e-50)

        def run(self, x):
            return self.norm(x)

    net = Norm()
    tokenwise(net.run, torch.randn(1, 1, 5, 16)).sum().backward()
    assert torch.isfinite(net.norm.weight.grad).all() and not fused_calls


@pytest.mark.parametrize(
    ("lists", "runs"),
    [
        ([[7]], [[(7, 1, 1)]]),
        ([[0, 1, 2, 3]], [[(0, 1, 4)]]),
        ([[0, 2, 4]], [[(0, 2, 3)]]),
        ([[5, 4, 3]], [[(5, -1, 3)]]),
        ([[0, 1, 2, 10, 11, 12]], [[(0, 1, 3)], [(10, 1, 3)]]),
        ([[0, 1, 10, 20]], [[(0, 1, 2)], [(10, 10, 2)]]),
        ([[3, 3, 3]], [[(3, 1, 1)], [(3, 1, 1)], [(3, 1, 1)]]),
        ([[3, 3, 4, 5]], [[(3, 1, 1)], [(3, 1, 3)]]),
        ([[0, 1, 2, 3], [8, 6, 4, 2]], [[(0, 1, 4), (8, -2, 4)]]),
        ([[0, 1, 2, 3], [4, 5, 9, 10]], [[(0, 1, 2), (4, 1, 2)], [(2, 1, 2), (9, 1, 2)]]),
        ([[0, 1, 2, 3], [4, 4, 5, 6]], [[(0, 1, 1), (4, 1, 1)], [(1, 1, 3), (4, 1, 3)]]),
        ([[[0, 1], [2, 3]]], [[(0, 1, 4)]]),
    ],
    ids=str,
)
def test_rows_are_read_in_the_longest_runs(lists, runs):
    assert [[tuple(span) for span in run] for run in spans(*map(np.array, lists))] == runs
