"""Grad-CAM on any named layer of any network, and the cases in which it hardly lights up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.visualize import GradCAM, ModelWithHooks
from monai.visualize.visualizer import default_upsampler
from torch import nn

from .evaluation_mode import evaluation_mode, find_layer

__all__ = ["grad_cam", "weak_activations"]


def grad_cam(
    network: nn.Module,
    images: torch.Tensor,
    layer: str,
    class_index: int | Sequence[int] | torch.Tensor | None = None,
    channel_dim: int = 1,
) -> torch.Tensor:
    """Where the named layer speaks for a class: ``relu(Σ_c mean(∂score/∂a_c) · a_c)``, at the size of the images.

    The network runs in evaluation mode and is left as it was: modes, gradients and hooks. The score of a segmentation
    network is the sum of the class's logits over the image.

    Args:
        network: any network whose output is ``(B, K)`` or ``(B, K, *spatial)``; frozen parameters do not matter.
        images: ``(B, C, *spatial)``, on the network's device.
        layer: name of a layer in ``network.named_modules()`` that gives a map, for example ``"context_gate"``.
        class_index: class for all images, or one for each; ``None``: the predicted class (``(B, K)`` outputs only).
        channel_dim: where the layer's map has its channels: 1 (``(B, C, *spatial)``) or -1 (``(B, *spatial, C)``, the
            blocks and mixers of the Mamba networks).

    Returns:
        ``(B, 1, *spatial)``, not negative, in units of the score, not normalized.

    Raises:
        ValueError: an unknown layer, one that did not run or gives no map; a bad class index.

    Source: Selvaraju et al., Grad-CAM, ICCV 2017, equations 1 and 2, through MONAI's ``GradCAM``. Departures from it:
    each image's score is that image's class alone (MONAI 1.6.1 adds up the predicted classes of the whole batch), the
    hooks are removed again, and layers followed by an operation in place work.
    """
    x = images.as_tensor() if isinstance(images, MetaTensor) else images
    with evaluation_mode(network), _LayerProbe(network, layer, channel_dim) as probe:
        cam = GradCAM(probe, layer)  # type: ignore[arg-type]  # takes a ModelWithHooks too
        maps = cam.compute_map(x, class_idx=class_index)
    with torch.no_grad():
        return default_upsampler(x.shape[2:])(maps.detach())


def weak_activations(maps: Any, threshold: float = 0.25, reference: float | None = None) -> np.ndarray:
    """Flag the images whose Grad-CAM hardly lights up; the MedSpectralNet paper reads these as uncertain.

    Decision (the paper judges by eye): a map is weak when its peak is zero or below ``threshold`` times the reference.

    Args:
        maps: Grad-CAM maps of one layer, ``(B, ...)``, as :func:`grad_cam` gives them (not normalized).
        threshold: share of the reference.
        reference: peak to compare with, for example the median over a validation set; ``None``: the median of the peaks
            of ``maps``, which needs several images to mean anything.

    Returns:
        bool ``(B,)``.
    """
    values = maps.detach().cpu().numpy() if isinstance(maps, torch.Tensor) else np.asarray(maps)
    peaks = values.reshape(len(values), -1).max(1)
    level = np.median(peaks) if reference is None else reference
    return (peaks <= 0) | (peaks < threshold * level)


class _LayerProbe(ModelWithHooks):
    """What MONAI's GradCAM asks a network for, from hooks that go away again."""

    def __init__(self, network: nn.Module, layer: str, channel_dim: int) -> None:
        if channel_dim not in (1, -1):
            raise ValueError(f"channel_dim must be 1 or -1, got {channel_dim}.")
        self.model, self.layer, self.channel_dim = network, layer, channel_dim
        self.seen: torch.Tensor | None = None
        self.hook = find_layer(network, layer).register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, args: Any, output: Any) -> Any:
        if not isinstance(output, torch.Tensor):
            raise ValueError(f"layer {self.layer!r} gives no tensor but {type(output).__name__}; name one inside it.")
        self.seen = output
        return output.clone()  # what follows may write in place

    def __enter__(self) -> _LayerProbe:
        return self

    def __exit__(self, *error: object) -> None:
        self.hook.remove()

    def __call__(
        self, x: torch.Tensor, class_idx: Any = None, retain_graph: bool = False, **kwargs: Any
    ) -> tuple[torch.Tensor, tuple[torch.Tensor], tuple[torch.Tensor]]:
        with torch.enable_grad():
            logits = self.model(x.detach().requires_grad_().clone(), **kwargs)
            activation = self._map(x.ndim)
            score = logits.gather(1, _class_indices(logits, class_idx)).sum()
            (gradient,) = torch.autograd.grad(score, activation, retain_graph=retain_graph, allow_unused=True)
        if gradient is None:
            raise ValueError(f"the network's output does not depend on layer {self.layer!r}; name another one.")
        maps = [m.detach().movedim(self.channel_dim, 1).contiguous() for m in (activation, gradient)]
        return logits.detach(), (maps[0],), (maps[1],)

    def _map(self, axes: int) -> torch.Tensor:
        if self.seen is None:
            raise ValueError(f"layer {self.layer!r} did not run in the forward pass; name another one.")
        if self.seen.ndim != axes:
            raise ValueError(
                f"layer {self.layer!r} gives shape {tuple(self.seen.shape)}, not a map of {axes - 2} spatial axes; "
                "name a layer whose output is a map."
            )
        return self.seen


def _class_indices(logits: torch.Tensor, class_index: Any) -> torch.Tensor:
    """Class of each image, in the shape that ``logits.gather(1, ...)`` takes."""
    batch, classes = logits.shape[:2]
    if class_index is None:
        if logits.ndim != 2:
            raise ValueError("a network with logits for every pixel needs class_index.")
        class_index = logits.argmax(1)
    chosen = torch.as_tensor(class_index, device=logits.device).long()
    if chosen.ndim and chosen.shape != (batch,) or bool(((chosen < 0) | (chosen >= classes)).any()):
        raise ValueError(f"class_index must be one class or {batch}, each in 0..{classes - 1}, got {class_index}.")
    shape = (batch, *[1] * (logits.ndim - 1))
    return chosen.expand(batch).reshape(shape).expand(batch, 1, *logits.shape[2:])
