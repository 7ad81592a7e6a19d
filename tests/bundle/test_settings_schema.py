"""What a settings file may hold: every wrong value is refused with file, key, value and expectation."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

import medssm_monai
from medssm_monai.bundle import read_model_settings
from medssm_monai.bundle.argument_rules import APART, ARGUMENT_RULES, network_arguments
from medssm_monai.bundle.settings import saved_settings
from medssm_monai.bundle.settings_schema import SETTING_RULES
from medssm_monai.registry import register

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
GOOD = {
    "variant": "medconvmamba_t",
    "spatial_dims": 2,
    "in_channels": 1,
    "image_size": [28, 28],
    "patch_size": 4,
    "mean": [0.449],
    "std": [0.226],
    "network_args": {"dropout": 0.1},
    "class_names": ["normal, benign", "<b>"],
    "temperature": 0.59,
}


def _read(folder, settings, defaults=GOOD):
    (folder / "model.json").write_text(settings if isinstance(settings, str) else json.dumps(settings))
    return read_model_settings(folder / "model.pt", defaults)


def test_good_settings_are_read_as_they_are(tmp_path):
    assert _read(tmp_path, GOOD) == GOOD
    assert _read(tmp_path, {"image_size": 32})["image_size"] == 32
    assert _read(tmp_path, {"class_names": ["$1", "@x", "50 %"]})["class_names"] == ["$1", "@x", "50 %"]  # data


@pytest.mark.parametrize("file", sorted(BUNDLES.glob("*/models/*.json")), ids=lambda path: path.stem)
def test_the_shipped_settings_are_read(file):
    content = json.loads(file.read_text())
    kept = read_model_settings(file.with_suffix(".pt"), {key: None for key in content})
    of_the_weights = {"weights_sha256", "trained_on", "domain", "conformal"}  # which no config sees
    assert kept == {key: None if key in of_the_weights else value for key, value in content.items()}


def _keys(file):
    config = yaml.safe_load(file.read_text())
    if file.stem == "settings":
        return set(config.keys() | config.pop("earlier_versions", {}).keys()) - {"earlier_versions"}
    return set(config.get("settings", {}))


def test_every_key_that_a_bundle_writes_or_reads_has_a_rule():
    keys = set().union(*map(_keys, BUNDLES.glob("*/configs/*.yaml")))
    assert {"variant", "sources", "class_names", "temperature", "patch_size"} <= keys <= SETTING_RULES.keys()


@pytest.mark.parametrize("variant", sorted(register().names))
def test_every_argument_of_a_network_has_a_rule_that_its_default_fits(variant):
    for name, default in network_arguments(variant).items():
        assert name in APART or ARGUMENT_RULES[name].fits(default), name


WRONG = [
    ({"temperature": 0}, "temperature is 0; expected a number from"),
    ({"temperature": -1.0}, "temperature is -1.0"),
    ('{"temperature": NaN}', "temperature is nan"),
    ('{"temperature": Infinity}', "temperature is inf"),
    ({"temperature": True}, "temperature is True"),
    ({"temperature": "1.0"}, "temperature is '1.0'"),
    ({"in_channels": 0}, "in_channels is 0; expected a whole number from 1 to 64"),
    ({"in_channels": 10**9}, "in_channels is 1000000000"),
    ({"in_channels": 1.5}, "in_channels is 1.5"),
    ({"spatial_dims": 4}, "spatial_dims is 4; expected a whole number from 2 to 3"),
    ({"image_size": [28, -28]}, "image_size is"),
    ({"image_size": [28]}, "image_size is"),
    ({"image_size": "28"}, "image_size is '28'"),
    ({"image_size": [16000, 16000]}, "image_size is .*sides whose product is at most 16,777,216"),
    ({"image_size": [64, 64, 64], "spatial_dims": 2}, "image_size is .*2 whole numbers, as spatial_dims is 2"),
    ({"patch_size": 0}, "patch_size is 0"),
    ({"mean": ["0"]}, "mean is"),
    ({"std": [0.0]}, "std is"),
    ({"class_names": "ab"}, "class_names is 'ab'"),
    ({"class_names": ["a"]}, "class_names is"),
    ({"class_names": ["a", "a"]}, "class_names is .*different texts"),
    ({"class_names": ["\u00e9", "e\u0301"]}, "class_names is .*different texts"),
    ({"class_names": ["a", " "]}, "class_names is"),
    ({"class_names": ["a", "b\n# c"]}, "class_names is .*without control characters"),
    ({"class_names": ["a", "\u202eb"]}, "class_names is"),
    ({"class_names": ["a", 1]}, "class_names is"),
    ({"class_names": ["a", "b" * 301]}, "class_names is"),
    ({"variant": "$__import__('os')"}, "variant is .*expected a word"),
    ({"variant": "@bundle_root"}, "variant is"),
    ({"network_args": []}, r"network_args is \[\]"),
    ({"network_args": {"depth": 10**9}}, "network_args, depth is 1000000000; expected a whole number from 0 to 64"),
    ({"network_args": {"depth": {"a": 1}}}, "network_args, depth is"),
    ({"network_args": {"depths": 3}}, "network_args, depths is 3; expected one of the arguments .*depth, discretiz"),
    ({"network_args": {"pretrained_path": "/etc/passwd"}}, "network_args, pretrained_path is"),
    ({"network_args": {"img_size": 9}}, "network_args, img_size is 9"),
    ({"network_args": {"scan": "$print(1)"}}, "network_args, scan is .*expected a word"),
    ({"network_args": {"_target_": "os.system"}}, "network_args, _target_ is"),
    ({"network_args": {"dropout": 2}}, "network_args, dropout is 2"),
    (
        {"network_args": {"fusion": "flatten"}, "image_size": [4096, 4096], "patch_size": 1},
        "the network would have .* parameters; at most 536,870,912",
    ),
    ({"weights_sha256": "abc"}, "weights_sha256 is 'abc'; expected 64 hexadecimal digits"),
    ({"trained_on": 5}, "trained_on is 5"),
    ('{"temperature": 1, "temperature": 2}', "a key twice"),
    ("[" * 100_000, "is no JSON"),
    ("1" * 5000, "is no JSON"),
    (" " * (1 << 21), "more than 1 MiB"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG, ids=[message[:40] for _, message in WRONG])
def test_what_no_training_would_have_written_is_refused(tmp_path, wrong, message):
    with pytest.raises(ValueError, match=message) as raised:
        _read(tmp_path, wrong if isinstance(wrong, str) else {**GOOD, **wrong})
    assert str(tmp_path / "model.json") in str(raised.value) and len(str(raised.value)) < 1000


def test_a_network_of_the_users_own_takes_plain_values_only(tmp_path):
    own = {"variant": "monai_unet", "network_args": {"features": [16, 32], "act": "relu", "bias": True}}
    assert _read(tmp_path, own)["network_args"] == own["network_args"]
    for value in ("$1", {"a": 1}, [["a"]], 10**12):
        with pytest.raises(ValueError, match="network_args, features is"):
            _read(tmp_path, {"variant": "monai_unet", "network_args": {"features": value}})


@pytest.mark.parametrize("wrong", [{"temperature": 0}, {"network_args": {"depth": 10**9}}, {"class_names": ["a", "a"]}])
def test_a_bundle_with_such_settings_is_not_loaded(tmp_path, wrong):
    from tests.bundle.tiny_bundles import MEDCONVMAMBA, copy_bundle

    root = copy_bundle(MEDCONVMAMBA, tmp_path)
    (root / "models" / "model.json").write_text(json.dumps({**MEDCONVMAMBA.settings, **wrong}))
    with pytest.raises(Exception, match=f"model.json: .*{re.escape(next(iter(wrong)))}"):
        medssm_monai.load(root, device="cpu").predict(tmp_path / "a.png")


@pytest.mark.parametrize(
    "path", sorted(BUNDLES.glob("*/models/*.json")), ids=lambda path: f"{path.parts[-3]}-{path.stem}"
)
def test_shipped_settings_ask_for_no_count_of_parameters(path, monkeypatch):
    """Networks of usual size are not built a second time to be counted."""

    def built(*_, **__):
        raise AssertionError("counted")

    monkeypatch.setattr("medssm_monai.registry.get_network", built)
    assert saved_settings(path.with_suffix(".pt"))["variant"]
