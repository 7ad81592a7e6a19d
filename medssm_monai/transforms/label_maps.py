"""From masks to a network's target, and from its output to classes and label maps."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform

from ..data.labels import IGNORED, LabelSet
from .each_key import EachKeyd

__all__ = [
    "ClassMasks",
    "ClassMasksD",
    "ClassMasksDict",
    "ClassMasksd",
    "DropUnlabeledD",
    "DropUnlabeledDict",
    "DropUnlabeledd",
    "EncodeLabels",
    "EncodeLabelsD",
    "EncodeLabelsDict",
    "EncodeLabelsd",
    "FillBackgroundD",
    "FillBackgroundDict",
    "FillBackgroundd",
    "LabelMap",
    "LabelMapD",
    "LabelMapDict",
    "LabelMapd",
]

Labels = LabelSet | Mapping[str, Any]


class _OfLabels(Transform):
    """Made of a mask or prediction, with its metadata and the record of its transforms."""

    def __init__(self, labels: Labels) -> None:
        self.labels = LabelSet.of(labels)

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        if not isinstance(img, MetaTensor):
            return self._made(img)
        return MetaTensor(self._made(img.as_tensor()), meta=img.meta, applied_operations=img.applied_operations)

    def _made(self, img: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


class EncodeLabels(_OfLabels):
    """A loaded mask ``(1, *spatial)`` to the target of a loss (:meth:`~medssm_monai.data.LabelSet.to_target`).

    After the spatial transforms: one channel with small numbers is cheaper to turn than one channel per region.

    Args:
        labels: names and values of the classes.
    """

    def _made(self, img: torch.Tensor) -> torch.Tensor:
        return img if self.labels.by_rule else self.labels.to_target(img)


def _checked(threshold: float) -> float:
    number = isinstance(threshold, (int, float)) and not isinstance(threshold, bool)
    if not number or not 0 < threshold <= 1:
        raise ValueError(f"threshold must be a number in (0, 1], 0.5, or False for probabilities, got {threshold!r}.")
    return float(threshold)


class ClassMasks(_OfLabels):
    """Each class alone, ``(K, *spatial)`` uint8 in {0, 1}.

    Args:
        labels: names and values of the classes.
        of: ``"prediction"``, probabilities ``(out_channels, *spatial)``, or ``"target"``, what :class:`EncodeLabels`
            gives.
        threshold: probability from which a class holds, where classes do not exclude each other.

    Raises:
        ValueError: another word, a threshold outside (0, 1].
    """

    def __init__(self, labels: Labels, of: str = "prediction", threshold: float = 0.5) -> None:
        super().__init__(labels)
        if of not in ("prediction", "target"):
            raise ValueError(f"of must be 'prediction' or 'target', got {of!r}.")
        self.of, self.threshold = of, _checked(threshold)

    def _made(self, img: torch.Tensor) -> torch.Tensor:
        masks = self.labels.masks(img, self.threshold) if self.of == "prediction" else self.labels.target_masks(img)
        return masks.to(torch.uint8)


class LabelMap(_OfLabels):
    """Probabilities ``(out_channels, *spatial)`` to the label map ``(1, *spatial)`` that is written to a file.

    Args:
        labels: names and values of the classes.
        threshold: probability from which a class holds, where classes do not exclude each other.

    Raises:
        ValueError: a threshold outside (0, 1].
    """

    def __init__(self, labels: Labels, threshold: float = 0.5) -> None:
        super().__init__(labels)
        self.threshold = _checked(threshold)

    def _made(self, img: torch.Tensor) -> torch.Tensor:
        found = self.labels.label_map(self.labels.masks(img, self.threshold))
        return found.to(torch.float32) if self.labels.by_rule else found


class EncodeLabelsd(EachKeyd):
    """Dictionary version of :class:`EncodeLabels`.

    Args:
        keys: loaded masks.
        labels: see :class:`EncodeLabels`.
        allow_missing_keys: pass over keys that are not there.
    """

    def __init__(self, keys: KeysCollection, labels: Labels, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, EncodeLabels(labels), allow_missing_keys)


class DropUnlabeledd(MapTransform):
    """Set predictions to 0 where nobody has labeled, so that nothing is counted there.

    Args:
        keys: masks of classes ``(K, *spatial)``.
        label_key: target of :class:`EncodeLabels`, at the same places.
        allow_missing_keys: pass over keys that are not there.
    """

    def __init__(self, keys: KeysCollection, label_key: str = "label", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.label_key = label_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        unlabeled = torch.as_tensor(result[self.label_key])[:1] == IGNORED
        if unlabeled.any():
            for key in self.key_iterator(result):
                result[key] = result[key].masked_fill(unlabeled.to(result[key].device), 0)
        return result


class ClassMasksd(EachKeyd):
    """Dictionary version of :class:`ClassMasks`.

    Args:
        keys: predictions, or targets.
        labels, of, threshold: see :class:`ClassMasks`.
        allow_missing_keys: pass over keys that are not there.
    """

    def __init__(
        self,
        keys: KeysCollection,
        labels: Labels,
        of: str = "prediction",
        threshold: float = 0.5,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, ClassMasks(labels, of, threshold), allow_missing_keys)


class LabelMapd(EachKeyd):
    """Dictionary version of :class:`LabelMap`.

    Args:
        keys: probabilities.
        labels, threshold: see :class:`LabelMap`.
        allow_missing_keys: pass over keys that are not there.
    """

    def __init__(
        self, keys: KeysCollection, labels: Labels, threshold: float = 0.5, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, LabelMap(labels, threshold), allow_missing_keys)


class FillBackgroundd(MapTransform):
    """Give the background what the classes leave, where they exclude each other.

    Inverting a crop puts zeros into every channel around it, and inverting a resampling blends these into its border.
    There all is background; without this the probabilities would not add up to 1. The tensor itself is changed: a copy
    of many channels of a large volume would take gigabytes. Predictions of other classes stay as they are.

    Args:
        keys: probabilities ``(out_channels, *spatial)`` after the inversion.
        labels: names and values of the classes.
        allow_missing_keys: pass over keys that are not there.
    """

    def __init__(self, keys: KeysCollection, labels: Labels, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.labels = LabelSet.of(labels)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        if self.labels.softmax:
            for key in self.key_iterator(result):
                values = result[key].as_tensor() if isinstance(result[key], MetaTensor) else result[key]
                torch.maximum(values[0], 1 - values[1:].sum(0), out=values[0])
        return result


EncodeLabelsD = EncodeLabelsDict = EncodeLabelsd
ClassMasksD = ClassMasksDict = ClassMasksd
LabelMapD = LabelMapDict = LabelMapd
DropUnlabeledD = DropUnlabeledDict = DropUnlabeledd
FillBackgroundD = FillBackgroundDict = FillBackgroundd
