from __future__ import annotations

import pytest
import torch
from monai.networks.nets import UNet, ViT, resnet18
from torch import nn

from medssm_monai.networks.blocks import AttentionBlock, GatedConvMixer, MambaMixer
from medssm_monai.networks.complexity import count_complexity
from medssm_monai.networks.nets import mamba_mis_3d_s, mamba_mis_s, medconvmamba_s, medconvmamba_t
from medssm_monai.ops import use_backend

GIGA = 1e9


@pytest.mark.parametrize(
    ("variant", "arguments", "convolutions", "rest"),
    [
        (medconvmamba_t, {}, 1.85, 1.34),
        (medconvmamba_s, {}, 7.34, 5.21),
        (medconvmamba_t, {"depth": 3}, 0.81, None),
        (medconvmamba_t, {"depth": 14}, 3.67, None),
    ],
    ids=["T", "S", "depth 3", "depth 14"],
)
def test_medconvmamba_by_both_conventions(variant, arguments, convolutions, rest):
    """``convolutions`` are the paper's GFLOPs (tables I and III: 1.8, 7.3, 0.8, 3.7)."""
    with torch.device("meta"):
        net = variant(num_classes=4, **arguments)
    cost = count_complexity(net, (3, 224, 224))
    assert round(cost.convolutions / GIGA, 2) == convolutions
    if rest is not None:
        assert round((cost.total - cost.convolutions) / GIGA, 2) == rest


def test_medconvmamba_to_the_last_operation():
    cost = count_complexity(medconvmamba_t(num_classes=4, depth=1, img_size=32), (3, 32, 32))
    tokens, inner = 16, 384
    assert cost.convolutions == tokens * (192 * 3 * 8 * 8 + 192 * 192 * 9)
    assert cost.token_convolutions == tokens * inner * 4
    assert cost.products == tokens * (192 * 2 * inner + inner * 44 + 12 * inner + inner * 192) + 192 * 4
    assert cost.scan_flops == 9 * tokens * inner * 16
    assert cost.total == cost.convolutions + cost.token_convolutions + cost.products


def test_scan_of_the_paper_size_is_about_a_third_of_a_gigaflop():
    with torch.device("meta"):
        net = medconvmamba_t(num_classes=4)
    assert round(count_complexity(net, (3, 224, 224)).scan_flops / GIGA, 2) == 0.30


@pytest.mark.parametrize(("orders", "groups"), [("forward", 1), ("cross", 4)])
@pytest.mark.parametrize("backend", ["auto", "blocked", "reference"])
def test_the_count_does_not_depend_on_the_backend(backend, orders, groups):
    net = nn.Sequential(nn.Unflatten(1, (4, 5, 32)), MambaMixer(32, d_state=4, orders=orders))
    with use_backend(backend):
        cost = count_complexity(net, (640,))
    assert cost.scan_flops == 9 * 20 * groups * 64 * 4
    assert cost.token_convolutions == 20 * groups * 64 * 4
    assert cost.products == 20 * (32 * 128 + groups * (64 * 10 + 2 * 64) + 64 * 32)


def test_nothing_is_scanned_where_the_scan_is_the_identity():
    cost = count_complexity(GatedConvMixer(8), (4, 5, 8))
    assert (cost.scan_flops, cost.products) == (0, 20 * (8 * 32 + 16 * 8))


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_attention_is_counted_on_every_device(device):
    cost = count_complexity(AttentionBlock(32).to(device), (4, 5, 32))
    assert cost.products == 20 * 32 * (3 * 32 + 32 + 8 * 32) + 2 * 20 * 20 * 32


@pytest.mark.parametrize("orders", ["forward", "tri_plane"])
def test_meta_and_real_networks_count_alike(orders):
    arguments = {"spatial_dims": 3, "in_channels": 1, "img_size": 32, "depth": 1, "orders": orders}
    real = count_complexity(medconvmamba_t(**arguments), (1, 32, 32, 32))
    with torch.device("meta"):
        assert count_complexity(medconvmamba_t(**arguments), (1, 32, 32, 32)) == real


def test_mamba_mis_counts_each_of_its_scans():
    net = mamba_mis_s(img_size=32, attention_bridge=False)
    cost = count_complexity(net, (3, 32, 32))
    tokens_channels_blocks = [(64, 16, 1 + 1), (16, 32, 2 + 2), (4, 64, 2 + 2), (1, 128, 2 + 2), (1024, 8, 1)]
    assert cost.scan_flops == 9 * sum(2 * 32 * t * c * n for t, c, n in tokens_channels_blocks)  # rows, columns; N = 32


def test_mamba_mis_of_volumes_counts_three_scans_a_block():
    net = mamba_mis_3d_s(img_size=32, attention_bridge=False)
    cost = count_complexity(net, (1, 32, 32, 32))
    tokens_channels_blocks = [(512, 16, 1 + 1), (64, 32, 2 + 2), (8, 64, 2 + 2), (1, 128, 2 + 2), (32768, 8, 1)]
    assert cost.scan_flops == 9 * sum(3 * 32 * t * c * n for t, c, n in tokens_channels_blocks)  # one an axis; N = 32


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_strides_groups_and_transposed_convolutions(spatial_dims):
    from monai.networks.layers import Conv

    conv, transposed = Conv["conv", spatial_dims], Conv["convtrans", spatial_dims]
    net = nn.Sequential(
        conv(4, 8, 3, stride=2, padding=1),
        conv(8, 8, 3, padding=1, groups=8),
        transposed(8, 2, 2, stride=2),
    )
    small = 4**spatial_dims  # from 8 pixels along each axis
    expected = small * (4 * 8 * 3**spatial_dims + 8 * 3**spatial_dims + 8 * 2 * 2**spatial_dims)
    cost = count_complexity(net, (4, *[8] * spatial_dims))
    assert (cost.convolutions, cost.total) == (expected, expected)


@pytest.mark.parametrize(
    ("build", "shape", "gigamacs"),
    [
        # torchvision publishes 1.81 GMAC for ResNet-18 with 1000 classes
        (
            lambda: resnet18(spatial_dims=2, n_input_channels=3, num_classes=1000, conv1_t_stride=2),
            (3, 224, 224),
            1.814,
        ),
        # 12 blocks of 12 D² L (linear layers) + 2 D L² (attention), and the patch embedding
        (
            lambda: ViT(3, (64, 64), (16, 16), spatial_dims=2, hidden_size=64, mlp_dim=256, num_heads=4),
            (3, 64, 64),
            (12 * (12 * 64 * 64 * 16 + 2 * 64 * 16 * 16) + 16 * 3 * 16 * 16 * 64) / GIGA,
        ),
        (lambda: UNet(3, 1, 2, channels=(4, 8), strides=(2,)), (1, 16, 16, 16), None),
    ],
    ids=["ResNet-18", "ViT", "3D U-Net"],
)
def test_monai_networks(build, shape, gigamacs):
    with torch.device("meta"):
        net = build()
    cost = count_complexity(net, shape)
    assert cost.parameters == sum(p.numel() for p in net.parameters())
    assert cost.scan_flops == 0
    if gigamacs is None:
        assert cost.convolutions == cost.total > 0
    else:
        assert cost.total / GIGA == pytest.approx(gigamacs, rel=5e-3)


def test_network_is_left_as_it_was():
    net = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5).eval(), MambaMixer(4, spatial_dims=1))
    count_complexity(net, (6, 4))
    assert net.training and not net[1].training and net[2].training
    assert not net[2]._forward_hooks
    with pytest.raises(RuntimeError):
        count_complexity(net, (6, 5))
    assert net.training and not net[2]._forward_hooks


def test_missing_shape_is_named():
    with pytest.raises(ValueError, match="shape of each input"):
        count_complexity(nn.Linear(2, 2))
