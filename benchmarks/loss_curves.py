"""Do scan backends train alike? Losses of the first steps of Mamba-MIS-S on the synthetic demo images, compared.

    python -m benchmarks.loss_curves --steps 20

Every row is a training from the same start on the same batches; the table gives the largest relative difference of
the losses so far. Two rows are yardsticks: ``double`` computes everything in float64, and ``nudged`` is the native scan
with every initial weight changed by one rounding (6e-8 of itself). Where the nudge alone moves a curve by more than
two backends differ, the difference is amplified rounding and says nothing about the backends.
"""

from __future__ import annotations

import argparse

import torch
from monai.losses import DiceCELoss
from torch import Tensor

from medssm_monai.data import demo_sample
from medssm_monai.networks.nets import mamba_mis_s
from medssm_monai.ops import use_backend

IMAGES, BATCH, SIZE = 96, 8, 64
ROUNDING = 6e-8
CURVES = {  # backend, dtype, relative change of the initial weights
    "double": ("blocked", torch.float64, 0.0),
    "reference": ("reference", torch.float32, 0.0),
    "native": ("native", torch.float32, 0.0),
    "nudged": ("native", torch.float32, ROUNDING),
}


def demo_images() -> tuple[Tensor, Tensor]:
    """Images in [0, 1] and masks of the demo set's training part."""
    pairs = [demo_sample("training", i, SIZE) for i in range(IMAGES)]
    images = torch.stack([torch.as_tensor(image).permute(2, 0, 1) for image, _ in pairs]).float() / 255
    return images, torch.stack([torch.as_tensor(mask)[None] for _, mask in pairs]).gt(127).float()


def losses(images: Tensor, masks: Tensor, steps: int, backend: str, dtype: torch.dtype, nudge: float) -> Tensor:
    """Training losses with the bundle's loss, optimizer and gradient clipping."""
    torch.manual_seed(0)
    net = mamba_mis_s(img_size=SIZE)
    with torch.no_grad():
        for weight in net.parameters():
            weight.mul_(1 + nudge * torch.randn_like(weight))
    net = net.to(dtype)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.01)
    loss_function, found = DiceCELoss(sigmoid=True), []
    generator = torch.Generator().manual_seed(1)
    epochs = -(-steps * BATCH // IMAGES)
    batches = torch.cat([torch.randperm(IMAGES, generator=generator) for _ in range(epochs)]).split(BATCH)
    with use_backend(backend):
        for batch in batches[:steps]:
            optimizer.zero_grad()
            loss = loss_function(net(images[batch].to(dtype)), masks[batch].to(dtype))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            found.append(loss.item())
    return torch.tensor(found, dtype=torch.float64)


def main() -> None:
    """Train, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    steps = parser.parse_args().steps
    data = demo_images()
    curves = {name: losses(*data, steps, *how) for name, how in CURVES.items()}
    shown = sorted({min(step, steps) for step in (1, 2, 4, 6, 10, 15, 20, steps)})
    print("largest relative difference up to step", *(f"{step:>8}" for step in shown))
    pairs = (("native", "reference"), ("native", "double"), ("reference", "double"), ("native", "nudged"))
    for one, other in pairs:
        difference = ((curves[one] - curves[other]) / curves[other]).abs().cummax(0).values
        print(f"{one + ' and ' + other:38}", *(f"{difference[step - 1].item():8.0e}" for step in shown))


if __name__ == "__main__":
    main()
