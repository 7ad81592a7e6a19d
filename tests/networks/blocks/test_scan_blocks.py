from __future__ import annotations

import numpy as np
import pytest
import torch

from medssm_monai.networks.blocks import BFSS, CrossMambaBlock, DirectionalS6, MambaMixer, ScanAttention

from ..oracles import layer_norm, mamba, params, scan, silu, softplus


@pytest.mark.parametrize("discretization", ["euler", "zoh"])
@pytest.mark.parametrize("size", [(3, 5), (4, 4), (1, 7)])
def test_bfss_matches_float64_loop(discretization, size):
    torch.manual_seed(0)
    block = BFSS(6, d_state=4, discretization=discretization)
    with torch.no_grad():
        block.s6.delta_proj.bias.add_(2 * torch.rand_like(block.s6.delta_proj.bias))
        block.s6.A_log.add_(0.3 * torch.randn_like(block.s6.A_log))
    x = torch.randn(2, *size, 6)
    p, n = params(block), 4
    expected = np.empty(x.shape)
    for b, image in enumerate(x.double().numpy()):
        results = []
        for g, tokens in enumerate((image.reshape(-1, 6), image.transpose(1, 0, 2).reshape(-1, 6))):
            delta = softplus(tokens @ p["s6.delta_proj.weight"][g].T + p["s6.delta_proj.bias"][g])
            bc = tokens @ p["s6.bc_proj.weight"][g].T
            a, d = -np.exp(p["s6.A_log"][g]), p["s6.D"][g]
            y = scan(tokens, delta, a, bc[:, :n], bc[:, n:], d, discretization)
            results.append(y.reshape(*size, 6) if g == 0 else y.reshape(size[1], size[0], 6).transpose(1, 0, 2))
        fused = layer_norm(np.concatenate(results, -1), p["fuse.0.weight"], p["fuse.0.bias"])
        hidden = silu(fused @ p["fuse.1.weight"].T + p["fuse.1.bias"])
        expected[b] = hidden @ p["fuse.3.weight"].T + p["fuse.3.bias"]
    np.testing.assert_allclose(block(x).detach().numpy(), expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("discretization", ["euler", "zoh"])
def test_one_direction_mixer_is_the_published_mamba_block(discretization):
    torch.manual_seed(1)
    mixer = MambaMixer(8, d_state=4, spatial_dims=1, discretization=discretization)
    p = params(mixer)
    assert {k: v.shape for k, v in p.items()} == {
        "A_log": (16, 4),
        "D": (16,),
        "in_proj.weight": (32, 8),
        "conv1d.weight": (16, 1, 4),
        "conv1d.bias": (16,),
        "x_proj.weight": (9, 16),
        "dt_proj.weight": (16, 1),
        "dt_proj.bias": (16,),
        "out_proj.weight": (8, 16),
    }
    x = torch.randn(1, 9, 8)
    expected = mamba(x[0].double().numpy(), p, 4, discretization)
    np.testing.assert_allclose(mixer(x)[0].detach().numpy(), expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(("orders", "dims"), [("bidirectional", 1), ("cross", 2), ("tri_plane", 3)])
def test_grouped_directions_equal_separate_mixers(orders, dims):
    """A mixer with G directions is the mean of G single-direction scans that share in_proj, norm and out_proj."""
    torch.manual_seed(2)
    mixer = MambaMixer(8, d_state=3, orders=orders, spatial_dims=dims)
    x = torch.randn(2, *(3, 4, 5)[:dims], 8)
    state, total = mixer.state_dict(), 0
    for g, order in enumerate(mixer.orders):
        single = MambaMixer(8, d_state=3, orders=[order], spatial_dims=dims)
        per_direction = ("conv1d", "x_proj", "dt_proj", "A_log", "D")
        single.load_state_dict(
            {k: v[g] if k.startswith(per_direction) else v for k, v in state.items() if not k.startswith("norm")}
        )
        single.out_proj = torch.nn.Identity()
        total = total + single(x)
    expected = mixer.out_proj(mixer.norm(total / len(mixer.orders)))
    torch.testing.assert_close(mixer(x), expected, rtol=1e-5, atol=1e-6)


def test_cross_mixer_is_steered_by_the_source():
    mixer = MambaMixer(8, orders="cross", cross=True)
    x, source = torch.randn(2, 1, 3, 4, 8)
    assert not torch.allclose(mixer(x, source), mixer(x, source + 1))
    mixer(x, source).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in mixer.parameters())
    with pytest.raises(ValueError, match="two maps"):
        mixer(x)
    with pytest.raises(ValueError, match="one"):
        MambaMixer(8)(x, source)


@pytest.mark.parametrize("merge", ["max", "concat"])
def test_unknown_merge_is_named(merge):
    with pytest.raises(ValueError, match="mean"):
        MambaMixer(8, merge=merge)
    if merge == "max":
        with pytest.raises(ValueError, match="concat"):
            DirectionalS6(4, merge=merge)(torch.zeros(1, 2, 2, 4))


@pytest.mark.parametrize("size", [(2, 3, 4), (1, 5, 2)])
@pytest.mark.parametrize("scan_kind", ["bfss", "ss2d"])
def test_bfss_of_volumes_matches_float64_loops_along_every_axis(scan_kind, size):
    torch.manual_seed(0)
    n, c = 3, 5
    block = BFSS(c, n, scan_kind, spatial_dims=3)
    with torch.no_grad():
        block.s6.delta_proj.bias.add_(2 * torch.rand_like(block.s6.delta_proj.bias))
    x = torch.randn(1, *size, c)
    p, volume = params(block), x[0].double().numpy()
    results = []
    ways = (1,) if scan_kind == "bfss" else (1, -1)
    for g, (axes, way) in enumerate((axes, way) for axes in ((0, 1, 2), (1, 2, 0), (2, 0, 1)) for way in ways):
        tokens = volume.transpose(*axes, 3).reshape(-1, c)[::way]
        delta = softplus(tokens @ p["s6.delta_proj.weight"][g].T + p["s6.delta_proj.bias"][g])
        bc = tokens @ p["s6.bc_proj.weight"][g].T
        y = scan(tokens, delta, -np.exp(p["s6.A_log"][g]), bc[:, :n], bc[:, n:], p["s6.D"][g], "zoh")[::way]
        back = np.argsort(axes)
        results.append(y.reshape(*(size[a] for a in axes), c).transpose(*back, 3))
    merged = np.concatenate(results, -1) if scan_kind == "bfss" else sum(results)
    fused = layer_norm(merged, p["fuse.0.weight"], p["fuse.0.bias"])
    hidden = silu(fused @ p["fuse.1.weight"].T + p["fuse.1.bias"])
    expected = hidden @ p["fuse.3.weight"].T + p["fuse.3.bias"]
    np.testing.assert_allclose(block(x)[0].detach().numpy(), expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(
    ("kind", "dims", "directions"), [("tri_plane", 3, 8), ("tri_plane_full", 3, 12), ("ss2d", 2, 4)]
)
def test_kinds_of_scans_have_their_directions(kind, dims, directions):
    assert len(BFSS(4, 2, kind, spatial_dims=dims).s6.orders) == directions


def test_a_scan_of_volumes_is_refused_for_maps():
    with pytest.raises(ValueError, match=r"bfss.*spatial_dims=2.*tri_plane"):
        BFSS(4, 2, "tri_plane")


@pytest.mark.parametrize("size", [(5, 3), (4, 2, 3)])
def test_scan_attention_keeps_shape_and_reaches_every_parameter(size):
    block = ScanAttention(32, spatial_dims=len(size))
    x = torch.randn(2, *size, 32)
    y = block(x)
    assert y.shape == x.shape
    y.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in block.parameters())


@pytest.mark.parametrize("channels", [1, 5])
def test_bfss_without_scans_fuses_the_map_with_itself(channels):
    torch.manual_seed(0)
    block, x = BFSS(channels, scan="identity").double(), torch.randn(2, 3, 4, channels, dtype=torch.float64)
    _, first, _, second = block.fuse
    twice = torch.cat([x, x], dim=-1)
    if channels > 1:
        twice = (twice - twice.mean(-1, keepdim=True)) / (twice.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    hidden = twice @ first.weight.T + first.bias
    expected = (hidden * hidden.sigmoid()) @ second.weight.T + second.bias
    torch.testing.assert_close(block(x), expected)
    assert (block(x)[:, 1:] - block(x)[:, :1]).abs().max() > 1e-3  # the map is not normalized away


def test_without_the_scan_the_cross_block_sees_its_own_map_alone():
    torch.manual_seed(0)
    block = CrossMambaBlock(8, scan="identity", orders="cross", spatial_dims=2, d_state=4)
    x, source = torch.randn(1, 4, 3, 8), torch.randn(1, 4, 3, 8)
    torch.testing.assert_close(block(x, source), x + block.mixer(block.norm(x)))
    block(x, source).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in block.parameters())
    assert not any(part in name for name, _ in block.named_parameters() for part in ("source", "x_proj", "A_log"))
