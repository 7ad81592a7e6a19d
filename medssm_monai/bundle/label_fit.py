"""Whether the classes that weights were trained for are those of the data, and of a training that starts from them."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

from ..data.datalists.dataset_json import ONE_CLASS, dataset_labels
from ..data.labels import LabelSet
from .settings import saved_settings
from .weights import weights_hint

__all__ = ["require_labels_of_data", "warn_of_other_labels"]

logger = logging.getLogger(__name__)


def require_labels_of_data(
    labels: Mapping[str, Any],
    settings: Mapping[str, Any],
    dataset_dir: str | os.PathLike[str],
    ckpt_path: str | os.PathLike[str],
) -> None:
    """Compare the labels of weights with those that a data set states, for its evaluation.

    Args:
        labels: that the evaluation takes; others than those of the weights are a user's word for the data, and pass.
        settings: of the weights, with ``labels`` and ``spatial_dims``.
        dataset_dir: folder, whose ``dataset.json`` is read where it has one, or the word for a demo set.
        ckpt_path: the weights, for the message.

    Raises:
        ValueError: other names or values, or several classes for weights of one class by rule.
        FileNotFoundError, DatalistError: no such folder, a broken ``dataset.json``.
    """
    ours = LabelSet.of(settings["labels"])
    theirs = LabelSet.of(dataset_labels(dataset_dir, "auto", settings["spatial_dims"]))
    unsaid = theirs.by_rule or (ours.by_rule and len(theirs.names) == 1)
    if unsaid or labels != settings["labels"] or _meaning(ours) == _meaning(theirs):
        return
    raise ValueError(
        f"the data have the classes {theirs.described}; {os.fspath(ckpt_path)} was trained for {ours.described}. Give "
        "the data or the checkpoint that belong together; the same classes under other names or values go, in the "
        f"order of the checkpoint, into --labels. {weights_hint(ckpt_path)}"
    )


def warn_of_other_labels(settings: Mapping[str, Any], ckpt_path: str | os.PathLike[str] | None) -> None:
    """Say it when a training starts from weights of other classes.

    Args:
        settings: of the training.
        ckpt_path: weights to start from; None, weights without a settings file, and settings that name no ``labels``
            pass. Weights of earlier versions, whose settings name none, are of one class.
    """
    saved = None if ckpt_path is None else saved_settings(ckpt_path)
    if ckpt_path is None or saved is None or "labels" not in settings:
        return
    ours, theirs = LabelSet.of(settings["labels"]), LabelSet.of(saved.get("labels", ONE_CLASS))
    if ours.channel_names != theirs.channel_names and max(ours.out_channels, theirs.out_channels) > 1:
        last = "as it is" if ours.out_channels == theirs.out_channels else "afresh"
        logger.warning(
            "%s was trained for the classes %s, this training is for %s: the last layer starts %s",
            *(os.fspath(ckpt_path), theirs.described, ours.described, last),
        )


def _meaning(labels: LabelSet) -> dict[str, list[int]]:
    """Values of each class, in any order."""
    return {name: sorted(values) for name, values in zip(labels.names, labels.values, strict=True)}
