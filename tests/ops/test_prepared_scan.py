"""Scans that were made ready once: the same numbers as the long way, whatever changes from call to call."""

from __future__ import annotations

import pytest
import torch

from medssm_monai.ops import selective_scan, use_backend
from medssm_monai.ops.backends.native import prepared


@pytest.fixture
def runs(monkeypatch):
    """How many scans went the short way."""
    found: list[int] = []
    run = prepared.Prepared.run
    monkeypatch.setattr(prepared.Prepared, "run", lambda *given: (found.append(1), run(*given))[1])
    monkeypatch.setattr(prepared, "_ready", {})
    return found


def given(batch, groups, channels, length, states, layout, whole, seed=0):
    torch.manual_seed(seed)

    def tokens():
        x = torch.randn(batch, groups * channels, length)
        x = x.transpose(1, 2).contiguous().transpose(1, 2) if layout == "last" else x
        x = torch.randn(batch, groups * channels, 2 * length)[..., ::2] if layout == "slices" else x
        x = x[:1].expand(batch, -1, -1) if layout == "expanded" else x
        return x.unflatten(1, (groups, channels)) if groups > 1 else x

    lead = (groups,) if groups > 1 else ()
    weights = [torch.randn(batch, *lead, states, length) for _ in range(2)]
    A = -torch.rand(*lead, channels, states) * 4
    rest = (torch.randn(*lead, channels), tokens(), torch.randn(*lead, channels)) if whole else (None, None, None)
    return tokens(), tokens() - 2, A, *weights, *rest


@pytest.mark.parametrize("discretization", ["euler", "zoh"])
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("layout", ["first", "last", "slices", "expanded"])
@pytest.mark.parametrize(
    ("batch", "groups", "channels", "length", "states"),
    [(1, 1, 8, 1, 32), (2, 1, 13, 70, 5), (2, 3, 16, 65, 4), (1, 2, 1, 9, 1)],
)
def test_numbers_are_those_of_the_long_way(
    batch, groups, channels, length, states, layout, whole, discretization, runs
):
    options = {"delta_softplus": True, "discretization": discretization}
    with torch.no_grad():
        for seed in range(3):
            arguments = given(batch, groups, channels, length, states, layout, whole, seed)
            y = selective_scan(*arguments, **options)
            expected, _ = selective_scan(*arguments, **options, return_last_state=True)
            assert len(runs) == seed + 1
            assert torch.equal(y, expected)
            assert y.shape == expected.shape and y.stride() == expected.stride()
    with use_backend("reference"), torch.no_grad():
        wanted = selective_scan(*(None if x is None else x.double() for x in arguments), **options)
    assert (y - wanted).norm() <= 1e-5 * wanted.norm()
    assert len(prepared._ready) == 1


def test_what_wants_a_gradient_goes_the_long_way(runs):
    u, *rest = given(1, 1, 4, 10, 3, "first", False)
    selective_scan(u.requires_grad_(), *rest, delta_softplus=True).sum().backward()
    assert u.grad is not None and not runs


def test_a_number_of_signatures_is_kept(runs):
    for length in range(1, 3 * prepared.MOST):
        with torch.no_grad():
            selective_scan(*given(1, 1, 2, length, 2, "first", False))
    assert 0 < len(prepared._ready) <= prepared.MOST


def test_a_wrong_shape_is_named_whatever_was_run_before(runs):
    arguments = list(given(1, 1, 4, 10, 3, "first", False))
    with torch.no_grad():
        selective_scan(*arguments)
        arguments[1] = arguments[1][..., :9]
        for _ in range(2):
            with pytest.raises(ValueError, match="delta must have shape"):
                selective_scan(*arguments)


def test_constant_b_and_orders_go_the_long_way(runs):
    u, delta, A, _, C, *_ = given(1, 1, 4, 10, 3, "first", False)
    with torch.no_grad():
        y = selective_scan(u, delta, A, torch.ones(4, 3), C)
        assert torch.allclose(y, selective_scan(u, delta, A, torch.ones(1, 3, 10), C), atol=1e-5)
        turned = selective_scan(u, delta, A, C, C, order=torch.arange(9, -1, -1))
        flipped = selective_scan(*(x.flip(-1) for x in (u, delta)), A, C.flip(-1), C.flip(-1)).flip(-1)
    assert torch.allclose(turned, flipped, atol=1e-6)
    assert len(runs) == 2  # those with B and C for each token, in their own order
