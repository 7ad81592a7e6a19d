from __future__ import annotations

import pytest

from medssm_monai.utils import read_model_settings, update_model_settings, write_model_settings

DEFAULTS = {"variant": "s", "image_size": [64, 64]}


def test_settings_travel_beside_the_checkpoint(tmp_path):
    write_model_settings(tmp_path / "model.pt", {"image_size": [128, 96]})
    assert read_model_settings(tmp_path / "model.pt", DEFAULTS) == {"variant": "s", "image_size": [128, 96]}


def test_without_a_file_the_defaults_count_and_a_lone_checkpoint_is_warned_about(tmp_path, caplog):
    assert read_model_settings(tmp_path / "model.pt", DEFAULTS) == DEFAULTS
    assert not caplog.records
    (tmp_path / "model.pt").write_bytes(b"")
    assert read_model_settings(tmp_path / "model.pt", DEFAULTS) == DEFAULTS
    assert "no settings file" in caplog.text


def test_one_setting_changes_and_the_others_stay(tmp_path):
    update_model_settings(tmp_path / "model.pt", variant="b")
    update_model_settings(tmp_path / "model.pt", image_size=[32, 32])
    assert read_model_settings(tmp_path / "model.pt", DEFAULTS) == {"variant": "b", "image_size": [32, 32]}
    assert [path.name for path in tmp_path.iterdir()] == ["model.json"]


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_spoilt_settings_are_not_overwritten(tmp_path, text):
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(ValueError, match="model.json"):
        update_model_settings(tmp_path / "model.pt", variant="b")
    assert (tmp_path / "model.json").read_text() == text


@pytest.mark.parametrize("text", ["{", "[1]", '{"depth": 3}'])
def test_spoilt_settings_are_named(tmp_path, text):
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(ValueError, match="model.json"):
        read_model_settings(tmp_path / "model.pt", DEFAULTS)
