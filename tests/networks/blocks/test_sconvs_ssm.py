from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from monai.utils import optional_import

from medssm_monai.networks.blocks import GatedConvMixer, MambaMixer, MapFusion, SConvsSSM

from ..oracles import layer_norm, mamba, params, silu

PUBLISHED = {  # names and shapes of mamba_ssm.Mamba(d_model=192): d_state 16, d_conv 4, expand 2, dt_rank 12
    "A_log": (384, 16),
    "D": (384,),
    "in_proj.weight": (768, 192),
    "conv1d.weight": (384, 1, 4),
    "conv1d.bias": (384,),
    "x_proj.weight": (44, 384),
    "dt_proj.weight": (384, 12),
    "dt_proj.bias": (384,),
    "out_proj.weight": (192, 384),
}


def published_weights(seed: int) -> dict[str, torch.Tensor]:
    """A state dict of the published block, as trained weights might lie: nothing at its initial value."""
    generator = torch.Generator().manual_seed(seed)
    state = {name: 0.1 * torch.randn(shape, generator=generator) for name, shape in PUBLISHED.items()}
    state["A_log"] += torch.arange(1, 17).log()
    state["dt_proj.bias"] -= 3
    return state


def convolved(x: np.ndarray, block: SConvsSSM) -> np.ndarray:
    """The block's 3-wide convolution of one channel-last map in float64."""
    weight, bias = block.conv.weight.detach().double(), block.conv.bias.detach().double()
    convolve = F.conv2d if weight.ndim == 4 else F.conv3d
    return convolve(torch.from_numpy(x).movedim(-1, 0)[None], weight, bias, padding=1)[0].movedim(0, -1).numpy()


@pytest.mark.parametrize("shape", [(5, 7, 192), (2, 3, 4, 192)], ids=["2D", "3D"])
def test_block_with_published_weights_matches_float64_loop(shape):
    torch.manual_seed(0)
    block = SConvsSSM(192, spatial_dims=len(shape) - 1)
    block.mixer.load_state_dict(published_weights(1), strict=True)
    x, p = torch.randn(shape), params(block)
    local = convolved(x.double().numpy(), block)
    tokens = layer_norm(local, p["norm.weight"], p["norm.bias"]).reshape(-1, 192)
    mixer = {name.removeprefix("mixer."): value for name, value in p.items() if name.startswith("mixer.")}
    expected = local + mamba(tokens, mixer, 16).reshape(shape)
    np.testing.assert_allclose(block(x[None])[0].detach().numpy(), expected, rtol=1e-5, atol=1e-5)


def test_weights_move_to_the_published_block_and_back():
    mixer, state = MambaMixer(192), published_weights(2)
    assert {name: tuple(value.shape) for name, value in mixer.state_dict().items()} == PUBLISHED
    mixer.load_state_dict(state, strict=True)
    assert all(torch.equal(value, state[name]) for name, value in mixer.state_dict().items())


def test_initial_values_are_those_of_the_published_block():
    torch.manual_seed(0)
    mixer = MambaMixer(192)
    torch.testing.assert_close(mixer.A_log, torch.arange(1, 17).log().expand(384, 16))
    assert torch.equal(mixer.D, torch.ones(384))
    step = F.softplus(mixer.dt_proj.bias)
    assert 1e-3 * 0.999 <= step.min() < 2e-3 and 0.05 < step.max() <= 0.1 * 1.001
    logs = step.log10()  # log-uniform: a third of the steps below a third of the way
    assert 0.25 < (logs < -3 + 2 / 3).float().mean() < 0.42
    bounds = {"dt_proj": 12**-0.5, "in_proj": 192**-0.5, "out_proj": 384**-0.5, "x_proj": 384**-0.5, "conv1d": 0.5}
    for name, bound in bounds.items():
        weight = mixer.get_parameter(f"{name}.weight")
        assert 0.97 * bound < weight.abs().max() <= bound, name
        assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05), name


def test_mixer_equals_the_installed_published_block():
    published, found = optional_import("mamba_ssm", name="Mamba")
    if not found or not torch.cuda.is_available():
        pytest.skip("the published block needs the package mamba_ssm and a CUDA device")
    upstream, mixer = published(192).cuda(), MambaMixer(192, spatial_dims=1).cuda()
    mixer.load_state_dict(upstream.state_dict(), strict=True)
    x = torch.randn(2, 50, 192, device="cuda")
    torch.testing.assert_close(mixer(x), upstream(x), rtol=1e-5, atol=1e-5)


def test_identity_scan_leaves_the_gated_convolution():
    torch.manual_seed(0)
    mixer = GatedConvMixer(8, spatial_dims=1)
    p, x = params(mixer), torch.randn(9, 8)
    assert set(p) == {"in_proj.weight", "conv1d.weight", "conv1d.bias", "out_proj.weight"}
    u, z = np.split(x.double().numpy() @ p["in_proj.weight"].T, 2, axis=1)
    padded = np.concatenate([np.zeros((3, 16)), u])
    conv = sum(padded[k : k + 9] * p["conv1d.weight"][:, 0, k] for k in range(4)) + p["conv1d.bias"]
    expected = (silu(conv) * silu(z)) @ p["out_proj.weight"].T
    np.testing.assert_allclose(mixer(x[None])[0].detach().numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scan", ["selective", "identity"])
def test_only_the_scan_sees_the_whole_map(scan):
    torch.manual_seed(0)
    block = SConvsSSM(16, scan)
    x = torch.randn(1, 4, 8, 16, requires_grad=True)
    block(x)[0, -1, -1].sum().backward()
    reached = x.grad[0].abs().sum(-1) > 0
    assert reached[0].any() == (scan == "selective")  # the first row lies far outside both convolutions
    assert reached[-2:, -2:].all()


@pytest.mark.parametrize("fusion", ["gap", "flatten", "conv", "dwconv"])
@pytest.mark.parametrize("size", [(3, 4), (2, 3, 4)])
def test_fusion_matches_its_definition(fusion, size):
    torch.manual_seed(0)
    module, x = MapFusion(6, size, fusion), torch.randn(2, *size, 6)
    fused = module(x)
    assert fused.shape == (2, module.out_features)
    tokens = x.flatten(1, -2)  # (B, L, C)
    if fusion == "gap":
        expected = tokens.sum(1) / tokens.shape[1]
    elif fusion == "flatten":
        expected = torch.cat(tokens.unbind(1), dim=1)
    elif fusion == "dwconv":
        expected = torch.einsum("blc,cl->bc", tokens, module.conv.weight.reshape(6, -1)) + module.conv.bias
    else:
        expected = torch.einsum("blc,ocl->bo", tokens, module.conv.weight.reshape(6, 6, -1)) + module.conv.bias
    torch.testing.assert_close(fused, expected, rtol=1e-5, atol=1e-5)


def test_unknown_options_are_named():
    with pytest.raises(ValueError, match="selective.*identity.*'none'"):
        SConvsSSM(8, scan="none")
    with pytest.raises(ValueError, match="gap.*'max'"):
        MapFusion(8, (2, 2), "max")
