from __future__ import annotations

import hashlib
import json
import threading

import pytest

from medssm_monai.bundle import read_model_settings, update_model_settings, write_model_settings

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


def test_a_key_that_nearly_fits_is_asked_about(tmp_path):
    (tmp_path / "model.json").write_text('{"image_sizes": [1, 1]}')
    with pytest.raises(ValueError, match=r"'image_sizes' \(meant: 'image_size'\?\)"):
        read_model_settings(tmp_path / "model.pt", DEFAULTS)


def _sealed(folder, weights=b"weights", named=None):
    (folder / "model.pt").write_bytes(weights)
    digest = hashlib.sha256(weights if named is None else named).hexdigest()
    write_model_settings(folder / "model.pt", {"variant": "b", "weights_sha256": digest, "trained_on": "demo"})
    return digest


def test_settings_of_these_weights_are_read_and_say_nothing_of_it_to_configs(tmp_path):
    digest = _sealed(tmp_path)
    assert read_model_settings(tmp_path / "model.pt", DEFAULTS) == {**DEFAULTS, "variant": "b"}
    update_model_settings(tmp_path / "model.pt", image_size=[8, 8])
    kept = json.loads((tmp_path / "model.json").read_text())
    assert (kept["weights_sha256"], kept["trained_on"], kept["image_size"]) == (digest, "demo", [8, 8])


def test_settings_of_other_weights_are_refused(tmp_path):
    digest = _sealed(tmp_path, named=b"others")
    with pytest.raises(ValueError, match=f"do not belong together.*{digest[:12]}.*Copy both files"):
        read_model_settings(tmp_path / "model.pt", DEFAULTS)


def test_a_pair_that_is_being_published_is_waited_for(tmp_path):
    _sealed(tmp_path, named=b"new")
    timer = threading.Timer(0.3, lambda: (tmp_path / "model.pt").write_bytes(b"new"))
    timer.start()
    assert read_model_settings(tmp_path / "model.pt", DEFAULTS)["variant"] == "b"
    timer.join()
