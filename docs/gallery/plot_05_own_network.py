"""
Your own network from MambaMixer
================================

:class:`~medssm_monai.networks.blocks.MambaMixer` is the block of Mamba for maps: a drop-in for an attention or a
convolution wherever a network of yours mixes positions. The directions in which it reads a map are data.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn as nn

from medssm_monai.data import class_demo_sample
from medssm_monai.networks.blocks import MambaMixer
from medssm_monai.networks.layers import resolve_scan_orders

# %%
# Directions
# ----------
# A scan order says in which sequence the tokens of a map are visited. Named sets hold one or several; here the four of
# ``"cross"`` on a map of 6 × 6 tokens, from dark (first) to bright (last).

orders = resolve_scan_orders("cross", spatial_dims=2)
figure, axes = plt.subplots(1, 4, figsize=(9, 2.6), layout="constrained")
for axis, order in zip(axes, orders, strict=True):
    visited = order.to_map(torch.arange(36.0)[None, :, None], (6, 6))[0, ..., 0].numpy()
    axis.imshow(visited, cmap="viridis")
    rows, columns = np.unravel_index(np.argsort(visited, axis=None), (6, 6))
    axis.plot(columns, rows, color="white", linewidth=1)
    axis.set_title(f"axes {order.axes}{', reversed' if order.reverse else ''}", fontsize="medium")
    axis.axis("off")

# %%
# A small classifier
# ------------------
# Maps are channel-last, ``(B, *spatial, C)``. The rest is PyTorch: strided convolutions for what is near, mixers for
# what is far.


class Block(nn.Module):
    """Norm, mixer, residual."""

    def __init__(self, channels, orders):
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.mixer = MambaMixer(channels, d_state=8, orders=orders)

    def forward(self, x):
        return x + self.mixer(self.norm(x))


def halved(before, after):
    return nn.Sequential(nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU())


class SmallMamba(nn.Module):
    """Three strided convolutions, blocks, mean over the map, logits."""

    def __init__(self, num_classes=4, channels=48, depth=2, orders="cross"):
        super().__init__()
        self.stem = nn.Sequential(halved(3, 16), halved(16, 32), halved(32, channels))
        self.blocks = nn.Sequential(*(Block(channels, orders) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(channels), nn.Linear(channels, num_classes)

    def forward(self, x):
        y = self.blocks(self.stem(x).movedim(1, -1))  # (B, H / 8, W / 8, C)
        return self.head(self.norm(y.mean(dim=(1, 2))))


torch.manual_seed(0)
network = SmallMamba()
print(
    f"{sum(p.numel() for p in network.parameters()):,} parameters; any size:", network(torch.rand(2, 3, 64, 96)).shape
)

# %%
# It learns
# ---------
# Four synthetic classes, 480 images, 200 steps.


def samples(part, count):
    images, labels = zip(*(class_demo_sample(part, number) for number in range(count)), strict=True)
    return torch.as_tensor(np.stack(images)).movedim(-1, 1).float() / 127.5 - 1, torch.tensor(labels)


images, labels = samples("training", 480)
test_images, test_labels = samples("test", 60)
steps = 200
optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.05)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
losses = []
for _ in range(steps):
    chosen = torch.randint(len(images), (24,))
    loss = nn.functional.cross_entropy(network(images[chosen]), labels[chosen])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
    losses.append(loss.item())

network.eval()
with torch.no_grad():
    accuracy = (network(test_images).argmax(1) == test_labels).double().mean()

figure, axis = plt.subplots(figsize=(6.5, 3), layout="constrained")
axis.plot(losses, color="tab:blue")
axis.axhline(np.log(4), color="gray", linestyle=":", label="guessing")
axis.set(xlabel="step", ylabel="training loss", title=f"60 test images: {accuracy:.0%} right (guessing 25%)")
axis.legend()

# %%
# On
# --
# ``orders="tri_plane"`` with ``spatial_dims=3`` reads volumes; ``cross=True`` lets a second map steer the scan, as in
# ClinicalFMamba. Networks of the package are built by name: ``medssm_monai.get_network("medconvmamba_t")``.
