"""Which images are unlike those that the weights were trained with, said while they are prepared."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from ..data.fingerprint import NOT_RECORDED, Fingerprint, ImageFacts, flag_text
from .unit_range import ToUnitRange

__all__ = ["UNLIKE_TRAINING", "FlagUnlikeTrainingD", "FlagUnlikeTrainingDict", "FlagUnlikeTrainingd", "UnitFacts"]

UNLIKE_TRAINING = "unlike_training"
"""Entry of an item, column of a table, answer of a host."""


VOLUME = 4  # axes of a volume, that of the channels included


class UnitFacts:
    """:class:`~medssm_monai.data.fingerprint.ImageFacts` of an image ``(C, *spatial)`` in the units of its file.

    A training and a prediction measure by this one class. Of a volume with other than one or three channels, such as
    the sequences of an MRI, the first is measured.

    Args:
        intensity_range: see :class:`~medssm_monai.transforms.ToUnitRange`, whose errors it has.
    """

    def __init__(self, intensity_range: float | None = None) -> None:
        self.unit_range = ToUnitRange(None, intensity_range, warn=False)

    def __call__(self, image: torch.Tensor) -> ImageFacts:
        if image.ndim == VOLUME and image.shape[0] not in (1, 3):
            image = image[:1]
        return ImageFacts.of(torch.as_tensor(self.unit_range(image)).detach().cpu().numpy())


class FlagUnlikeTrainingd(MapTransform):
    """Note in an item whether its image is unlike those that the weights were trained with; the image stays as it is.

    :mod:`medssm_monai.data.fingerprint` says what is compared, and how. The entry ``flag_key`` becomes a text: empty
    for an image like them, else the reasons, separated by ``"; "`` and, of several images, after the key of each;
    ``"not recorded"`` where the weights come without a domain.

    Args:
        keys: images ``(C, *spatial)`` in the units of their files, before :class:`~.ToUnitRanged` and any resizing.
        domain: what :func:`medssm_monai.bundle.read_domain` gives.
        intensity_range: value that stands for 1.0 in 16-bit images, the same as of the preprocessing.
        flag_key: entry that is written.
        allow_missing_keys: pass over keys that are not there.

    Attributes:
        measured: what was found in the last item, by key; empty where there is no domain to compare it with.

    Raises:
        ValueError: a domain without one of the keys (at once); NaN, or values above ``intensity_range``.
    """

    def __init__(
        self,
        keys: KeysCollection,
        domain: Mapping[str, Any] | None,
        intensity_range: float | None = None,
        flag_key: str = UNLIKE_TRAINING,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.flag_key, self.facts = flag_key, UnitFacts(intensity_range)
        self.fingerprints: dict[Hashable, Fingerprint] | None = None
        self.measured: dict[str, ImageFacts] = {}
        if domain is not None:
            known = domain["fingerprints"]
            missing = [key for key in self.keys if key not in known]
            if missing:
                raise ValueError(
                    f"the domain of the weights describes {', '.join(known)}, not {', '.join(map(str, missing))}; take "
                    "weights of this bundle, or remove 'domain' from the file .json beside them."
                )
            self.fingerprints = {key: Fingerprint(**known[str(key)]) for key in self.keys}

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        if self.fingerprints is None:
            return {**result, self.flag_key: NOT_RECORDED}
        reasons = []
        self.measured = {}
        for key in self.key_iterator(result):
            facts = self.measured[str(key)] = self.facts(result[key])
            found = self.fingerprints[key].differences(facts)
            reasons += [f"{key}: {reason}" if len(self.keys) > 1 else reason for reason in found]
        return {**result, self.flag_key: flag_text(reasons)}


FlagUnlikeTrainingD = FlagUnlikeTrainingDict = FlagUnlikeTrainingd
