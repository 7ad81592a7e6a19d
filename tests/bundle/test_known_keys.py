"""Mistyped keys are refused, whoever gives them; everything that a config, MONAI or a component reads passes."""

from __future__ import annotations

import copy
import itertools

import pytest
from monai.bundle import ConfigParser, ConfigWorkflow

from medssm_monai.bundle import require_known_keys, unknown_keys

from ..bundles.bundle_runs import BUNDLES, CLINICAL_FMAMBA, MAMBA_MIS, MEDCONVMAMBA, every_bundle

CONFIG = {
    "imports": ["$import torch"],
    "bundle_root": ".",
    "max_epochs": 3,
    "kernel": 3,
    "part": {"size": 2, "again": "@part::size"},
    "layer": {"_target_": "torch.nn.Conv1d", "in_channels": 1, "out_channels": "@max_epochs", "kernel_size": "@kernel"},
    "arguments": {"free": 1},
    "counted": "$dict(**@arguments)",
    "run": ["$@layer", "$@counted", "$@part#again"],
    "training": "@run",
}


def config(**changes):
    parser = ConfigParser({**copy.deepcopy(CONFIG), **{key: value for key, value in changes.items() if "#" not in key}})
    parser.update({key: value for key, value in changes.items() if "#" in key})
    parser.parse()
    return parser.config


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {}),
        ({"max_epoch": 1}, {"max_epoch": ["max_epochs"]}),
        ({"part#sise": 1}, {"part#sise": ["size"]}),
        ({"layer#stride": 2}, {}),
        ({"layer#strid": 2}, {"layer#strid": ["stride"]}),
        ({"arguments#anything": 1}, {}),
        ({"_note": "passed over"}, {}),
        ({"nothing_like_it": 1}, {"nothing_like_it": []}),
        ({"initialize": ["$1"], "finalize": "$2", "evaluating": "@run", "device": "cpu"}, {}),
        ({"helper": 1, "kernel": "@helper"}, {}),
        ({"helper": 1, "kernl": "@helper"}, {"kernl": ["kernel"]}),
    ],
)
def test_a_key_is_unknown_when_nothing_uses_it(changes, expected):
    assert unknown_keys(config(**changes)) == expected


def test_arguments_go_through_constructors_that_hand_them_on():
    loader = {
        "_target_": "monai.data.DataLoader",
        "dataset": [],
        "pin_memory": True,
        "num_worker": 2,
        "_disabled_": True,
    }
    found = unknown_keys({"loader": loader, "run": "$@loader"})
    assert list(found) == ["loader#num_worker"]
    assert found["loader#num_worker"][0] == "num_workers"


@pytest.mark.parametrize("target", ["monai.transforms.NoSuchTransform", "$print", "builtins.dict"])
def test_components_of_unknown_arguments_take_any(target):
    assert unknown_keys({"one": {"_target_": target, "any": 1}, "run": "$@one"}) == {}


COMPOSITIONS = [
    (bundle, names)
    for bundle in BUNDLES
    for overlay in (None, *bundle.overlays)
    for names in (
        ["inference.yaml"],
        ["train.yaml", *([overlay] if overlay else [])],
        ["train.yaml", *([overlay] if overlay else []), "evaluate.yaml"],
    )
]


@pytest.mark.parametrize(("bundle", "names"), COMPOSITIONS, ids=lambda value: str(value))
def test_every_documented_combination_of_files_passes(bundle, names):
    parser = ConfigParser()
    parser.read_config(bundle.config(*names))
    parser["bundle_root"] = str(bundle.folder)
    parser.parse()
    require_known_keys(parser)


@pytest.mark.parametrize("names", [("train.yaml",), ("train.yaml", "evaluate.yaml"), ("inference.yaml",)], ids="+".join)
@every_bundle
def test_a_mistyped_override_ends_every_command(bundle, names, tmp_path):
    typo = {"device_": "cpu"} if names == ("inference.yaml",) else {"max_epoch": 1, "loss#wrong": 1}
    with pytest.raises(Exception) as caught:  # MONAI wraps the error
        bundle.workflow(names, tmp_path, "inference" if names == ("inference.yaml",) else "train", **typo)
    chain = list(itertools.takewhile(lambda error: error is not None, _causes(caught.value)))
    message = next(str(error) for error in chain if type(error) is ValueError)
    for name in typo:
        assert f"{name} (did you mean" in message or name == "loss#wrong" and name in message
    assert not list(tmp_path.iterdir())


def _causes(error):
    while True:
        yield error
        error = error.__cause__ if error is not None else None


def test_a_file_of_the_bundle_may_say_what_another_one_overrides():
    names = MEDCONVMAMBA.config("train.yaml", "protocol.yaml", "evaluate.yaml")
    parser = ConfigParser()
    parser.read_config(names)
    parser["bundle_root"] = str(MEDCONVMAMBA.folder)
    require_known_keys(parser)
    parser["seed"] = 5  # of train.yaml: without effect here, but no mistake
    require_known_keys(parser)
    parser["rows"] = 77  # of an overlay that is not in use
    with pytest.raises(ValueError, match="rows"):
        require_known_keys(parser)


@pytest.mark.parametrize("bundle", [MAMBA_MIS, CLINICAL_FMAMBA], ids=str)
def test_the_tracking_of_monai_itself_passes(bundle, tmp_path):
    flow = ConfigWorkflow(
        config_file=bundle.config("train.yaml"),
        logging_file=False,
        tracking="mlflow",
        bundle_root=str(bundle.folder),
        output_dir=f"$'{tmp_path.as_posix()}'",
        experiment_name="mine",
        save_execute_config=False,
    )
    flow.parser.parse()
    require_known_keys(flow.parser)


@pytest.mark.parametrize(("word", "python"), [("true", "True"), ("false", "False"), ("null", "None")])
def test_words_of_yaml_given_as_texts_are_refused(word, python):
    parser = ConfigParser({**copy.deepcopy(CONFIG), "kernel": word})
    with pytest.raises(ValueError, match=f"kernel is the text '{word}'; .*--kernel {python}"):
        require_known_keys(parser)


def test_without_a_parser_it_says_so():
    with pytest.raises(RuntimeError, match="give it the parser"):
        require_known_keys()
