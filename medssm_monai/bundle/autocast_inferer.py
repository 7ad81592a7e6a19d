"""An inferer whose network computes in the precision that one word names, on CPUs as on GPUs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from monai.inferers import Inferer

from ..ops.small_maps import SmallMapsInFloat32
from ..utils import as_device, chosen_precision

__all__ = ["AutocastInferer"]


class AutocastInferer(Inferer):
    """Calls another inferer with the network under PyTorch's autocast; its predictions come out in float32.

    MONAI's engines take ``amp``, which is for CUDA devices only and covers the loss too; this one serves every device,
    and training, evaluation and prediction alike: loss, metrics, and the sums over sliding windows stay in float32, as
    do the state of a selective scan, Fourier transforms, convolutions that PyTorch gets wrong otherwise
    (:class:`~medssm_monai.ops.SmallMapsInFloat32`) and whatever autocast itself keeps there. Weights and their
    gradients are float32 in every precision.

    Args:
        inferer: does the work.
        precision: one of :data:`~medssm_monai.utils.precision.PRECISIONS`; ``"float32"`` changes nothing.
        device: where the network is.

    Attributes:
        inferer: as given.
        precision: ``"float32"``, ``"bfloat16"`` or ``"float16"``. A training in float16 needs a trainer with
            ``amp=True`` beside it, which scales the loss.

    Raises:
        ValueError: as :func:`~medssm_monai.utils.chosen_precision`.
    """

    def __init__(self, inferer: Inferer, precision: str, device: str | torch.device) -> None:
        super().__init__()
        self.inferer = inferer
        self.precision = chosen_precision(precision, device)
        self._kind = as_device(device).type

    def __call__(self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self.precision == "float32":
            return self.inferer(inputs, network, *args, **kwargs)
        dtype, on_cpu = getattr(torch, self.precision), self._kind == "cpu"

        def predict(*inner: Any, **options: Any) -> torch.Tensor | list[torch.Tensor]:
            with torch.autocast(self._kind, dtype=dtype), SmallMapsInFloat32() if on_cpu else nullcontext():
                predicted = network(*inner, **options)
                several = isinstance(predicted, (list, tuple))  # of deep supervision
                return [one.float() for one in predicted] if several else predicted.float()

        return self.inferer(inputs, predict, *args, **kwargs)
