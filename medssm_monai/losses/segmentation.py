"""Dice and cross-entropy for one class, for classes that exclude each other, and for regions that overlap."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F
from monai.losses import DiceCELoss, DiceLoss

__all__ = ["SegmentationLoss"]


class SegmentationLoss(nn.Module):
    """Dice loss + cross-entropy, equally weighted, as the classes need it.

    One channel: ``monai.losses.DiceCELoss`` with a sigmoid, Dice by image. Classes that exclude each other: softmax,
    Dice of every class but the background, and cross-entropy. Regions that overlap: sigmoid, Dice and binary
    cross-entropy of each. With several channels the Dice of a class is taken over the whole batch, since a patch of a
    volume may not hold it (as in nnU-Net: Isensee et al., Nature Methods 18, 2021).

    Args:
        out_channels: of the network, see :attr:`medssm_monai.data.LabelSet.out_channels`.
        softmax: whether exactly one channel holds in each voxel, the first being the background.
        ignore_index: what the target holds where nobody has labeled, which counts nowhere; None: all is labeled.
        class_weights: a factor for each channel, in the cross-entropy and in the mean of the Dice losses; None or False
            weights all alike.

    Raises:
        ValueError: other than one positive number per channel; a softmax of one channel.
    """

    def __init__(
        self,
        out_channels: int = 1,
        softmax: bool = False,
        ignore_index: int | None = None,
        class_weights: Sequence[float] | bool | None = None,
    ) -> None:
        super().__init__()
        if softmax and out_channels < 2:
            raise ValueError("a softmax needs two channels or more, background and class.")
        self.softmax, self.ignore_index = softmax, ignore_index
        weights = _checked(class_weights, out_channels)
        self.register_buffer("weights", weights, persistent=False)
        self.weights: torch.Tensor | None
        one = out_channels == 1
        self.plain = DiceCELoss(sigmoid=True) if one and ignore_index is None and weights is None else None
        self.dice = DiceLoss(
            include_background=not softmax,
            to_onehot_y=softmax,
            batch=not one,
            weight=weights[1:] if softmax and weights is not None else weights,
        )

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, out_channels, *spatial)`` and target to one number.

        Args:
            logits: of the network.
            target: numbers of channels ``(B, 1, *spatial)`` with ``softmax``, else 0 and 1, of the shape of the logits.
        """
        if self.plain is not None:
            return self.plain(logits, target)
        kept = torch.ones_like(target[:, :1], dtype=torch.bool)
        if self.ignore_index is not None:
            kept = target[:, :1] != self.ignore_index
            target = torch.where(kept, target, torch.zeros_like(target))
        logits = logits.float()
        probability = logits.softmax(1) if self.softmax else logits.sigmoid()
        return self.dice(probability * kept, target) + self._entropy(logits, target, kept)

    def _entropy(self, logits: torch.Tensor, target: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        """Mean over the labeled voxels, by the weights of their channels; 0 where nothing is labeled."""
        channels = torch.ones(logits.shape[1]) if self.weights is None else self.weights
        if self.softmax:
            numbers = target[:, 0].long()
            each = F.cross_entropy(logits, numbers, reduction="none")[:, None]
            shares = channels.to(logits)[numbers][:, None] * kept
        else:
            each = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
            shares = channels.to(logits).reshape(1, -1, *[1] * (logits.ndim - 2)) * kept
        return (each * shares).sum() / shares.sum().clamp(min=torch.finfo(shares.dtype).tiny)


def _checked(weights: Sequence[float] | bool | None, channels: int) -> torch.Tensor | None:
    if weights is None or weights is False:
        return None
    found = list(weights) if isinstance(weights, Sequence) and not isinstance(weights, str) else []
    if len(found) != channels or not all(isinstance(one, (int, float)) and one > 0 for one in found):
        raise ValueError(
            f"class_weights needs {channels} positive numbers, one per channel of the network; got {weights}."
        )
    return torch.tensor(found, dtype=torch.float32)
