"""Each class of a segmented item: its probability map, and where the label has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.data import MetaTensor
from monai.utils import CommonKeys

from ..data.labels import IGNORED, LabelSet
from ..metrics.conformal_risk import RiskThresholds, missed_share

__all__ = ["ClassForeground", "class_foregrounds", "controlled_scores"]


class ClassForeground(NamedTuple):
    """``probability`` and ``truth`` (bool) of one class, each ``(N,)`` of the pixels or voxels that are labeled."""

    probability: np.ndarray
    truth: np.ndarray


def class_foregrounds(item: Mapping[str, Any], labels: LabelSet) -> dict[str, ClassForeground]:
    """The classes of one decollated item, by name.

    Args:
        item: ``pred``, probabilities ``(out_channels, *spatial)``, and ``label``, the target of the same size.
        labels: the classes.

    Raises:
        ValueError: other shapes, or values that are no probabilities.
    """
    pred, target = (_plain(item[key]) for key in (CommonKeys.PRED, CommonKeys.LABEL))
    if len(pred) != labels.out_channels or pred.shape[1:] != target.shape[1:]:
        raise ValueError(
            f"pred has shape {tuple(pred.shape)} and label {tuple(target.shape)}; expected {labels.out_channels} "
            f"channels ({', '.join(labels.channel_names)}) of the size of the label."
        )
    if not bool(torch.isfinite(pred).all()) or float(pred.min()) < 0 or float(pred.max()) > 1:
        raise ValueError("pred must hold probabilities from 0 to 1; apply the sigmoid or softmax to logits first.")
    labeled = (target != IGNORED).all(0)
    truths = labels.target_masks(target)
    return {
        name: ClassForeground(probability[labeled].numpy(), truth[labeled].numpy())
        for name, probability, truth in zip(labels.names, pred[int(labels.softmax) :], truths, strict=True)
    }


def controlled_scores(
    item: Mapping[str, Any], labels: LabelSet, risk: RiskThresholds
) -> tuple[dict[str, float], dict[str, float]]:
    """Of the controlled mask of each class: the share of the foreground that it misses, and its size over the label's;
    NaN where the label has none."""
    missed, marked = {}, {}
    for name, (probability, truth) in class_foregrounds(item, labels).items():
        mask = risk.mask(probability, name)
        missed[name] = missed_share(mask, truth)
        marked[name] = float(mask.sum() / truth.sum()) if truth.any() else float("nan")
    return missed, marked


def _plain(value: Any) -> torch.Tensor:
    tensor = value.as_tensor() if isinstance(value, MetaTensor) else torch.as_tensor(value)
    return tensor.detach().cpu().float()
