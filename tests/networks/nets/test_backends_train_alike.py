from __future__ import annotations

import pytest
import torch
from monai.losses import DiceCELoss

from medssm_monai.data import demo_sample
from medssm_monai.networks.nets import mamba_mis_s
from medssm_monai.ops import available_backends, use_backend


def _losses(backend: str, steps: int = 20) -> torch.Tensor:
    """Losses of the first steps of training on synthetic demo images of 32 pixels.

    Rounding is not blown up here: plain gradient descent, because Adam divides by the size of the gradient, and no
    layer norm over two channels (narrow parts of a block, attention of the bridge), which is close to a sign function.
    """
    torch.manual_seed(0)
    depths = {"depths": (1, 1, 1, 1), "decoder_depths": (1, 1, 1, 1, 1)}
    net = mamba_mis_s(img_size=32, base_dim=24, d_state=4, attention_bridge=False, **depths)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    loss_function, losses = DiceCELoss(sigmoid=True), []
    pairs = [demo_sample("training", i, 32) for i in range(4)]
    image = torch.stack([torch.as_tensor(p[0]).permute(2, 0, 1) for p in pairs]).float() / 255
    label = torch.stack([torch.as_tensor(p[1])[None] for p in pairs]).gt(127).float()
    with use_backend(backend):
        for _ in range(steps):
            optimizer.zero_grad()
            loss = loss_function(net(image), label)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
    return torch.tensor(losses)


@pytest.fixture(scope="module")
def reference() -> torch.Tensor:
    return _losses("reference")


@pytest.mark.parametrize("backend", ["native", "blocked"])
def test_loss_curve_is_that_of_the_reference(backend, reference):
    if available_backends()[backend] is not None:
        pytest.skip(f"backend {backend} cannot run here: {available_backends()[backend]}")
    assert reference[-1] < reference[0]
    torch.testing.assert_close(_losses(backend), reference, rtol=1e-4, atol=0)
