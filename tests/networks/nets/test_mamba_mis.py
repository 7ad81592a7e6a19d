from __future__ import annotations

import pytest
import torch
from monai.losses import DeepSupervisionLoss, DiceCELoss

from medssm_monai.networks.blocks import BFSS, DirectionalS6
from medssm_monai.networks.nets import MambaMIS, mamba_mis_b, mamba_mis_l, mamba_mis_s

SMALL = {"img_size": 64, "base_dim": 8, "d_state": 4}


@pytest.mark.parametrize(
    ("variant", "count"), [(mamba_mis_s, 2_939_460), (mamba_mis_b, 4_280_588), (mamba_mis_l, 9_064_020)]
)
def test_parameter_counts(variant, count):
    assert sum(p.numel() for p in variant().parameters()) == count


def test_the_identity_leaves_out_the_scans_and_nothing_else():
    """But for the LayerNorms of two equal values: 4 levels' spatial attention, and the channels of 8 and 16."""
    whole, identity = mamba_mis_s(**SMALL), mamba_mis_s(**SMALL, scan="identity")
    scans = [p for m in whole.modules() if isinstance(m, DirectionalS6) for p in m.parameters()]
    ones = sum(m.fuse[1].out_features == 1 for m in whole.modules() if isinstance(m, BFSS))
    count = sum(p.numel() for p in whole.parameters()) - sum(p.numel() for p in scans) - 4 * ones
    assert sum(p.numel() for p in identity.parameters()) == count and ones == 4 + 2
    names = set(dict(whole.named_parameters())) - set(dict(identity.named_parameters()))
    assert all(".s6." in name or ".fuse.0." in name for name in names)
    assert set(dict(identity.named_parameters())) <= set(dict(whole.named_parameters()))


@pytest.mark.parametrize(
    ("arguments", "input_shape", "output_shape"),
    [
        ({}, (2, 3, 64, 64), (2, 1, 64, 64)),
        ({"in_channels": 1, "out_channels": 4}, (1, 1, 64, 96), (1, 4, 64, 96)),
        ({"img_size": (32, 96)}, (1, 3, 96, 32), (1, 1, 96, 32)),
        ({"scan": "ss2d", "discretization": "euler"}, (1, 3, 32, 32), (1, 1, 32, 32)),
    ],
)
def test_shape(arguments, input_shape, output_shape):
    net = mamba_mis_s(**{**SMALL, **arguments}).eval()
    with torch.no_grad():
        assert net(torch.rand(input_shape)).shape == output_shape


@pytest.mark.parametrize(
    "ablation",
    [
        {},
        {"scan": "ss2d"},
        {"scan": "identity"},
        {"spectral_gate": False},
        {"attention_bridge": False},
        {"fusion_bridge": False},
        {"attention_bridge": False, "fusion_bridge": False},
        {"block": "conv"},
        {"block": "vit"},
        {"discretization": "euler"},
        {"dropout": 0.2},
    ],
    ids=str,
)
def test_every_ablation_trains_a_step_with_finite_gradients(ablation):
    torch.manual_seed(0)
    net = mamba_mis_s(**SMALL, **ablation)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    image, label = torch.rand(2, 3, 64, 32), (torch.rand(2, 1, 64, 32) > 0.5).float()
    loss = DiceCELoss(sigmoid=True)(net(image), label)
    loss.backward()
    missing = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not missing
    before = [p.detach().clone() for p in net.parameters()]
    optimizer.step()
    assert any(not torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


@pytest.mark.parametrize("base", [32, 64])
def test_checkpoint_of_one_size_serves_another(base):
    torch.manual_seed(0)
    built = mamba_mis_s(**{**SMALL, "img_size": base}).eval()
    other = mamba_mis_s(**{**SMALL, "img_size": 96}).eval()
    other.load_state_dict(built.state_dict())
    image = torch.rand(1, 3, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(other(image), built(image), rtol=1e-4, atol=1e-5)


def test_dropout_makes_passes_differ_in_training_mode_only():
    net = mamba_mis_s(**SMALL, dropout=0.3)
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert not torch.equal(net(image), net(image))
        net.eval()
        assert torch.equal(net(image), net(image))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"spatial_dims": 3}, "spatial_dims=2"),
        ({"img_size": 100}, "multiples of 32"),
        ({"block": "swin"}, "bsss"),
        ({"scan": "zigzag"}, "bfss"),
        ({"depths": (1, 2)}, "depths"),
        ({"base_dim": 4}, "base_dim"),
        ({"discretization": "trapezoid"}, "discretization"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        MambaMIS(**{**SMALL, **arguments})


def test_bad_input_size_is_named():
    with pytest.raises(ValueError, match=r"\(40, 64\).*multiples of 32.*sliding window"):
        mamba_mis_s(**SMALL)(torch.rand(1, 3, 40, 64))


def test_deep_supervision_gives_logits_of_four_sizes_in_training_and_the_same_predictions():
    plain = mamba_mis_s(**SMALL, out_channels=2).eval()
    deep = mamba_mis_s(**SMALL, out_channels=2, deep_supervision=True)
    assert deep.load_state_dict(plain.state_dict(), strict=False).missing_keys == [
        f"supervision_heads.{level}.{name}" for level in range(3) for name in ("weight", "bias")
    ]
    image, label = torch.rand(2, 3, 64, 96), (torch.rand(2, 2, 64, 96) > 0.5).float()
    predictions = deep(image)
    assert [tuple(p.shape) for p in predictions] == [(2, 2, 64 // s, 96 // s) for s in (1, 4, 8, 16)]
    DeepSupervisionLoss(DiceCELoss(sigmoid=True))(predictions, label).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in deep.supervision_heads.parameters())
    with torch.no_grad():
        assert torch.equal(deep.eval()(image), plain(image))


def test_without_deep_supervision_nothing_is_added():
    assert not [name for name in mamba_mis_s(**SMALL).state_dict() if "supervision" in name]
