"""Every parameter lies in one group, and which one its layer decides."""

from __future__ import annotations

import copy
import math
import re

import pytest
import torch
import torch.nn as nn
from monai.networks.nets import UNet, resnet18

from medssm_monai.optimizers import parameter_groups, require_same_groups
from medssm_monai.registry import get_network

SMALL = {
    "mamba_mis_s": {"base_dim": 8, "d_state": 4, "img_size": 32},
    "medconvmamba_t": {"embed_dim": 16, "depth": 1, "d_state": 4, "orders": "cross"},
    "medspectralnet": {"layers": (1, 1, 1, 1)},
    "clinical_fmamba_2d": {"depth": 1, "exchange_rounds": 1, "decoder_depth": 1},
}
NETWORKS = {
    **{name: lambda name=name: get_network(name, **SMALL[name]) for name in SMALL},
    "unet": lambda: UNet(2, 3, 1, (4, 8), (2,)),
    "resnet18": lambda: resnet18(spatial_dims=2, n_input_channels=3, num_classes=2),
}
SPARED = re.compile(r"(^|\.)(bias|A_log|D)$")
STEERING = re.compile(r"(^|\.)(A_log|D|(x_proj|dt_proj|source_proj|delta_proj|bc_proj)\.(weight|bias))$")


@pytest.fixture(params=NETWORKS, scope="module")
def network(request):
    return NETWORKS[request.param]()


def names(network, group):
    known = {id(parameter): name for name, parameter in network.named_parameters()}
    return {known[id(parameter)] for parameter in group["params"]}


def test_every_parameter_is_in_one_group_and_weights_alone_decay(network):
    decayed, spared = parameter_groups(network, lr=0.1, weight_decay=0.01)
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.01, 0.0)
    expected = {name for name, value in network.named_parameters() if SPARED.search(name) or value.ndim == 1}
    assert names(network, spared) == expected
    assert len(decayed["params"]) + len(spared["params"]) == len(list(network.parameters()))


def test_steps_and_spectral_biases_with_several_axes_are_spared():
    network = NETWORKS["mamba_mis_s"]()
    spared = names(network, parameter_groups(network, lr=0.1, weight_decay=0.01)[1])
    several = {name for name, value in network.named_parameters() if name in spared and value.ndim > 1}
    ends = {re.sub(r".*\.(s6\.)?(\w+\.\w+)$", r"\2", name) for name in several}
    assert ends == {"delta_proj.bias", "spectral.bias", "s6.A_log", "s6.D"}


def test_the_scans_learn_at_their_own_rate(network):
    groups = parameter_groups(network, lr=0.1, weight_decay=0.01, scan_lr_factor=0.5)
    found = {name for group in groups if group["lr"] == 0.05 for name in names(network, group)}
    assert found == {name for name, _ in network.named_parameters() if STEERING.search(name)}
    assert groups[0]["lr"] == 0.1
    spared = {name for group in groups if not group["weight_decay"] for name in names(network, group)}
    assert spared == {n for n, v in network.named_parameters() if SPARED.search(n) or v.ndim == 1}


@pytest.mark.parametrize("options", [{"weight_decay": 0.0}, {"weight_decay": 0.01, "selective_decay": False}])
def test_what_does_not_differ_is_one_group_in_the_network_s_order(network, options):
    (group,) = parameter_groups(network, lr=0.1, **options)
    assert all(a is b for a, b in zip(group["params"], network.parameters(), strict=True))
    assert group["weight_decay"] == options["weight_decay"]


def test_a_step_shrinks_weights_alone():
    network = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    before = copy.deepcopy(network)
    optimizer = torch.optim.AdamW(parameter_groups(network, lr=0.1, weight_decay=0.5))
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(network[0].weight, before[0].weight * (1 - 0.1 * 0.5))
    for name in ("0.bias", "1.weight", "1.bias"):
        assert torch.equal(network.get_parameter(name), before.get_parameter(name))


def test_shared_frozen_and_marked_parameters():
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2), nn.Conv1d(1, 1, 3))
    network[1].weight = network[0].weight
    network[2].requires_grad_(False)
    network[3].weight._no_weight_decay = True
    decayed, spared = parameter_groups(network, lr=0.1, weight_decay=0.01)
    assert names(network, decayed) == {"0.weight"}
    assert names(network, spared) == {"0.bias", "1.bias", "3.weight", "3.bias"}


def test_wrapped_networks_have_the_same_groups():
    network = NETWORKS["medconvmamba_t"]()
    wrapped = nn.DataParallel(network)  # as DistributedDataParallel, in the attribute "module"
    for ours, theirs in zip(
        parameter_groups(wrapped, 0.1, 0.01, 0.5), parameter_groups(network, 0.1, 0.01, 0.5), strict=True
    ):
        assert [id(p) for p in ours["params"]] == [id(p) for p in theirs["params"]]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"lr": 0.0}, "lr must be a finite number above 0, got 0.0"),
        ({"lr": math.nan}, "lr must be"),
        ({"weight_decay": -0.1}, "weight_decay must be a finite number of at least 0, got -0.1"),
        ({"scan_lr_factor": 0}, "scan_lr_factor must be a finite number above 0"),
        ({"scan_lr_factor": math.inf}, "scan_lr_factor must be"),
    ],
)
def test_values_outside_their_range(options, match):
    with pytest.raises(ValueError, match=match):
        parameter_groups(nn.Linear(1, 1), **{"lr": 0.1, **options})


@pytest.mark.parametrize(("network", "frozen"), [(nn.Flatten(), 0), (nn.Linear(1, 1).requires_grad_(False), 2)])
def test_nothing_to_train(network, frozen):
    with pytest.raises(ValueError, match=rf"has no parameter to train \({frozen} are frozen\)"):
        parameter_groups(network, lr=0.1)


def test_a_saved_optimizer_with_other_groups_is_refused_and_says_how_to_go_on():
    network = nn.Linear(2, 2)
    old = torch.optim.AdamW(network.parameters()).state_dict()
    now = torch.optim.AdamW(parameter_groups(network, lr=0.1, weight_decay=0.01))
    with pytest.raises(
        ValueError, match=r"run.pt: .* 1 parameter groups with \[2\].* 2 with \[1, 1\].*--selective_decay"
    ):
        require_same_groups(now, old, "run.pt")
    other = torch.optim.AdamW(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)).parameters()).state_dict()
    with pytest.raises(ValueError, match="state of another training"):
        require_same_groups(now, other, "run.pt")
    require_same_groups(now, now.state_dict(), "run.pt")
