"""Transforms of whole batches, in the place where MONAI's engines prepare them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from monai.engines import PrepareBatch, default_prepare_batch
from monai.transforms import Compose
from monai.utils import CommonKeys

from ..utils.processes import process_rank, whole_batch, world_size

__all__ = ["PrepareBatchTransform"]


class PrepareBatchTransform(PrepareBatch):
    """Move ``image`` and ``label`` of a batch to the device and transform both together, for example by CutMix.

    Give it to a trainer as ``prepare_batch``. The transforms see batches ``(B, ...)`` and run once per iteration in
    the main process; random ones take the seed of :func:`monai.utils.set_determinism`, as in any ``Compose``. In a
    distributed training they see the batch of all processes, with the same random numbers in each
    (:class:`medssm_monai.handlers.EpochSeed`), and each process goes on with its own part.

    Args:
        transforms: dictionary transforms of a batch, such as :class:`~medssm_monai.transforms.AreaCutMixd`.

    Raises:
        ValueError: for a batch that is no dict with ``image`` and ``label``.

    Example:
        >>> from medssm_monai.transforms import AreaCutMixd
        >>> prepare = PrepareBatchTransform([AreaCutMixd("image", "label", num_classes=2)])
        >>> prepare({"image": torch.rand(4, 1, 8, 8), "label": torch.tensor([0, 1, 1, 0])}, "cpu")[1].shape
        torch.Size([4, 2])
    """

    def __init__(self, transforms: Sequence[Callable] | Callable) -> None:
        self.transform = Compose(transforms, map_items=False)

    def __call__(
        self,
        batchdata: Mapping[str, Any],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not isinstance(batchdata, Mapping) or not {CommonKeys.IMAGE, CommonKeys.LABEL} <= set(batchdata):
            found = sorted(batchdata) if isinstance(batchdata, Mapping) else type(batchdata).__name__
            raise ValueError(f"a batch must be a dict with 'image' and 'label', got {found}.")
        image, label = default_prepare_batch(dict(batchdata), device, non_blocking, **kwargs)
        if world_size() == 1:
            changed = self.transform({CommonKeys.IMAGE: image, CommonKeys.LABEL: label})
            return changed[CommonKeys.IMAGE], changed[CommonKeys.LABEL]
        whole = {CommonKeys.IMAGE: whole_batch(image), CommonKeys.LABEL: whole_batch(torch.as_tensor(label))}
        rank = process_rank()
        mine = whole_batch(torch.full((len(image),), rank, device=image.device)) == rank
        changed = self.transform(whole)
        return changed[CommonKeys.IMAGE][mine], changed[CommonKeys.LABEL][mine]
