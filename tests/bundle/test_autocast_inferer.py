"""The inferer, and every network under it."""

from __future__ import annotations

import pytest
import torch
from monai.inferers import SimpleInferer, SlidingWindowInferer

import medssm_monai
from medssm_monai.bundle import AutocastInferer

SMALL = {
    "mamba_mis_s": ({"img_size": 32, "base_dim": 8, "d_state": 4}, (2, 3, 32, 32)),
    "medconvmamba_t": ({"img_size": 32, "embed_dim": 16, "depth": 1, "d_state": 4, "num_classes": 3}, (2, 3, 32, 32)),
    "medspectralnet": ({"layers": [1, 1, 1, 1], "num_classes": 3}, (2, 3, 32, 32)),
    "clinical_fmamba_2d": ({"depth": 1, "exchange_rounds": 1, "decoder_depth": 1, "d_state": 4}, (1, 2, 32, 32)),
    "clinical_fmamba_3d": ({"depth": 1, "exchange_rounds": 1, "d_state": 4}, (1, 2, 32, 32, 32)),
}


class Recorder(torch.nn.Module):
    """A linear layer that notes in which format its product came out."""

    def __init__(self):
        super().__init__()
        self.linear, self.seen = torch.nn.Conv2d(1, 1, 1), []

    def forward(self, x):
        result = self.linear(x)
        self.seen.append(result.dtype)
        return result


@pytest.mark.parametrize("inferer", [SimpleInferer(), SlidingWindowInferer(8)])
@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_the_network_computes_in_it_and_predictions_are_float32(inferer, precision, dtype):
    network, image = Recorder(), torch.rand(1, 1, 16, 16)
    result = AutocastInferer(inferer, precision, "cpu")(image, network)
    assert set(network.seen) == {dtype}
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, network.linear(image), atol=1e-2, rtol=1e-2)
    assert not torch.is_autocast_enabled("cpu")


def test_weights_and_their_gradients_stay_in_float32():
    network = Recorder()
    AutocastInferer(SimpleInferer(), "bfloat16", "cpu")(torch.rand(1, 1, 4, 4), network).sum().backward()
    assert network.linear.weight.dtype == network.linear.weight.grad.dtype == torch.float32


def test_further_arguments_reach_the_network():
    def network(x, *, factor):
        return x * factor

    image = torch.rand(1, 1, 4, 4)
    for precision in ("float32", "bfloat16"):
        assert torch.equal(AutocastInferer(SimpleInferer(), precision, "cpu")(image, network, factor=2), image * 2)


def test_what_the_device_does_not_have_is_refused():
    with pytest.raises(ValueError, match="'float16' is for CUDA devices"):
        AutocastInferer(SimpleInferer(), "float16", "cpu")


@pytest.mark.parametrize("name", sorted(SMALL))
def test_networks_in_bfloat16_are_near_float32(name):
    torch.manual_seed(0)
    arguments, shape = SMALL[name]
    network, image = medssm_monai.get_network(name, **arguments).eval(), torch.rand(shape)
    with torch.no_grad():
        exact, near = (AutocastInferer(SimpleInferer(), p, "cpu")(image, network) for p in ("float32", "bfloat16"))
    assert near.dtype == torch.float32
    assert not torch.equal(near, exact)
    assert (near - exact).norm() < 0.05 * exact.norm()  # twelve steps of the format, 1/256, which layers add up


@pytest.mark.parametrize("name", sorted(SMALL))
def test_gradients_in_bfloat16_point_where_those_of_float32_do(name):
    torch.manual_seed(0)
    arguments, shape = SMALL[name]
    network, image = medssm_monai.get_network(name, **arguments).eval(), torch.rand(shape)
    if not name.startswith("clinical"):  # pairs stay in [0, 1]; the other bundles center their images
        image = (image - 0.5) / 0.25
    gradients = []
    for precision in ("float32", "bfloat16"):
        network.zero_grad()
        AutocastInferer(SimpleInferer(), precision, "cpu")(image, network).square().mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]))
    assert torch.nn.functional.cosine_similarity(*gradients, dim=0) > 0.98


def test_several_predictions_come_out_in_float32_too():
    layer = torch.nn.Linear(4, 2)
    inferer = AutocastInferer(SimpleInferer(), "bfloat16", "cpu")
    found = inferer(torch.rand(3, 4), lambda x: [layer(x), layer(x[:1])])
    assert [(one.dtype, tuple(one.shape)) for one in found] == [(torch.float32, (3, 2)), (torch.float32, (1, 2))]
