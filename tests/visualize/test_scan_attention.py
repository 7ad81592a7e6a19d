from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd.functional import jacobian

import medssm_monai
from medssm_monai.networks.blocks import DirectionalS6, GatedConvMixer, MambaMixer
from medssm_monai.visualize import capture_scans, scan_attention

MIXERS = [
    (MambaMixer, {"orders": "forward"}, (3, 4)),
    (MambaMixer, {"orders": "cross"}, (3, 5)),
    (MambaMixer, {"orders": "tri_plane", "spatial_dims": 3}, (2, 3, 2)),
    (DirectionalS6, {"orders": "rows_columns"}, (4, 3)),
    (DirectionalS6, {"orders": "cross", "merge": "sum"}, (2, 5)),
]


def lively(mixer: nn.Module) -> nn.Module:
    """Steps and decays large enough that both discretizations differ and weights span orders of magnitude."""
    torch.manual_seed(0)
    bias = mixer.dt_proj.bias if isinstance(mixer, MambaMixer) else mixer.delta_proj.bias
    with torch.no_grad():
        bias.copy_(torch.randn_like(bias))
        mixer.A_log.copy_(0.5 * torch.randn_like(mixer.A_log))
        mixer.D.copy_(torch.randn_like(mixer.D))
        (mixer.x_proj if isinstance(mixer, MambaMixer) else mixer.bc_proj).weight.mul_(5)
    return mixer


def run(mixer: nn.Module, x: torch.Tensor):
    """Coefficients that were captured, and what the scan itself took and gave (by a note of our own)."""
    seen, plain = {}, mixer.scan

    def noting(*args, **kwargs):
        seen.update(kwargs, args=args, y=plain(*args, **kwargs))
        return seen["y"]

    mixer.scan = noting
    with torch.no_grad(), capture_scans(mixer) as calls:
        mixer(x)
    assert mixer.__dict__.pop("scan") is noting  # restored as it was found
    return calls[0], seen


@pytest.mark.parametrize("discretization", ["euler", "zoh"])
@pytest.mark.parametrize(("make", "arguments", "size"), MIXERS, ids=str)
def test_weights_times_input_and_the_skip_reproduce_the_scan(make, arguments, size, discretization):
    mixer = lively(make(4, d_state=3, discretization=discretization, **arguments))
    coefficients, seen = run(mixer, 4 * torch.randn(2, *size, 4))
    by_tokens = torch.zeros_like(coefficients.u)
    for g, visits in enumerate(coefficients.visits):
        by_tokens[:, g, visits] = coefficients.u[:, g]
    length = by_tokens.shape[2]
    scanned = torch.stack([(coefficients.weights(t) * by_tokens).sum(2) for t in range(length)], 2)  # (B, G, L, E)
    y = scanned + coefficients.D[:, None] * by_tokens
    got = seen["y"].double().transpose(1, 2)  # (B, G, L, E)
    z = seen.get("z")
    if z is not None:  # MambaMixer: gated
        y = y * torch.nn.functional.silu(z.double().transpose(1, 2))
    torch.testing.assert_close(y, got, rtol=1e-4, atol=1e-5 * float(got.abs().max()))
    assert scanned.abs().mean() > 1e-2


@pytest.mark.parametrize("discretization", ["euler", "zoh"])
def test_weights_are_the_jacobian_of_the_scan(discretization):
    """With the coefficients held, the scan is linear: its derivative by ``u`` is the weights plus ``D``."""
    from medssm_monai.ops import selective_scan

    mixer = lively(MambaMixer(4, d_state=3, orders="forward", discretization=discretization))
    scan, _ = run(mixer, torch.randn(1, 2, 4, 4))
    u, delta = (t[:, 0].transpose(1, 2) for t in (scan.u, scan.delta))  # (B, E, L)
    b, c = (t[:, 0].transpose(1, 2) for t in (scan.B, scan.C))

    def plain(v):
        return selective_scan(v, delta, scan.A[0], b, c, discretization=discretization, backend="reference")

    derivative = jacobian(plain, u)[0, :, :, 0]  # (E, L, E, L)
    for t in range(8):
        expected = torch.stack([derivative[e, t, e] for e in range(8)], -1)  # (L, E)
        torch.testing.assert_close(scan.weights(t)[0, 0], expected)


@pytest.mark.parametrize("discretization", ["euler", "zoh"])
def test_attention_is_the_formula_written_as_loops(discretization):
    mixer = lively(MambaMixer(4, d_state=3, orders="cross", discretization=discretization))
    scan, _ = run(mixer, torch.randn(1, 2, 3, 4))
    delta, A, B, C = (v.numpy() for v in (scan.delta[0], scan.A, scan.B[0], scan.C[0]))
    rows = {0: [0, 1, 2, 3, 4, 5], 1: [5, 4, 3, 2, 1, 0], 2: [0, 3, 1, 4, 2, 5], 3: [5, 2, 4, 1, 3, 0]}
    expected = np.zeros((6, 6))
    for g, visits in rows.items():
        for t in range(6):
            for s in range(t + 1):
                for d in range(8):
                    inner = 0.0
                    for n in range(3):
                        step = delta[g, s, d]
                        gain = step if discretization == "euler" else np.expm1(step * A[g, d, n]) / A[g, d, n]
                        decay = np.exp(delta[g, s + 1 : t + 1, d].sum() * A[g, d, n])
                        inner += C[g, t, n] * decay * gain * B[g, s, n]
                    expected[visits[t], visits[s]] += abs(inner) / 4
    for token in range(6):
        np.testing.assert_allclose(scan.attention(token)[0].flatten(), expected[token], rtol=1e-9)
    np.testing.assert_allclose(scan.attention_matrix()[0], expected, rtol=1e-9)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return medssm_monai.get_network("medconvmamba_t", num_classes=3, depth=2, embed_dim=16)


def test_attention_of_a_network(network):
    network.train()
    image = torch.rand(2, 3, 32, 48)  # 4 x 6 tokens
    whole = scan_attention(network, image, "blocks.1.mixer")
    assert whole.shape == (2, 24, 24) and whole.dtype == torch.float64 and (whole >= 0).all()
    assert torch.equal(whole, whole.tril()) and (whole.diagonal(dim1=1, dim2=2) > 0).all()
    one = scan_attention(network, image, "blocks.1.mixer", token=(2, 3))
    assert one.shape == (2, 4, 6)
    torch.testing.assert_close(one.flatten(1), whole[:, 15])
    torch.testing.assert_close(scan_attention(network, image, "blocks.1.mixer", token=15), one)
    assert not torch.allclose(scan_attention(network, image, "blocks.0.mixer"), whole)
    core = network.blocks[1].mixer
    assert "scan" not in core.__dict__ and not core._forward_pre_hooks and all(m.training for m in network.modules())


def test_later_tokens_have_no_share_and_chunks_do_not_show(network):
    image = torch.rand(1, 3, 264, 264)  # 33 x 33 = 1,089 tokens, three chunks
    with pytest.raises(ValueError, match=r"scans 1089 tokens; all pairs are computed up to 1024.*\(33, 33\)"):
        scan_attention(network, image, "blocks.0.mixer")
    last, early = (scan_attention(network, image, "blocks.0.mixer", token=t).flatten() for t in (1088, 20))
    assert (last > 0).any() and (early[21:] == 0).all() and (early[:21] > 0).all()
    with torch.no_grad(), capture_scans(network.blocks[0].mixer) as calls:
        network(image)
    scan = calls[0]
    elapsed = scan.delta[0, 0].flip(0).cumsum(0).flip(0) - scan.delta[0, 0]  # sum over the steps after s
    decay = torch.exp(elapsed[..., None] * scan.A[0])
    terms = decay * scan.delta[0, 0, ..., None] * scan.B[0, 0][:, None] * scan.C[0, 0, -1]
    torch.testing.assert_close(last, terms.sum(-1).abs().sum(-1), rtol=1e-8, atol=1e-300)


@pytest.mark.parametrize(
    ("layer", "token", "message"),
    [
        ("blocks.7", None, "no layer 'blocks.7'"),
        ("blocks.0", None, r"no selective scan; this network's are: blocks\.0\.mixer, blocks\.1\.mixer"),
        ("blocks.0.mixer", (0, 4), r"\(0, 4\) lies beyond the token map \(4, 4\)"),
        ("blocks.0.mixer", 16, "16 lies beyond"),
        ("blocks.0.mixer", (0,), "beyond the token map"),
        ("blocks.0.mixer", -1, "beyond the token map"),
    ],
)
def test_bad_arguments_are_named(network, layer, token, message):
    with pytest.raises(ValueError, match=message):
        scan_attention(network, torch.rand(1, 3, 32, 32), layer, token)


def test_mixer_without_a_scan_is_named(network):
    with pytest.raises(ValueError, match="ran 1 scans.*call=1"):
        scan_attention(network, torch.rand(1, 3, 32, 32), "blocks.0.mixer", 0, call=1)
    plain = medssm_monai.get_network("medconvmamba_t", depth=1, embed_dim=16, scan="identity")
    assert isinstance(plain.blocks[0].mixer, GatedConvMixer)
    with pytest.raises(ValueError, match="no scan|ran 0 scans"):
        scan_attention(plain, torch.rand(1, 3, 32, 32), "blocks.0.mixer", 0)


def test_error_inside_leaves_the_mixer_as_it_was(network):
    with pytest.raises(ValueError, match="expected images"):
        scan_attention(network, torch.rand(1, 1, 32, 32), "blocks.0.mixer", 0)
    assert "scan" not in network.blocks[0].mixer.__dict__ and not network.blocks[0].mixer._forward_pre_hooks
