"""What a request may ask for."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from medssm_monai.apps.label.requests import is_handed_over, plain_overrides

from ...bundle.tiny_bundles import BUNDLES

NAMES = ("mamba_mis", "medconvmamba", "medspectralnet", "clinical_fmamba")


@pytest.fixture(params=NAMES)
def config(request):
    return ConfigParser.load_config_file(str(BUNDLES / request.param / "configs" / "train.yaml"))


def test_settings_with_plain_values_can_be_given(config):
    wanted = {
        "learning_rate": 1e-4,
        "patience": 3,
        "precision": "bfloat16",
        "seed": "fast",
        "network_args": {"d_state": [4, 8]},
    }
    assert plain_overrides(wanted, config) == wanted
    assert plain_overrides({}, config) == {}


@pytest.mark.parametrize(
    "key",
    ["output_dir", "ckpt_dir", "bundle_root", "run_name", "dataset_dir", "split_file", "init_from", "resume_from"]
    + ["device", "initialize", "run", "training", "imports", "optimizer", "network_def", "config_file", "seed::a", "x"],
)
def test_settings_that_are_programs_or_files_cannot(config, key):
    with pytest.raises(ValueError, match=f"overrides: {key} cannot be set by a request; what can: .*learning_rate"):
        plain_overrides({key: 1}, config)


@pytest.mark.parametrize(
    "value",
    ["$exit(3)", "@device", "%file.json", "'$exit(3)'", r"'\\x24exit(3)'", "['$exit(3)']", "--config_file", "../up"]
    + [["$exit(3)"], {"_target_": "os.getcwd"}, {"a": {"_target_": "os.getcwd"}}, {"a": "{_target_: os.getcwd}"}],
)
def test_values_that_a_config_would_run_cannot(config, value):
    with pytest.raises(ValueError, match="overrides: seed: only numbers"):
        plain_overrides({"seed": value}, config)


@pytest.mark.parametrize(
    "value",
    [{"image_size": [64, 10**6]}, {"image_size": 1e308}, {"network_args": {"base_dim": 10**6}}, {"in_channels": 10**9}]
    + [{"network_args": {"a": [1, {"b": 5000}]}}, {"accumulation_steps": -(10**9)}],
)
def test_sizes_that_fill_the_memory_cannot(config, value):
    config = {**config, **dict.fromkeys(value, 1)}
    with pytest.raises(ValueError, match=f"more than a request may ask for: {next(iter(value))} up to"):
        plain_overrides(value, config)


def test_overrides_are_an_object(config):
    with pytest.raises(ValueError, match="must be an object"):
        plain_overrides(["seed"], config)


def test_images_lie_in_the_studies_or_were_uploaded(tmp_path, monkeypatch):
    uploads, studies = tmp_path / "uploads", tmp_path / "studies"
    monkeypatch.setattr(tempfile, "tempdir", str(uploads))
    assert is_handed_over(str(uploads / "tmpx.png"), studies)
    assert is_handed_over(str(studies / "deeper" / "a.png"), studies)
    for other in (uploads / "deeper" / "a.png", studies / ".." / "a.png", Path("/etc/hostname"), tmp_path / "studies2"):
        assert not is_handed_over(str(other), studies)
