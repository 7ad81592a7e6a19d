from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from torch import nn

import medssm_monai
from medssm_monai.visualize import grad_cam, weak_activations


class Toy(nn.Module):
    """Convolution → ReLU in place → average → linear layer: its Grad-CAM has a closed form."""

    def __init__(self, channels_last: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 6, 3, padding=1)
        self.layout = Permute() if channels_last else nn.Identity()
        self.act = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(6, 4)
        self.unused = nn.Conv2d(2, 2, 1)
        self.channels_last = channels_last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.act(self.layout(self.conv(x)))
        return self.head(self.drop(maps.mean((1, 2) if self.channels_last else (2, 3))))


class Permute(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.movedim(1, -1)


def closed_form(net: Toy, x: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """At the ReLU: ``relu(Σ_c w[k, c] / (H W) · a_c)`` (the head sees the average of ``a``)."""
    with torch.no_grad():
        maps = net.conv(x).relu()
        return torch.einsum("bc,bchw->bhw", net.head.weight[classes], maps).relu() / maps[0, 0].numel()


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("frozen", [False, True])
def test_each_image_has_the_closed_form_of_its_own_predicted_class(channels_last, frozen):
    torch.manual_seed(0)
    net = Toy(channels_last).eval().requires_grad_(not frozen)
    x = torch.randn(12, 2, 7, 9)
    predicted = net(x).argmax(1)
    assert len(predicted.unique()) > 1
    maps = grad_cam(net, MetaTensor(x), "act", channel_dim=-1 if channels_last else 1)
    assert maps.shape == (12, 1, 7, 9)
    torch.testing.assert_close(maps[:, 0], closed_form(net, x, predicted))
    alone = torch.cat([grad_cam(net, x[i : i + 1], "act", channel_dim=-1 if channels_last else 1) for i in range(12)])
    torch.testing.assert_close(maps, alone)


@pytest.mark.parametrize("classes", [2, [0, 3, 1], torch.tensor([1, 1, 2])])
def test_classes_can_be_chosen_and_layers_followed_in_place_work(classes):
    torch.manual_seed(1)
    net, x = Toy(), torch.randn(3, 2, 8, 8)
    chosen = torch.as_tensor(classes).expand(3)
    torch.testing.assert_close(grad_cam(net, x, "act", classes)[:, 0], closed_form(net, x, chosen))
    with torch.no_grad():  # at the convolution, before the ReLU: weights are the mean over the places that pass
        pre = net.conv(x)
        weights = net.head.weight[chosen][..., None, None] * (pre > 0) / 64
        expected = (weights.mean((2, 3), keepdim=True) * pre).sum(1).relu()
    torch.testing.assert_close(grad_cam(net, x, "conv", classes)[:, 0], expected)


def test_network_is_left_as_it_was():
    net = Toy().train()
    net.head.eval()
    before = copy.deepcopy(net.state_dict())
    x = torch.randn(2, 2, 8, 8)
    grad_cam(net, x, "conv")
    with pytest.raises(ValueError, match="did not run"):
        grad_cam(net, x, "unused")
    assert net.training and net.drop.training and not net.head.training and net.act.inplace and not x.requires_grad
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    assert not any(m._forward_hooks or m._backward_hooks for m in net.modules())
    assert all(torch.equal(v, before[n]) for n, v in net.state_dict().items())


SMALL_MEDSPECTRALNET = {"num_classes": 3, "layers": (1, 1, 1, 1)}
SMALL_MAMBA_MIS = {"img_size": 64, "base_dim": 8, "d_state": 4, "out_channels": 2}


@pytest.mark.parametrize(
    ("name", "arguments", "layer", "options"),
    [
        ("medspectralnet", SMALL_MEDSPECTRALNET, "context_gate", {}),
        ("medspectralnet", SMALL_MEDSPECTRALNET, "spectral_flow2", {"class_index": 2}),
        ("medspectralnet", SMALL_MEDSPECTRALNET, "trunk.layer4.0.bn2", {}),
        ("medspectralnet", SMALL_MEDSPECTRALNET, "context_gate.context.0", {}),
        ("medconvmamba_t", {"num_classes": 3, "depth": 2}, "blocks.1", {"channel_dim": -1}),
        ("medconvmamba_t", {"num_classes": 3, "depth": 2}, "blocks.0.conv", {}),
        ("mamba_mis_s", SMALL_MAMBA_MIS, "decoder.4", {"channel_dim": -1, "class_index": 1}),
    ],
    ids=str,
)
def test_registered_networks(name, arguments, layer, options):
    torch.manual_seed(0)
    net = medssm_monai.get_network(name, **arguments)
    maps = grad_cam(net, torch.rand(2, 3, 96, 128), layer, **options)
    assert maps.shape == (2, 1, 96, 128) and maps.isfinite().all() and (maps >= 0).all() and maps.max() > 0
    assert not maps.requires_grad


def test_volumes():
    net = medssm_monai.get_network("medspectralnet", spatial_dims=3, in_channels=1, layers=(1, 1, 1, 1))
    assert grad_cam(net, torch.rand(1, 1, 96, 96, 96), "context_gate", 0).shape == (1, 1, 96, 96, 96)


@pytest.mark.parametrize(
    ("layer", "options", "message"),
    [
        ("nothing", {}, "no layer 'nothing'; its outer layers are: conv, layout, act, drop, head, unused"),
        ("", {}, "no layer ''"),
        ("head", {}, r"shape \(2, 4\), not a map of 2 spatial axes"),
        ("conv", {"class_index": 4}, r"0\.\.3"),
        ("conv", {"class_index": [0, 1, 2]}, "one class or 2"),
        ("conv", {"channel_dim": 2}, "channel_dim"),
    ],
)
def test_bad_arguments_are_named(layer, options, message):
    with pytest.raises(ValueError, match=message):
        grad_cam(Toy(), torch.rand(2, 2, 8, 8), layer, **options)


def test_pixelwise_logits_need_a_class():
    net = medssm_monai.get_network("mamba_mis_s", **SMALL_MAMBA_MIS)
    with pytest.raises(ValueError, match="needs class_index"):
        grad_cam(net, torch.rand(1, 3, 64, 64), "head")


@pytest.mark.parametrize("as_tensor", [False, True])
def test_weak_activations_are_below_a_share_of_the_median_peak(as_tensor):
    peaks = [4.0, 3.9, 1.01, 0.99, 0.0, 8.0, 4.1]  # median 3.9
    maps = np.zeros((7, 1, 5, 5))
    maps[:, 0, 2, 3] = peaks
    values = torch.as_tensor(maps) if as_tensor else maps
    assert weak_activations(values).tolist() == [False, False, False, False, True, False, False]
    assert weak_activations(values, threshold=0.255).tolist() == [False, False, False, True, True, False, False]
    assert weak_activations(maps[:1]).tolist() == [False] and weak_activations(maps[4:5]).tolist() == [True]
    assert weak_activations(maps[:1], reference=20.0).tolist() == [True]
