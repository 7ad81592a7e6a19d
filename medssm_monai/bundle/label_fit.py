"""Whether the classes that weights were trained for are those of the data, and of a training that starts from them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ..data.datalists.dataset_json import ONE_CLASS, dataset_labels
from ..data.labels import LabelSet
from .settings import saved_settings
from .weights import weights_hint

__all__ = ["other_classes", "require_labels_of_data"]


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


def other_classes(
    settings: Mapping[str, Any], ckpt_path: str | os.PathLike[str] | None
) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Whether a training starts from weights of other classes.

    Args:
        settings: of the training.
        ckpt_path: weights to start from. Those of a segmentation whose settings name no labels, as in earlier versions,
            are of one class.

    Returns:
        the names of the weights' outputs and those of the training's. None where they are the same, where either is not
        known (no settings file, for instance), and for two segmentations of one class each, whatever its name: what
        stands out from its background is a good start for what else does.
    """
    saved = None if ckpt_path is None else saved_settings(ckpt_path)
    if saved is None:
        return None
    ours = _output_names(settings)
    theirs = _output_names(saved, ONE_CLASS if "labels" in settings else None)
    if ours is None or theirs is None or ours == theirs or len(ours) == len(theirs) == 1:
        return None
    return theirs, ours


def _output_names(settings: Mapping[str, Any], earlier: Mapping[str, Any] | None = None) -> tuple[str, ...] | None:
    """Names of a network's outputs, one per row of its last layer: classes, the background first where there is one.

    Args:
        settings: with ``class_names`` of a classification, or ``labels`` of a segmentation.
        earlier: ``labels`` of settings that name neither.

    Returns:
        None where the outputs are no classes, those of a fusion for instance.
    """
    if "class_names" in settings:
        return tuple(map(str, settings["class_names"]))
    labels = settings.get("labels", earlier)
    return None if labels is None else LabelSet.of(labels).channel_names


def _meaning(labels: LabelSet) -> dict[str, list[int]]:
    """Values of each class, in any order."""
    return {name: sorted(values) for name, values in zip(labels.names, labels.values, strict=True)}
