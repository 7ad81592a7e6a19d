"""Stochastic depth: which branch is dropped how often, and that nothing changes without it."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F

from medssm_monai.networks.layers import BranchDropout, set_drop_path
from medssm_monai.registry import get_network

SMALL = {
    "mamba_mis_s": ({"base_dim": 8, "d_state": 4, "img_size": 32}, (2, 3, 32, 32)),
    "medconvmamba_t": ({"embed_dim": 16, "depth": 3, "d_state": 4}, (2, 3, 16, 16)),
    "clinical_fmamba_2d": ({"depth": 1, "exchange_rounds": 1, "decoder_depth": 1}, (2, 2, 16, 16)),
}
every_network = pytest.mark.parametrize("name", SMALL)


def branch(p=0.0, rate=0.0):
    layer = BranchDropout(p)
    set_drop_path(rate, layer)
    return layer


def test_whole_samples_are_dropped_and_the_others_scaled():
    torch.manual_seed(0)
    x = torch.rand(4000, 3, 2) + 1
    ratio = branch(rate=0.25)(x) / x
    torch.testing.assert_close(ratio, ratio[:, :1, :1].expand_as(ratio))
    kept = ratio[:, 0, 0] > 0
    torch.testing.assert_close(ratio[kept], torch.full_like(ratio[kept], 1 / 0.75))
    assert abs(kept.float().mean() - 0.75) < 4 * math.sqrt(0.75 * 0.25 / 4000)


def test_without_it_values_and_random_numbers_are_those_of_dropout():
    x = torch.rand(5, 4)
    for p in (0.0, 0.4):
        torch.manual_seed(1)
        found, after = branch(p)(x), torch.rand(3)
        torch.manual_seed(1)
        assert torch.equal(found, F.dropout(x, p)) and torch.equal(after, torch.rand(3))
    assert branch(0.4, 0.4).eval()(x) is x
    assert not branch().active and branch(0.1).active and branch(0, 0.1).active and not branch(0, 0.1).eval().active


def test_the_rate_rises_from_branch_to_branch():
    stages = nn.Sequential(branch(), nn.ReLU(), branch()), branch(), branch()
    set_drop_path(0.2, *stages)
    rates = [layer.path.drop_prob for stage in stages for layer in stage.modules() if isinstance(layer, BranchDropout)]
    assert rates == pytest.approx([0.05, 0.1, 0.15, 0.2])
    set_drop_path(0.2)  # nothing to set


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_a_rate_outside_its_range(rate):
    with pytest.raises(ValueError, match="drop_path must be at least 0 and below 1"):
        set_drop_path(rate, branch())


@every_network
def test_a_network_with_it_has_the_same_parameters_and_answers(name):
    arguments, shape = SMALL[name]
    torch.manual_seed(0)
    plain = get_network(name, **arguments)
    dropping = get_network(name, **arguments, drop_path=0.5)
    assert list(dropping.state_dict()) == list(plain.state_dict())
    dropping.load_state_dict(plain.state_dict())
    image = torch.rand(shape)
    with torch.no_grad():
        assert torch.equal(dropping.eval()(image), plain.eval()(image))
        expected = copy.deepcopy(plain).train()(image)
        none = get_network(name, **arguments, drop_path=0.0).train()
        none.load_state_dict(plain.state_dict())
        assert torch.equal(none(image), expected)
        torch.manual_seed(2)
        assert not torch.allclose(dropping.train()(image), expected)


@every_network
def test_the_last_block_of_the_path_has_the_full_rate(name):
    arguments, _ = SMALL[name]
    rates = [
        layer.path.drop_prob
        for layer in get_network(name, **arguments, drop_path=0.3).modules()
        if isinstance(layer, BranchDropout)
    ]
    assert max(rates) == pytest.approx(0.3) and 0 < min(rates) < 0.15


def test_both_sources_of_a_fusion_are_treated_alike():
    arguments, _ = SMALL["clinical_fmamba_2d"]
    network = get_network("clinical_fmamba_2d", **arguments, drop_path=0.3)
    for a, b in ((network.mamba_a, network.mamba_b), (network.cross_a, network.cross_b)):
        first, second = ([m.path.drop_prob for m in x.modules() if isinstance(m, BranchDropout)] for x in (a, b))
        assert first == second
