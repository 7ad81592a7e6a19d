from __future__ import annotations

import json

import pytest
from monai.bundle import ConfigParser

from medssm_monai.bundle.shown_config import shown_config


@pytest.fixture
def parser(tmp_path):
    secret = tmp_path / "PATIENT"
    secret.mkdir()
    return ConfigParser(
        {
            "_meta_": {"version": 1},
            "dataset_dir": str(secret),
            "output_dir": f"$'{secret}/out'",
            "ckpt_dir": "$@output_dir + '/models'",
            "home": "~/PATIENT/x",
            "tracker": {"tracking_uri": "https://user:password@host.example:5000/x", "names": ["a", "b"]},
            "batch": "$2 * 4",
            "not_asked": "$1 / 0",
            "items": [{"_target_": "builtins.dict", "a": "@batch"}],
        }
    )


def test_values_where_they_are_known_and_expressions_elsewhere(parser):
    assert parser.get_parsed_content("batch") == 8
    found = shown_config(parser)
    assert found["batch"] == 8 and found["not_asked"] == "$1 / 0"
    assert found["items"] == [{"_target_": "builtins.dict", "a": "@batch"}]
    assert "_meta_" not in found
    assert shown_config(parser, values=False)["batch"] == "$2 * 4"


def test_no_places_and_no_servers(parser, tmp_path, monkeypatch):
    monkeypatch.delenv("MEDSSM_FULL_NAMES", raising=False)
    for values in (True, False):
        parser.get_parsed_content("output_dir")
        text = json.dumps(shown_config(parser, values))
        assert str(tmp_path) not in text and "PATIENT/" not in text and "password" not in text and "host." not in text
        assert "@output_dir + '/models'" in text  # a part of a path is none
    monkeypatch.setenv("MEDSSM_FULL_NAMES", "1")
    assert str(tmp_path) in json.dumps(shown_config(parser))
