from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from medssm_monai.networks.layers import ScanOrder
from medssm_monai.networks.nets import MedConvMamba, medconvmamba_s, medconvmamba_t

SMALL = {"num_classes": 3, "img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 2, "d_state": 4}


@pytest.mark.parametrize(
    ("variant", "arguments", "count"),
    [
        (medconvmamba_t, {}, 4_125_316),
        (medconvmamba_t, {"depth": 3}, 1_789_828),
        (medconvmamba_t, {"depth": 14}, 8_212_420),
        (medconvmamba_t, {"patch_size": 14}, 4_201_348),
        (medconvmamba_t, {"patch_size": 16}, 4_235_908),
        (medconvmamba_s, {}, 16_121_092),
        (medconvmamba_t, {"fusion": "flatten"}, 4_726_660),
        (medconvmamba_t, {"fusion": "conv"}, 33_026_884),
        (medconvmamba_t, {"fusion": "dwconv"}, 4_276_036),
        # in place of 8*8*3*192 + 192: 9*3*48, 9*48*96, 9*96*192, twice 48+96+192, 192*192 + 192
        (medconvmamba_t, {"stem": "conv"}, 4_125_316 - 37_056 + 1_296 + 41_472 + 165_888 + 672 + 37_056),
        # without the scan: x_proj 384*44, dt_proj 384*13, A_log 384*16 and D 384 are gone from each of 7 blocks
        (medconvmamba_t, {"scan": "identity"}, 4_125_316 - 7 * 384 * (44 + 13 + 16 + 1)),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_parameter_counts(variant, arguments, count):
    with torch.device("meta"):
        net = variant(num_classes=4, **arguments)
    assert sum(p.numel() for p in net.parameters()) == count


@pytest.mark.parametrize(
    ("arguments", "input_shape", "output_shape"),
    [
        ({}, (2, 3, 16, 16), (2, 3)),
        ({}, (1, 3, 24, 40), (1, 3)),
        ({}, (1, 3, 17, 30), (1, 3)),
        ({}, (1, 3, 2, 3), (1, 3)),
        ({"in_channels": 1, "num_classes": 5}, (2, 1, 28, 28), (2, 5)),
        ({"fusion": "flatten", "img_size": (16, 10)}, (2, 3, 16, 10), (2, 3)),
        ({"stem": "conv"}, (2, 3, 17, 30), (2, 3)),
        ({"stem": "conv", "patch_size": 16, "fusion": "flatten", "img_size": (16, 40)}, (2, 3, 16, 40), (2, 3)),
        ({"stem": "conv", "spatial_dims": 3, "in_channels": 1}, (2, 1, 16, 12, 9), (2, 3)),
        ({"orders": "cross"}, (2, 3, 16, 16), (2, 3)),
        ({"orders": [ScanOrder((1, 0), True)]}, (2, 3, 16, 16), (2, 3)),
        ({"spatial_dims": 3, "in_channels": 1}, (2, 1, 16, 12, 9), (2, 3)),
        ({"spatial_dims": 3, "in_channels": 1, "orders": "tri_plane"}, (1, 1, 16, 16, 16), (1, 3)),
        ({"spatial_dims": 3, "fusion": "conv", "img_size": (8, 12, 16)}, (1, 3, 8, 12, 16), (1, 3)),
    ],
    ids=str,
)
def test_shape(arguments, input_shape, output_shape):
    net = MedConvMamba(**{**SMALL, **arguments}).eval()
    with torch.no_grad():
        assert net(torch.rand(input_shape)).shape == output_shape


@pytest.mark.parametrize(
    "ablation",
    [
        {},
        {"depth": 3},
        {"patch_size": 8},
        {"fusion": "flatten"},
        {"fusion": "conv"},
        {"fusion": "dwconv"},
        {"scan": "identity"},
        {"orders": "cross", "scan": "identity"},
        {"orders": "bidirectional"},
        {"discretization": "zoh"},
        {"dropout": 0.2},
        {"spatial_dims": 3},
        {"stem": "conv"},
        {"stem": "conv", "spatial_dims": 3},
    ],
    ids=str,
)
def test_every_ablation_learns_a_batch(ablation):
    torch.manual_seed(0)
    net = MedConvMamba(**{**SMALL, **ablation})
    optimizer = torch.optim.AdamW(net.parameters(), lr=5e-3)
    image, label = torch.randn(6, 3, *[16] * ablation.get("spatial_dims", 2)), torch.tensor([0, 1, 2, 0, 1, 2])
    losses = []
    for _ in range(12):
        loss = torch.nn.functional.cross_entropy(net(image), label)
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_padding_adds_zeros_at_the_bottom_and_right_only():
    torch.manual_seed(0)
    net, image = MedConvMamba(**SMALL).eval(), torch.rand(1, 3, 14, 15)
    padded = torch.zeros(1, 3, 16, 16)
    padded[..., :14, :15] = image
    with torch.no_grad():
        torch.testing.assert_close(net(image), net(padded), rtol=0, atol=0)


def test_meta_tensor_gives_the_same_plain_logits():
    net, image = MedConvMamba(**SMALL).eval(), torch.rand(1, 3, 16, 16)
    logits = net(MetaTensor(image))
    assert type(logits) is torch.Tensor
    torch.testing.assert_close(logits, net(image))


def test_dropout_makes_passes_differ_in_training_mode_only():
    net, image = MedConvMamba(**SMALL, dropout=0.3), torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert not torch.equal(net(image), net(image))
        net.eval()
        assert torch.equal(net(image), net(image))


@pytest.mark.parametrize("stem", ["patch", "conv"])
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_exports_and_traces_to_the_same_logits(spatial_dims, stem):
    net = MedConvMamba(**{**SMALL, "spatial_dims": spatial_dims, "stem": stem}).eval()
    image = torch.rand(2, 3, *[12] * spatial_dims)
    with torch.no_grad():
        expected = net(image)
        exported = torch.export.export(net, (image,)).module()
        for run in (exported, torch.jit.trace(net, image, check_trace=False)):
            torch.testing.assert_close(run(image), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"spatial_dims": 1}, "spatial_dims must be 2 or 3"),
        ({"fusion": "mean"}, "gap"),
        ({"orders": "tri_plane"}, "no scan set for spatial_dims=2"),
        ({"discretization": "trapezoid"}, "discretization"),
        ({"scan": "none"}, "identity"),
        ({"num_classes": 0}, "num_classes"),
        ({"depth": 0}, "depth"),
        ({"stem": "convolution"}, r"stem must be one of \('patch', 'conv'\), got 'convolution'"),
        ({"stem": "conv", "patch_size": 14}, "patch_size must be 2, 4, 8, 16 or a further power of 2, got 14"),
        ({"stem": "conv", "patch_size": 1}, "power of 2, got 1"),
        ({"stem": "conv", "patch_size": 16, "embed_dim": 4}, "embed_dim of at least 8, got 4"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        MedConvMamba(**{**SMALL, **arguments})


@pytest.mark.parametrize("fusion", ["flatten", "conv", "dwconv"])
def test_fusions_of_one_size_refuse_another(fusion):
    with pytest.raises(ValueError, match=r"img_size=\(16, 16\).*\(16, 20\).*gap"):
        MedConvMamba(**SMALL, fusion=fusion)(torch.rand(1, 3, 16, 20))


@pytest.mark.parametrize("shape", [(1, 1, 16, 16), (3, 16, 16), (1, 3, 16, 16, 16)])
def test_images_of_other_axes_or_channels_are_refused(shape):
    with pytest.raises(ValueError, match=r"\(B, 3, H, W\)"):
        MedConvMamba(**SMALL)(torch.rand(shape))
