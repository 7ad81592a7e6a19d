"""How the networks start: signal, gradient and state in every block, measured on the embedded demo images."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from PIL import Image

from medssm_monai.data import classification_datalists, segmentation_datalists
from medssm_monai.losses import FusionLoss
from medssm_monai.networks.blocks.selective_core import SelectiveCore
from medssm_monai.networks.initialization import INITS, near_identity, start
from medssm_monai.networks.nets import (
    ClinicalFMamba,
    MambaMIS,
    MedConvMamba,
    clinical_fmamba_2d,
    mamba_mis_3d_s,
    mamba_mis_s,
    medconvmamba_t,
    medspectralnet,
)
from medssm_monai.registry import get_network


def pictures(items, count: int, size: int = 64) -> torch.Tensor:
    """Every so many-th image of a list, ``(count, 3, size, size)`` in [0, 1]."""
    chosen = items[:: len(items) // count][:count]
    files = [Image.open(item["image"]).convert("RGB").resize((size, size)) for item in chosen]
    return torch.from_numpy(np.stack([np.asarray(file, dtype=np.float32) / 255 for file in files])).movedim(-1, 1)


@pytest.fixture(scope="module")
def lesions(tmp_path_factory):
    items = segmentation_datalists("demo", demo_dir=str(tmp_path_factory.mktemp("lesions")))["training"]
    return (pictures(items, 8) - 0.5) / 0.25


@pytest.fixture(scope="module")
def textures(tmp_path_factory):
    items = classification_datalists("demo", demo_dir=str(tmp_path_factory.mktemp("textures")))["training"]
    return (pictures(items, 8) - 0.5) / 0.5


@pytest.fixture(scope="module")
def pairs(lesions):
    return torch.stack([lesions[:, 0], lesions[:, 1].flip(0)], dim=1).mul(0.25).add(0.5)


class Start:
    """Outputs, gradients and states of one training step of a network that was just built.

    ``size`` and ``between``: root mean square of a block's output, and the share of it that differs between images.
    ``gradient``: norm over a block's parameters. ``state``: of each scan, state part ``C·h`` over skip ``D·u``.
    """

    def __init__(self, network: nn.Module, images: torch.Tensor, blocks: str, loss) -> None:
        self.size: dict[str, float] = {}
        self.between: dict[str, float] = {}
        self.state: dict[str, float] = {}
        chosen = {name: module for name, module in network.named_modules() if re.fullmatch(blocks, name)}
        assert chosen
        for name, module in chosen.items():
            module.register_forward_hook(lambda _, __, output, name=name: self._note(name, output))
        for name, module in network.named_modules():
            if isinstance(module, SelectiveCore) and hasattr(module, "A_log"):
                self._watch(name, module)
        loss(network(images)).backward()
        self.gradient = {
            name: sum(p.grad.square().sum().item() for p in module.parameters() if p.grad is not None) ** 0.5
            for name, module in chosen.items()
        }

    def _note(self, name: str, output) -> None:
        for i, maps in enumerate(output if isinstance(output, (list, tuple)) else [output]):
            maps = maps.detach()
            size = maps.square().mean().sqrt()
            key = f"{name}[{i}]" if isinstance(output, (list, tuple)) else name
            self.size[key] = size.item()
            self.between[key] = ((maps - maps.mean(0)).square().mean().sqrt() / size).item()

    def _watch(self, name: str, core: SelectiveCore) -> None:
        original = core.scan

        def scan(u, delta, b, c, z=None, delta_bias=None, order=None):
            skip = core.D.detach().view(u.shape[2:]) * u
            whole = original(u, delta, b, c, delta_bias=delta_bias, order=order).detach()
            self.state[name] = ((whole - skip).square().mean() / skip.square().mean()).sqrt().item()
            return original(u, delta, b, c, z=z, delta_bias=delta_bias, order=order)

        core.scan = scan


def build(network, seed: int = 0, **arguments) -> nn.Module:
    torch.manual_seed(seed)
    return network(**arguments)


MIS = r"(encoder|decoder|bridge\.attention)\.\d|bridge|patch_embed"
MED = r"blocks\.\d|patch_embed|fusion"
FUSE = r"stem|encoder\.\d|mamba_[ab]\.\d|exchange\.\d|cross_[ab]|fuse|refine|decoder\.\d|excite"


def mis_start(images, **arguments) -> Start:
    target = (images.mean(1, keepdim=True) < 0).float()
    network = build(mamba_mis_s, img_size=64, **arguments)
    return Start(network, images, MIS, lambda y: F.binary_cross_entropy_with_logits(y, target))


def med_start(images, **arguments) -> Start:
    network = build(medconvmamba_t, num_classes=4, img_size=64, **arguments)
    return Start(network, images, MED, lambda y: F.cross_entropy(y, torch.arange(8) % 4))


def fusion_start(images, **arguments) -> Start:
    loss = FusionLoss(spatial_dims=2)
    return Start(build(clinical_fmamba_2d, **arguments), images, FUSE, lambda y: loss(y, images))


STARTS = ("mamba_mis", "medconvmamba", "medconvmamba, convolutional stem", "clinical_fmamba")


@pytest.fixture(scope="module")
def starts(lesions, textures, pairs):
    return {
        "mamba_mis": mis_start(lesions),
        "medconvmamba": med_start(textures),
        "medconvmamba, convolutional stem": med_start(textures, stem="conv"),
        "clinical_fmamba": fusion_start(pairs),
    }


@pytest.fixture(scope="module")
def volumes(lesions):
    """Two volumes, each of a picture across the last axis and another across the first."""
    return ((lesions[:, 0, :, :, None] + lesions.roll(1, 0)[:, 1, None, :, :]) / 2**0.5)[:2, None]


@pytest.mark.parametrize("init", INITS)
def test_volumes_start_like_images(volumes, init):
    """Every block is alive and the scans carry state; with PyTorch's values no level passes the bridge."""
    target = (volumes < 0).float()
    network = build(mamba_mis_3d_s, init=init)
    begun = Start(network, volumes, MIS, lambda y: F.binary_cross_entropy_with_logits(y, target))
    shares = [v for k, v in begun.state.items() if "attention" not in k]
    bridges = [begun.between[f"bridge[{i}]"] for i in range(4)]
    if init == "published":
        assert max(bridges) < 0.1 and np.median(shares) < 0.03
        return
    assert {k: v for k, v in begun.size.items() if not 0.05 < v < 4} == {}
    assert {k: v for k, v in begun.between.items() if v < 0.15} == {}
    assert min(begun.gradient.values()) > 1e-4 * max(begun.gradient.values())
    assert 0.08 < np.median(shares) < 0.5 and min(shares) > 0.01 and max(shares) < 1


@pytest.mark.parametrize("name", STARTS)
def test_every_block_is_alive(starts, name):
    """Maps of a stated size that differ between images, and gradients within four orders of magnitude."""
    begun = starts[name]
    assert {k: v for k, v in begun.size.items() if not 0.05 < v < 4} == {}
    assert {k: v for k, v in begun.between.items() if v < 0.15} == {}
    largest = max(begun.gradient.values())
    assert {k: v for k, v in begun.gradient.items() if v < 1e-4 * largest and k != "fusion"} == {}


@pytest.mark.parametrize("name", STARTS)
def test_the_scans_carry_state(starts, name):
    """The median state part lies between .08 and .5 of the skip; none is silent, none above the skip."""
    shares = {k: v for k, v in starts[name].state.items() if "attention" not in k}
    assert 0.08 < np.median(list(shares.values())) < 0.5
    assert {k: v for k, v in shares.items() if not 0.02 < v < 1} == {}


def test_what_published_values_do(lesions, textures):
    """The bounds above can fail: they do for PyTorch's values."""
    mis, med = mis_start(lesions, init="published"), med_start(textures, init="published")
    assert max(mis.between[f"bridge[{i}]"] for i in range(4)) < 0.1
    assert np.median([v for k, v in mis.state.items() if "attention" not in k]) < 0.03
    assert med.size["blocks.6"] < 0.1
    assert np.median(list(med.state.values())) < 0.03


def test_medspectralnet_needs_no_other_start(textures):
    network = build(medspectralnet, num_classes=4)
    images = F.interpolate(textures, 96)
    begun = Start(network, images, r"trunk\.layer\d|norm|pool", lambda y: F.cross_entropy(y, torch.arange(8) % 4))
    assert all(0.2 < value < 4 for value in begun.size.values())
    assert all(value > 0.15 for value in begun.between.values())


@pytest.mark.parametrize(
    ("network", "arguments", "changed"),
    [
        (MambaMIS, {"img_size": 32}, r".*\.bfss\.s6\.bc_proj\.weight|bridge\.fusion\..*"),
        (MambaMIS, {"spatial_dims": 3, "img_size": 32}, r".*\.bfss\.s6\.bc_proj\.weight|bridge\.fusion\..*"),
        (MambaMIS, {"img_size": 32, "block": "conv", "fusion_bridge": False}, r"(?!)"),
        (MambaMIS, {"img_size": 32, "scan": "identity"}, r"bridge\.fusion\..*"),
        (ClinicalFMamba, {"depth": 1, "scan": "identity"}, r"(?!)"),
        (MedConvMamba, {"img_size": 16, "embed_dim": 16, "depth": 2}, r"blocks\.\d\.(conv\..*|mixer\.x_proj\.weight)"),
        (MedConvMamba, {"img_size": 16, "embed_dim": 16, "depth": 2, "scan": "identity"}, r"blocks\.\d\.conv\..*"),
        (MedConvMamba, {"img_size": 8, "embed_dim": 16, "spatial_dims": 3}, r"blocks\.\d\.(conv\..*|mixer\.x_proj.*)"),
        (ClinicalFMamba, {"depth": 1}, r".*\.x_proj\.weight"),
        (ClinicalFMamba, {"depth": 1, "spatial_dims": 3}, r".*\.x_proj\.weight"),
    ],
    ids=str,
)
def test_published_values_are_those_that_the_layers_drew(network, arguments, changed):
    """Names and shapes stay; only the parameters named differ between the two, and the step's rows never do."""
    signal, published = (build(network, init=init, **arguments).state_dict() for init in INITS)
    assert [(k, v.shape) for k, v in signal.items()] == [(k, v.shape) for k, v in published.items()]
    different = {k for k in signal if not torch.equal(signal[k], published[k])}
    assert different == {k for k in signal if re.fullmatch(changed, k)}
    for name in different:
        if name.endswith("x_proj.weight"):
            rank = build(network, **arguments).get_submodule(name.removesuffix(".x_proj.weight")).dt_rank
            assert torch.equal(signal[name][..., :rank, :], published[name][..., :rank, :])


@pytest.mark.parametrize("dims", [2, 3])
def test_the_bridge_starts_as_a_skip_connection(dims):
    """Level by level: what lies in the 32 directions that it passes comes back, whatever the other levels hold."""
    from medssm_monai.networks.blocks import MultiScaleFusionBridge

    torch.manual_seed(0)
    bridge = MultiScaleFusionBridge([16, 32, 64, 128], attention=False, spatial_dims=dims)
    start(bridge, "signal")
    maps = [torch.randn(2, *[(32 if dims == 2 else 16) // 2**i] * dims, 16 * 2**i) for i in range(4)]
    for level, (given, back) in enumerate(zip(maps, bridge(maps), strict=True)):
        directions = bridge.fusion.reduce[level].weight.flatten(1)  # (32, C)
        passed = given @ directions.T @ directions
        correlation = torch.corrcoef(torch.stack([passed.flatten(), back.flatten()]))[0, 1]
        assert correlation > 0.9


@pytest.mark.parametrize("dims", [2, 3])
def test_near_identity(dims):
    conv = (nn.Conv2d if dims == 2 else nn.Conv3d)(6, 6, 3, padding=1)
    x = torch.randn(1, 6, *[7] * dims)
    near_identity(conv, share=0.0)
    assert torch.allclose(conv(x), x)
    depthwise = (nn.Conv2d if dims == 2 else nn.Conv3d)(6, 6, 3, padding=1, groups=6)
    near_identity(depthwise, share=0.0)
    assert torch.allclose(depthwise(x), x)


@pytest.mark.parametrize("name", ["mamba_mis_s", "medconvmamba_t", "clinical_fmamba_2d"])
def test_unknown_start_is_refused(name):
    with pytest.raises(ValueError, match="init must be one of"):
        get_network(name, init="xavier")
