"""One item of an evaluation by classes: checked, scored, and kept as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing
from monai.utils import CommonKeys

from ..data.labels import IGNORED, LabelSet
from ..metrics.class_overlap import class_counts, class_scores, volume_unit
from ..reports.cases import KeptPicture
from ..reports.segmentation_classes import ClassesRecord

__all__ = ["ClassScorer"]


class ClassScorer:
    """Scores the classes of one image at a time, and draws it.

    Args:
        labels: the classes.
        metrics: names of :func:`~medssm_monai.metrics.class_scores`.
        threshold: from which a class holds, where classes may overlap.
        spacing: of pictures, in mm; volumes go by their affine matrix, and by this where they have none.
        tolerance: of surface Dice.
    """

    def __init__(
        self,
        labels: LabelSet,
        metrics: Sequence[str],
        threshold: float,
        spacing: float | Sequence[float] | None,
        tolerance: float,
    ) -> None:
        self.labels, self.metrics, self.threshold = labels, metrics, threshold
        self.spacing, self.tolerance = spacing, tolerance

    def score(self, item: Mapping[str, Any], name: str) -> tuple[ClassesRecord, np.ndarray, np.ndarray]:
        """Score one item.

        Args:
            item: ``pred``, probabilities ``(out_channels, *spatial)``, and ``label``, the target of the same size
                (:meth:`~medssm_monai.data.labels.LabelSet.to_target`). What is ignored there is left out of both.
            name: its file.

        Returns:
            the record, and the masks of label and prediction, bool ``(K, *spatial)``.

        Raises:
            ValueError: other shapes or values.
        """
        pred, target = (_plain(item[key]) for key in (CommonKeys.PRED, CommonKeys.LABEL))
        self._check(pred, target)
        ignored = (target == IGNORED).any(0)
        total = ignored.numel() - int(ignored.sum())
        if not total:
            raise ValueError(
                "nobody has labeled any of it (the label holds the value of 'ignore' alone); leave it out."
            )
        masks = (self.labels.masks(pred, self.threshold) & ~ignored).numpy()
        truth = self.labels.target_masks(target).numpy() & ~ignored.numpy()
        spacing = self._spacing(item, truth.ndim - 1)
        named = list(zip(self.labels.names, masks, truth, strict=True))
        record = ClassesRecord(
            name,
            truth.shape[1:],
            {key: class_scores(mask, of, self.metrics, spacing, self.tolerance) for key, mask, of in named},
            np.stack([class_counts(mask, of, total) for _, mask, of in named]),
            [(float(channel.min()), float(channel.max())) for channel in pred[-len(named) :]],
            (
                "mm" if spacing is not None else "pixels" if truth.ndim == 3 else "voxels",
                volume_unit(truth.ndim - 1, spacing is not None),
            ),
        )
        return record, truth, masks

    def _check(self, pred: torch.Tensor, target: torch.Tensor) -> None:
        channels = 1 if self.labels.softmax else len(self.labels.names)
        if pred.ndim not in (3, 4) or pred.shape[1:] != target.shape[1:] or not pred.numel():
            raise ValueError(
                f"pred has shape {tuple(pred.shape)} and label {tuple(target.shape)}; expected channels and then the "
                "same two axes (pictures) or three (volumes)."
            )
        if len(pred) != self.labels.out_channels or len(target) != channels:
            raise ValueError(
                f"pred has {len(pred)} channels and label {len(target)}; {self.labels.described} needs "
                f"{self.labels.out_channels} ({', '.join(self.labels.channel_names)}) and {channels}."
            )
        low, high = map(float, torch.aminmax(pred))  # NaN where any is
        if not np.isfinite([low, high]).all():
            raise ValueError("pred holds values that are not finite; check the weights and the images.")
        if low < 0.0 or high > 1.0:
            last = "softmax" if self.labels.softmax else "sigmoid"
            raise ValueError(f"pred must lie in [0, 1], got [{low:.4g}, {high:.4g}]; apply the {last} to logits first.")
        largest = len(self.labels.names) if self.labels.softmax else 1
        if bool(((target != target.round()) | (target < IGNORED) | (target > largest)).any()):
            raise ValueError(
                f"label must hold whole numbers from {IGNORED} to {largest} (LabelSet.to_target), got values "
                f"{torch.unique(target)[:5].tolist()}; put EncodeLabelsd at the end of the preprocessing."
            )

    def _spacing(self, item: Mapping[str, Any], spatial_dims: int) -> list[float] | None:
        if spatial_dims == 3:
            size = item[CommonKeys.PRED].shape[1:]
            for key in (CommonKeys.LABEL, CommonKeys.IMAGE):
                values = item.get(key)
                if isinstance(values, MetaTensor) and values.shape[1:] == size:
                    return [float(step) for step in affine_to_spacing(values.affine, 3)]
        if self.spacing is None:
            return None
        given = np.atleast_1d(np.asarray(self.spacing, dtype=np.float64))
        return [float(given[0])] * spatial_dims if len(given) == 1 else given.tolist()

    def picture(self, item: Mapping[str, Any], label: np.ndarray, pred: np.ndarray) -> KeptPicture:
        """What is shown of an item: all of a picture; of a volume the slice with most foreground."""
        from ..visualize import plane_image, to_rgb, volume_plane, volume_slice

        image = item[CommonKeys.IMAGE]
        if label.ndim == 4:
            place = volume_slice(label, pred)
            holder = item[CommonKeys.LABEL] if isinstance(item[CommonKeys.LABEL], MetaTensor) else image
            affine = holder.affine.cpu().numpy() if isinstance(holder, MetaTensor) else None
            own = image.affine.cpu().numpy() if isinstance(image, MetaTensor) else affine
            image = plane_image(image, place, label.shape[-1], own)
            label, pred = (np.ascontiguousarray(volume_plane(masks, place, affine)) for masks in (label, pred))
        return KeptPicture.pack(to_rgb(image, label.shape[1:]), label, pred)


def _plain(values: Any) -> torch.Tensor:
    """Without metadata, on the CPU, float32."""
    tensor = values.as_tensor() if isinstance(values, MetaTensor) else torch.as_tensor(values)
    return tensor.detach().cpu().float()
