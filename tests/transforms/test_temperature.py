from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Activationsd, Compose

from medssm_monai.bundle import read_model_settings, write_model_settings
from medssm_monai.transforms import TemperatureScaled


@pytest.mark.parametrize("temperature", [0.5, 1, 2.5])
def test_probabilities_of_the_divided_logits(temperature) -> None:
    logits = torch.tensor([1.0, -2.0, 0.5])
    chain = Compose([TemperatureScaled("pred", temperature), Activationsd("pred", softmax=True)])
    result = chain({"pred": MetaTensor(logits, meta={"filename_or_obj": "a.png"}), "label": 1})
    odds = torch.exp(logits / temperature)
    torch.testing.assert_close(result["pred"].as_tensor(), odds / odds.sum())
    assert result["pred"].argmax() == logits.argmax() and result["label"] == 1


def test_temperature_comes_from_the_settings_beside_the_weights(tmp_path) -> None:
    write_model_settings(tmp_path / "model.pt", {"temperature": 2.0})
    settings = read_model_settings(tmp_path / "model.pt", {"temperature": 1.0})
    scaled = TemperatureScaled("pred", settings["temperature"])({"pred": torch.tensor([4.0, 2.0])})
    assert scaled["pred"].tolist() == [2.0, 1.0]


def test_missing_key() -> None:
    assert TemperatureScaled("pred", 2.0, allow_missing_keys=True)({"image": 1}) == {"image": 1}
    with pytest.raises(KeyError):
        TemperatureScaled("pred", 2.0)({"image": 1})


@pytest.mark.parametrize("temperature", [0, -2, float("nan"), None, "x"])
def test_bad_temperature(temperature) -> None:
    with pytest.raises(ValueError, match="positive number"):
        TemperatureScaled("pred", temperature)
