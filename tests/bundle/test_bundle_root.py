from __future__ import annotations

import json

import pytest
from monai.bundle import ConfigWorkflow

from medssm_monai.bundle import find_bundle_root


@pytest.fixture
def bundle(tmp_path):
    folder = tmp_path / "some where" / "mine"
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "metadata.json").write_text(json.dumps({"name": "mine"}))
    (folder / "configs" / "train.yaml").write_text("a: 1")
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ["--config_file", "{c}/train.yaml"],
        ["--config_file={c}/train.yaml"],
        ["--config_file", "['{c}/train.yaml', '{c}/evaluate.yaml']"],
        ["--config_file", "{c}/train.yaml,{c}/evaluate.yaml"],
        ["--config-file", "{c}/train.yaml"],
    ],
)
@pytest.mark.parametrize("relative", [True, False])
def test_beside_the_config(bundle, words, relative):
    configs = "configs" if relative else str(bundle / "configs")
    cwd = bundle if relative else bundle.parent.parent
    argv = ["run", "training", *(w.format(c=configs) for w in words)]
    assert find_bundle_root("mine", argv, cwd) == str(bundle)


def test_from_an_args_file(bundle):
    (bundle.parent / "args.json").write_text(json.dumps({"config_file": "mine/configs/train.yaml"}))
    assert find_bundle_root("mine", ["run", "--args_file", "args.json"], bundle.parent) == str(bundle)


def test_the_current_folder_is_not_looked_at(bundle):
    for argv in ([], ["run", "--config_file", "../other/configs/train.yaml"]):
        with pytest.raises(FileNotFoundError, match="--bundle_root"):
            find_bundle_root("mine", argv, bundle)
    assert find_bundle_root("mine", ["run", "--config_file", "configs/train.yaml"], bundle) == str(bundle)
    with pytest.raises(FileNotFoundError, match="--bundle_root"):
        find_bundle_root("other", ["run", "--config_file", "configs/train.yaml"], bundle)


def test_a_folder_planted_in_the_current_one_does_not_stand_in_for_a_bundle(tmp_path, monkeypatch):
    for folder in (tmp_path, tmp_path / "bundles" / "mamba_mis", tmp_path / "mamba_mis"):
        (folder / "configs").mkdir(parents=True)
        (folder / "configs" / "metadata.json").write_text(json.dumps({"name": "mamba_mis"}))
        (folder / "configs" / "inference.yaml").write_text("a: 1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["host"])
    assert not find_bundle_root("mamba_mis").startswith(str(tmp_path))


def test_the_folder_of_a_running_workflow_comes_first(bundle, tmp_path, monkeypatch):
    (bundle / "configs" / "train.yaml").write_text(
        "imports: ['$import medssm_monai', '$import medssm_monai.utils']\n"
        "bundle_root: \"$medssm_monai.bundle.find_bundle_root('mine')\"\n"
        "initialize: ['$@bundle_root']\n"
    )
    other = tmp_path / "other"
    (other / "configs").mkdir(parents=True)
    (other / "configs" / "metadata.json").write_text(json.dumps({"name": "mine"}))
    monkeypatch.chdir(other)
    monkeypatch.setattr("sys.argv", ["host"])
    workflow = ConfigWorkflow(
        config_file=str(bundle / "configs" / "train.yaml"), logging_file=False, workflow_type=None
    )
    assert workflow.initialize() == [str(bundle)]


def test_by_name_when_a_host_has_parsed_the_config_elsewhere(bundle, tmp_path, monkeypatch):
    (bundle / "configs" / "inference.yaml").write_text("a: 1")
    monkeypatch.setenv("MEDSSM_BUNDLES", str(bundle.parent))
    assert find_bundle_root("mine", [], tmp_path) == str(bundle)
    with pytest.raises(FileNotFoundError, match="no configs/metadata.json with that name in .*some where"):
        find_bundle_root("another", [], tmp_path)


@pytest.mark.parametrize("name", ["mamba_mis", "medconvmamba", "medspectralnet", "clinical_fmamba"])
def test_bundles_of_the_checkout_are_found_from_anywhere(name, tmp_path):
    assert find_bundle_root(name, [], tmp_path).endswith(f"bundles/{name}")
