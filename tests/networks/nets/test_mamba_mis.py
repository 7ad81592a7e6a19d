from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.losses import DeepSupervisionLoss, DiceCELoss

from medssm_monai.networks.blocks import BFSS, DirectionalS6, SpectralGate
from medssm_monai.networks.nets import (
    MambaMIS,
    mamba_mis_3d_b,
    mamba_mis_3d_s,
    mamba_mis_b,
    mamba_mis_l,
    mamba_mis_s,
)
from medssm_monai.ops import available_backends, use_backend

SMALL = {"img_size": 64, "base_dim": 8, "d_state": 4}
VOLUME = {"img_size": 32, "base_dim": 8, "d_state": 4, "depths": (1, 1, 1, 1), "decoder_depths": (1, 1, 1, 1, 1)}
THIN = {**VOLUME, "img_size": 16, "strides": (4, 2, 2, 1)}


@pytest.mark.parametrize(
    ("variant", "count"),
    [
        (mamba_mis_s, 2_939_460),
        (mamba_mis_b, 4_280_588),
        (mamba_mis_l, 9_064_020),
        (mamba_mis_3d_s, 2_093_058),
        (mamba_mis_3d_b, 2_481_594),
    ],
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
        ({"instance_norm": True}, (1, 3, 64, 32), (1, 1, 64, 32)),
        ({"scan": "ss2d", "discretization": "euler"}, (1, 3, 32, 32), (1, 1, 32, 32)),
    ],
)
def test_shape(arguments, input_shape, output_shape):
    net = mamba_mis_s(**{**SMALL, **arguments}).eval()
    with torch.no_grad():
        assert net(torch.rand(input_shape)).shape == output_shape


@pytest.mark.parametrize(
    ("arguments", "input_shape", "output_shape"),
    [
        ({}, (2, 1, 32, 32, 32), (2, 1, 32, 32, 32)),
        ({"in_channels": 4, "out_channels": 3}, (1, 4, 32, 64, 32), (1, 3, 32, 64, 32)),
        ({"scan": "ss2d", "discretization": "euler"}, (1, 1, 32, 32, 32), (1, 1, 32, 32, 32)),
        ({"img_size": 16, "strides": (4, 2, 2, 1)}, (1, 1, 16, 48, 32), (1, 1, 16, 48, 32)),
        (
            {"img_size": (32, 32, 4), "strides": ((4, 4, 1), 2, (2, 2, 1), (2, 2, 2))},
            (1, 1, 32, 64, 12),
            (1, 1, 32, 64, 12),
        ),
        ({"img_size": (8, 32, 32), "strides": ((1, 4, 4), (2, 2, 2), 2, 2)}, (1, 1, 8, 32, 32), (1, 1, 8, 32, 32)),
        ({"img_size": (32, 32, 1), "strides": ((4, 4, 1), *[(2, 2, 1)] * 3)}, (1, 1, 32, 32, 3), (1, 1, 32, 32, 3)),
        ({"spectral_grid": 4}, (1, 1, 32, 32, 32), (1, 1, 32, 32, 32)),
        ({"instance_norm": True}, (2, 1, 32, 32, 64), (2, 1, 32, 32, 64)),
    ],
)
def test_shape_of_volumes(arguments, input_shape, output_shape):
    net = mamba_mis_3d_s(**{**VOLUME, **arguments}).eval()
    with torch.no_grad():
        assert net(torch.rand(input_shape)).shape == output_shape


def test_strides_of_images_are_an_argument_too():
    net = mamba_mis_s(**{**SMALL, "img_size": (16, 64)}, strides=((2, 4), 2, 2, 2))
    with torch.no_grad():
        assert net(torch.rand(1, 3, 16, 96)).shape == (1, 1, 16, 96)


def _grids(net):
    return {m.spatial_size for m in net.modules() if isinstance(m, SpectralGate)}


def test_the_grid_of_spectral_weights_is_bounded():
    volumes = mamba_mis_3d_s(img_size=(64, 64, 32), base_dim=8)
    assert _grids(volumes) == {(16, 16, 16), (16, 16, 8), (8, 8, 4), (4, 4, 2), (2, 2, 1)}
    assert _grids(mamba_mis_3d_s(img_size=32, base_dim=8, spectral_grid=6)) == {(6, 6, 6), (4,) * 3, (2,) * 3, (1,) * 3}
    assert _grids(mamba_mis_s(img_size=64, base_dim=8)) == {(s, s) for s in (64, 16, 8, 4, 2)}
    assert _grids(mamba_mis_s(img_size=64, base_dim=8, spectral_grid=8)) == {(s, s) for s in (8, 4, 2)}


ABLATIONS_3D = [
    {},
    {"scan": "ss2d"},
    {"scan": "tri_plane"},
    {"scan": "identity"},
    {"spectral_gate": False},
    {"attention_bridge": False},
    {"attention_bridge": False, "fusion_bridge": False},
    {"block": "conv"},
    {"block": "vit"},
    {"discretization": "euler"},
    {"dropout": 0.2, "drop_path": 0.2},
]


@pytest.mark.parametrize("ablation", ABLATIONS_3D, ids=str)
def test_every_ablation_trains_a_step_on_volumes_of_several_classes(ablation):
    torch.manual_seed(0)
    net = mamba_mis_3d_s(**THIN, in_channels=2, out_channels=4, **ablation)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    image, label = torch.rand(2, 2, 16, 16, 16), torch.randint(0, 4, (2, 1, 16, 16, 16))
    DiceCELoss(softmax=True, to_onehot_y=True)(net(image), label).backward()
    missing = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not missing
    before = [p.detach().clone() for p in net.parameters()]
    optimizer.step()
    assert any(not torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


def test_what_a_volume_shows_is_learned():
    """Two structures of different brightness, of which neither can be told by where it lies."""
    torch.manual_seed(0)
    label = torch.zeros(2, 32, 32, 32, dtype=torch.long)
    label[0, 4:14, 6:20, 3:16], label[0, 18:30, 8:24, 18:30] = 1, 2
    label[1, 4:14, 6:20, 3:16], label[1, 18:30, 8:24, 18:30] = 2, 1
    image = torch.tensor([-1.0, 0.5, 1.5])[label][:, None] + 0.1 * torch.randn(2, 1, 32, 32, 32)
    net = mamba_mis_3d_s(**VOLUME, strides=(2, 2, 2, 2), out_channels=3)
    optimizer, loss_function = torch.optim.AdamW(net.parameters(), lr=1e-2), DiceCELoss(softmax=True, to_onehot_y=True)
    for _ in range(30):
        optimizer.zero_grad()
        loss_function(net(image), label[:, None]).backward()
        optimizer.step()
    with torch.no_grad():
        found = net.eval()(image).argmax(1)
    for value in (1, 2):
        overlap = ((found == value) & (label == value)).sum() * 2 / ((found == value).sum() + (label == value).sum())
        assert overlap > 0.9


def _passed(net, image, backend):
    net.zero_grad()
    with use_backend(backend):
        y = net(image)
        y.square().mean().backward()
    return [y.detach().double(), *(p.grad.double() for p in net.parameters())]


@pytest.mark.parametrize("backend", ["native", "blocked"])
def test_backends_agree_on_volumes(backend):
    """With the float64 reference; no layer norm over two channels, which would blow rounding up (narrow blocks)."""
    if available_backends()[backend] is not None:
        pytest.skip(f"backend {backend} cannot run here: {available_backends()[backend]}")
    torch.manual_seed(0)
    net = mamba_mis_3d_s(**{**THIN, "base_dim": 24}, attention_bridge=False)
    image = torch.randn(1, 1, 16, 16, 32)
    got = _passed(net, image, backend)
    exact = _passed(net.double(), image.double(), "reference")
    for a, b in zip(got, exact, strict=True):
        assert (a - b).norm() <= 5e-5 * b.norm()


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_trace_of_the_network_of_volumes_takes_any_batch():
    torch.manual_seed(0)
    net = mamba_mis_3d_s(**THIN, out_channels=2).eval().requires_grad_(False)
    images = torch.randn(3, 1, 16, 16, 32)
    expected = net(images)
    traced = torch.jit.trace(net, images[:1], check_trace=False)
    assert (traced(images) - expected).abs().max() <= 1e-4 * expected.abs().max()


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
        {"instance_norm": True},
        {"instance_norm": True, "block": "conv"},
        {"instance_norm": True, "scan": "identity"},
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


def test_weights_of_cubes_serve_slabs():
    """Built for 64³ voxels, used at 96×64×64: as it is, and loaded into a network built for that size."""
    torch.manual_seed(0)
    small = {**VOLUME, "d_state": 2}
    cube = mamba_mis_3d_s(**{**small, "img_size": 64}).eval()
    slab = mamba_mis_3d_s(**{**small, "img_size": (96, 64, 64)}).eval()
    slab.load_state_dict(cube.state_dict())
    image = torch.rand(1, 1, 96, 64, 64)
    with torch.no_grad():
        expected = cube(image)
        assert expected.shape == image.shape
        torch.testing.assert_close(slab(image), expected, rtol=1e-3, atol=1e-4)


def test_weights_of_images_are_refused_for_volumes():
    with pytest.raises(RuntimeError, match="size mismatch"):
        mamba_mis_3d_s(**VOLUME).load_state_dict(mamba_mis_s(**VOLUME, in_channels=1).state_dict())


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
        ({"spatial_dims": 1}, "spatial_dims=2 and 3"),
        ({"spatial_dims": 3, "img_size": (32, 48, 64)}, r"size \(32, 48, 64\).*multiples of 32"),
        ({"spatial_dims": 3, "img_size": (32, 32)}, "3"),
        ({"scan": "tri_plane"}, "spatial_dims=2"),
        ({"strides": (4, 2, 2)}, "strides needs 4"),
        ({"strides": (4, 2, 2, 0)}, "strides must be"),
        ({"strides": ((4, 4, 4), 2, 2, 2)}, "2"),
        ({"spectral_grid": 0}, "spectral_grid"),
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


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 1, 32, 32, 7), r"\(32, 32, 7\).*multiples of \(32, 32, 8\), axis by axis.*sliding window"),
        ((1, 1, 32, 32), r"in 3D takes images \(B, 1, \*spatial\) with 3 spatial axes, got \(1, 1, 32, 32\)"),
    ],
)
def test_volumes_of_a_wrong_size_are_named(shape, message):
    net = mamba_mis_3d_s(**{**VOLUME, "img_size": (32, 32, 8)}, strides=((4, 4, 1), 2, 2, 2))
    with pytest.raises(ValueError, match=message):
        net(torch.rand(shape))


def _standardized(_, __, maps):
    """The oracle: channel by channel, in NumPy."""
    x = maps.detach().double().numpy()
    axes = tuple(range(1, x.ndim - 1))
    return torch.from_numpy((x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)).float()


@pytest.mark.parametrize(
    ("build", "arguments", "shape"),
    [(mamba_mis_s, SMALL, (2, 3, 64, 96)), (mamba_mis_3d_s, VOLUME, (2, 1, 32, 64, 32))],
)
def test_instance_norm_standardizes_every_channel_of_every_image(build, arguments, shape):
    arguments = {**arguments, "depths": (1, 2, 1, 1), "decoder_depths": (1, 1, 2, 1, 2)}
    torch.manual_seed(0)
    net, oracle = build(**arguments, instance_norm=True).eval(), build(**arguments).eval()
    oracle.load_state_dict(net.state_dict())  # the same names and shapes: it has no parameters
    for module in (oracle.patch_embed, *(block for stage in [*oracle.encoder, *oracle.decoder[:4]] for block in stage)):
        module.register_forward_hook(_standardized)
    image = torch.rand(shape)
    image[1] *= 0.1  # no statistics of the batch
    with torch.no_grad():
        torch.testing.assert_close(net(image), oracle(image), rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(net(image)[1:], net(image[1:]), rtol=1e-3, atol=1e-3)


def test_instance_norm_of_a_single_place_is_refused():
    net = mamba_mis_s(**SMALL, instance_norm=True)
    with pytest.raises(ValueError, match=r"images of \(32, 32\) leave one. Resize them to \(64, 64\)"):
        net(torch.rand(2, 3, 32, 32))


@pytest.mark.parametrize("capture", ["traced", "exported"])
def test_instance_norm_is_captured(capture):
    torch.manual_seed(0)
    one_each = {"depths": (1,) * 4, "decoder_depths": (1,) * 5, "scan": "identity"}
    net, image = mamba_mis_s(**SMALL, **one_each, instance_norm=True).eval(), torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        if capture == "traced":
            captured = torch.jit.trace(net, image)
        else:
            captured = torch.export.export(net, (image,), dynamic_shapes=({0: torch.export.Dim("batch")},)).module()
        other = torch.rand(3, 3, 64, 96)
        torch.testing.assert_close(captured(other), net(other), rtol=1e-3, atol=1e-3)


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


def test_deep_supervision_of_volumes_gives_logits_of_the_stages_sizes():
    strides = ((4, 4, 1), (2, 2, 1), (2, 2, 2), (2, 2, 2))
    net = mamba_mis_3d_s(**{**VOLUME, "img_size": (32, 32, 4)}, strides=strides, out_channels=2, deep_supervision=True)
    image, label = torch.rand(1, 1, 32, 32, 8), (torch.rand(1, 2, 32, 32, 8) > 0.5).float()
    predictions = net(image)
    assert [tuple(p.shape[2:]) for p in predictions] == [(32, 32, 8), (8, 8, 8), (4, 4, 8), (2, 2, 4)]
    DeepSupervisionLoss(DiceCELoss(sigmoid=True))(predictions, label).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.supervision_heads.parameters())


def test_without_deep_supervision_nothing_is_added():
    assert not [name for name in mamba_mis_s(**SMALL).state_dict() if "supervision" in name]
