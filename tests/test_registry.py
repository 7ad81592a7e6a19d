from __future__ import annotations

import pytest
import torch
from monai.networks.layers import Norm

import medssm_monai
from medssm_monai.networks import nets
from medssm_monai.registry import Mixer

PICTURES = (2, 3, 32, 32)
FUSION = {"depth": 1, "exchange_rounds": 1, "decoder_depth": 1, "d_state": 4}
SMALL = {  # start of a name -> arguments, shape of the input
    "mamba_mis_s": ({"img_size": 32, "base_dim": 8, "d_state": 4}, PICTURES),
    "mamba_mis_b": ({"img_size": 32, "base_dim": 8, "d_state": 4}, PICTURES),
    "mamba_mis_l": ({"img_size": 32, "base_dim": 8, "d_state": 4}, PICTURES),
    "mamba_mis_3d": ({"img_size": 32, "base_dim": 8, "d_state": 4}, (2, 1, 32, 32, 32)),
    "MambaMIS": ({"img_size": 32, "base_dim": 8, "d_state": 4}, PICTURES),
    "medconvmamba": ({"num_classes": 4, "img_size": 32, "embed_dim": 16, "d_state": 4, "depth": 2}, PICTURES),
    "MedConvMamba": ({"num_classes": 4, "img_size": 32, "embed_dim": 16, "d_state": 4, "depth": 2}, PICTURES),
    "medspectralnet": ({"num_classes": 4}, PICTURES),
    "MedSpectralNet": ({"num_classes": 4}, PICTURES),
    "clinical_fmamba_2d": (FUSION, (2, 2, 32, 32)),
    "clinical_fmamba_3d": (FUSION, (2, 2, 16, 16, 16)),
    "ClinicalFMamba": ({"spatial_dims": 2, **FUSION}, (2, 2, 32, 32)),
}


def test_register_is_idempotent_and_fills_monais_factories():
    first = dict(medssm_monai.register().components)
    assert dict(medssm_monai.register().components) == first
    assert set(nets.__all__) <= set(first)
    x = torch.randn(2, 6, 4, 5)
    expected = torch.nn.functional.layer_norm(x.permute(0, 2, 3, 1), (6,)).permute(0, 3, 1, 2)
    torch.testing.assert_close(Norm["channel_layer"](6)(x), expected)
    assert Mixer["mamba"](8)(torch.randn(1, 2, 3, 8)).shape == (1, 2, 3, 8)


@pytest.mark.parametrize("name", nets.__all__)
def test_every_network_and_variant_runs_forward_and_backward(name):
    ((small, shape),) = (entry for start, entry in SMALL.items() if name.startswith(start))
    net = medssm_monai.get_network(name, **small)
    net(torch.rand(shape)).mean().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="mamba_mis_xl.*mamba_mis_s"):
        medssm_monai.get_network("mamba_mis_xl")
