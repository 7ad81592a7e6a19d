"""Logits divided by a temperature, so that the softmax behind it gives calibrated probabilities."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform

from ..metrics.calibration import check_temperature

__all__ = ["TemperatureScaleD", "TemperatureScaleDict", "TemperatureScaled"]


class TemperatureScaled(MapTransform):
    """Divide logits by a temperature (Guo et al., ICML 2017, sec. 4.2). Put it before ``Activationsd(softmax=True)``.

    The predicted class stays; confidence falls for a temperature above 1 and rises below it. The temperature comes
    with the weights, from the settings file beside them:
    ``temperature: "$@model_settings['temperature']"`` with ``read_model_settings`` and the default 1.0.

    Args:
        keys: logits, usually ``"pred"``; any shape.
        temperature: positive; 1.0 leaves the logits as they are.
        allow_missing_keys: pass over keys that are not there.

    Raises:
        ValueError: the temperature is not a positive finite number.
    """

    def __init__(self, keys: KeysCollection, temperature: float = 1.0, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.temperature = check_temperature(temperature)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = result[key] / self.temperature
        return result


TemperatureScaleD = TemperatureScaleDict = TemperatureScaled
