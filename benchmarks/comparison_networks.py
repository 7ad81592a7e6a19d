"""MONAI's networks as yardsticks of ``benchmarks.networks``: three input channels, two classes or one mask."""

from __future__ import annotations

from collections.abc import Callable

import torch
from monai.networks import nets
from torch import nn

__all__ = ["COMPARISONS"]

RESNET = {
    "spatial_dims": 2,
    "n_input_channels": 3,
    "num_classes": 2,
    "conv1_t_stride": 2,
}  # MONAI: stride 1
SWIN_T = {"embed_dim": 96, "depths": (2, 2, 6, 2), "num_heads": (3, 6, 12, 24)}
MEDNEXT_S = {"init_filters": 32, "encoder_expansion_ratio": 2, "kernel_size": 3, "use_residual_connection": True}


class SwinClassifier(nn.Module):
    """MONAI's Swin encoder in the sizes of Swin-T, average pooling, a linear layer: ``(B, 3, H, W)`` to ``(B, 2)``."""

    def __init__(self) -> None:
        super().__init__()
        sizes = {"in_chans": 3, "window_size": (7, 7), "patch_size": (4, 4), "spatial_dims": 2}
        self.encoder = nets.swin_unetr.SwinTransformer(**SWIN_T, **sizes)
        self.head = nn.Linear(16 * SWIN_T["embed_dim"], 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(x)[-1].mean((2, 3)))


class MedNeXtClassifier(nn.Module):
    """Encoder and bottleneck of MONAI's MedNeXt-S, average pooling, a linear layer: ``(B, 3, H, W)`` to ``(B, 2)``."""

    def __init__(self) -> None:
        super().__init__()
        whole = nets.MedNeXt(spatial_dims=2, in_channels=3, **MEDNEXT_S)
        stages = [part for pair in zip(whole.enc_stages, whole.down_blocks, strict=True) for part in pair]
        self.encoder = nn.Sequential(whole.stem, *stages, whole.bottleneck)
        self.head = nn.Linear(16 * MEDNEXT_S["init_filters"], 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(x).mean((2, 3)))


def _unet() -> nn.Module:
    return nets.UNet(2, 3, 1, channels=(16, 32, 64, 128, 256), strides=(2, 2, 2, 2), num_res_units=2)


COMPARISONS: dict[str, Callable[[], nn.Module]] = {
    "MONAI ResNet-18": lambda: nets.resnet18(**RESNET),
    "MONAI ResNet-50": lambda: nets.resnet50(**RESNET),
    "MONAI Swin-T-sized": SwinClassifier,
    "MONAI MedNeXt-S encoder": MedNeXtClassifier,
    "MONAI U-Net": _unet,
}
"""Networks by the name of their row."""
