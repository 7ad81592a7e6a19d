from __future__ import annotations

import json

import pytest

from medssm_monai.utils import find_bundle_root


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


def test_current_folder_only_when_it_is_that_bundle(bundle):
    assert find_bundle_root("mine", [], bundle) == str(bundle)
    with pytest.raises(FileNotFoundError, match="--bundle_root"):
        find_bundle_root("other", [], bundle)
    with pytest.raises(FileNotFoundError, match="--bundle_root"):
        find_bundle_root("mine", ["--config_file", "elsewhere/train.yaml"], bundle.parent)
