from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from medssm_monai import get_network
from medssm_monai.networks.blocks import selective_core
from medssm_monai.networks.nets import ClinicalFMamba, clinical_fmamba_2d, clinical_fmamba_3d

SMALL = {"depth": 1, "d_state": 2, "expand": 1}


def conv(dims, inp, out, kernel, bias=True):
    return inp * out * kernel**dims + out * bias


def mamba(directions, cross=False, dim=128, d_state=8, width=4):
    """Parameters of a Mamba block on ``dim`` channels, norm before it included."""
    inner, rank = 2 * dim, 8  # rank = dim / 16
    own = inner * (width + 1) + inner * (rank + 2 * d_state) + (rank + 1) * inner + inner * d_state + inner
    shared = dim * 2 * inner + inner * dim + (2 * inner if directions > 1 else 0)
    source = dim * inner + inner + 2 * dim if cross else 0
    return 2 * dim + directions * own + shared + source


def expected_parameters(dims, directions):
    encoder = conv(dims, 1, 32, 3)
    for inp, out in ((32, 32), (32, 64), (64, 128)):
        gated = 3 * 2 * out + 2 * conv(dims, out, out, 3) + conv(dims, out, out, 1)
        pyramid = 2 * out + conv(dims, out, out, 3) if dims == 2 else 0
        encoder += conv(dims, inp, out, 2) + gated + pyramid
    latent = 2 * 5 * mamba(directions) + 2 * 2 * mamba(1) + 2 * mamba(directions, cross=True) + 128 * 128 + 128
    decoder = (3 * mamba(1) if dims == 2 else 0) + 2 * 128
    decoder += sum(conv(dims, inp, out, 3) + 2 * out for inp, out in ((128, 64), (64, 32), (32, 32)))
    return encoder + latent + decoder + 2 * conv(dims, 32, 32, 1, bias=False) + conv(dims, 32, 1, 3)


@pytest.mark.parametrize(
    ("variant", "arguments", "dims", "directions", "count"),
    [
        (clinical_fmamba_2d, {}, 2, 4, 3_378_369),
        (clinical_fmamba_3d, {}, 3, 8, 4_453_025),
        (clinical_fmamba_3d, {"orders": "tri_plane_full"}, 3, 12, 5_030_561),
    ],
)
def test_parameter_counts_are_those_of_the_layers(variant, arguments, dims, directions, count):
    assert expected_parameters(dims, directions) == count
    assert sum(p.numel() for p in variant(**arguments).parameters()) == count


@pytest.mark.parametrize("dims", [2, 3])
def test_the_identity_has_the_parameters_of_the_network_but_those_that_steer_scans(dims):
    names, kept = (
        {name: p.numel() for name, p in ClinicalFMamba(dims, scan=scan).named_parameters()}
        for scan in ("selective", "identity")
    )
    steering = ("x_proj", "dt_proj", "A_log", ".D", "source_proj", "source_norm")
    assert kept == {name: n for name, n in names.items() if not any(part in name for part in steering)}


@pytest.mark.parametrize("dims", [2, 3])
def test_registered_by_name(dims):
    net = get_network(f"clinical_fmamba_{dims}d", **SMALL)
    assert isinstance(net, ClinicalFMamba) and net.spatial_dims == dims


@pytest.mark.parametrize(
    ("arguments", "input_shape", "output_shape"),
    [
        ({"spatial_dims": 2}, (2, 2, 32, 24), (2, 1, 32, 24)),
        ({"spatial_dims": 2}, (1, 2, 33, 7), (1, 1, 33, 7)),
        ({"spatial_dims": 2, "orders": "bidirectional"}, (1, 2, 1, 9), (1, 1, 1, 9)),
        ({"spatial_dims": 3}, (1, 2, 16, 9, 13), (1, 1, 16, 9, 13)),
        ({"spatial_dims": 3, "orders": "tri_plane_full"}, (1, 2, 11, 8, 1), (1, 1, 11, 8, 1)),
    ],
)
def test_any_size_comes_back_with_values_in_the_unit_interval(arguments, input_shape, output_shape):
    net = ClinicalFMamba(**{**SMALL, **arguments}).eval()
    with torch.no_grad():
        fused = net(MetaTensor(torch.rand(input_shape)))
    assert fused.shape == output_shape
    assert fused.min() > 0 and fused.max() < 1


@pytest.mark.parametrize("dims", [2, 3])
def test_padding_replicates_the_border(dims):
    """A cut-out equals the network on the image whose last row, column and slice were repeated by hand."""
    net = ClinicalFMamba(dims, **SMALL).eval()
    image = torch.rand(1, 2, *(13, 10, 15)[:dims])
    padded = image
    for axis, size in enumerate((16, 16, 16)[:dims], start=2):
        index = torch.arange(size).clamp(max=image.shape[axis] - 1)
        padded = padded.index_select(axis, index)
    with torch.no_grad():
        expected = net(padded)[(..., *(slice(s) for s in image.shape[2:]))]
        torch.testing.assert_close(net(image), expected)


@pytest.mark.parametrize(("dims", "blocks"), [(2, 2 * 5 + 2 * 2 + 2 + 3), (3, 2 * 5 + 2 * 2 + 2)])
def test_a_mamba_block_is_one_scan_call(dims, blocks, monkeypatch):
    groups = []
    scan = selective_core.selective_scan

    def counted(u, *args, **kwargs):
        groups.append(u.shape[1])
        return scan(u, *args, **kwargs)

    monkeypatch.setattr(selective_core, "selective_scan", counted)
    with torch.no_grad():
        ClinicalFMamba(dims)(torch.rand(2, 2, *(16,) * dims))
    assert len(groups) == blocks
    assert groups.count({2: 4, 3: 8}[dims]) == 12  # five for each source and the two cross blocks


@pytest.mark.parametrize(("dims", "scan"), [(2, "selective"), (3, "selective"), (2, "identity"), (3, "identity")])
def test_every_parameter_gets_a_finite_gradient_and_both_sources_count(dims, scan):
    torch.manual_seed(0)
    net = ClinicalFMamba(dims, **SMALL, scan=scan)
    pair = torch.rand(2, 2, *(16, 24, 16)[:dims], requires_grad=True)
    net(pair).square().mean().backward()
    missing = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not missing
    assert (pair.grad.abs().amax(dim=tuple(range(2, dims + 2))) > 0).all()


def test_a_few_steps_reduce_the_distance_to_the_brighter_source():
    torch.manual_seed(0)
    net, pair = ClinicalFMamba(2, **SMALL), torch.rand(2, 2, 32, 32)
    optimizer, losses = torch.optim.Adam(net.parameters(), lr=2e-3), []
    for _ in range(15):
        loss = (net(pair) - pair.amax(1, keepdim=True)).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_dropout_makes_passes_differ_in_training_mode_only():
    net, pair = ClinicalFMamba(2, dropout=0.3, **SMALL), torch.rand(1, 2, 16, 16)
    with torch.no_grad():
        assert not torch.equal(net(pair), net(pair))
        net.eval()
        assert torch.equal(net(pair), net(pair))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"spatial_dims": 1}, "spatial_dims 2 and 3"),
        ({"spatial_dims": 2, "orders": "tri_plane"}, "cross"),
        ({"spatial_dims": 3, "orders": "cross"}, "tri_plane"),
        ({"depth": -1}, "depth"),
        ({"scan": "none"}, "selective.*identity.*'none'"),
        ({"decoder_depth": -2}, "decoder_depth"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ClinicalFMamba(**arguments)


@pytest.mark.parametrize("shape", [(1, 1, 16, 16), (1, 4, 16, 16), (1, 2, 16, 16, 16), (2, 16, 16)])
def test_bad_input_is_named(shape):
    with pytest.raises(ValueError, match=r"two single-channel sources.*luminance"):
        ClinicalFMamba(2, **SMALL)(torch.rand(shape))


@pytest.mark.parametrize(("dims", "size"), [(2, (21, 34)), (3, (9, 16, 11))])
def test_a_blend_takes_the_output_as_the_share_of_source_a(dims, size):
    torch.manual_seed(0)
    image = ClinicalFMamba(dims, **SMALL).eval()
    blend = ClinicalFMamba(dims, **SMALL, output="blend").eval()
    blend.load_state_dict(image.state_dict())
    pair = torch.rand(2, 2, *size)
    pair[..., :4] = 0  # black in both stays black
    with torch.no_grad():
        share, found = image(pair), blend(pair)
    a, b = pair.split(1, dim=1)
    torch.testing.assert_close(found, share * a + (1 - share) * b)
    assert (found[..., :4] == 0).all() and ((found >= pair.amin(1, True)) & (found <= pair.amax(1, True))).all()
    with pytest.raises(ValueError, match=r"output must be one of .*blend.*got 'mask'"):
        ClinicalFMamba(dims, **SMALL, output="mask")
