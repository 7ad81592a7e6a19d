"""A bundle travels alone, so each carries its own copy of what all share; the copies are held equal here."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from monai.bundle import ConfigParser

from .bundle_runs import BUNDLES, CLASSIFIERS, MAMBA_MIS, every_bundle, leaves

OWN = {
    "train.yaml": """imports bundle_root variant max_epochs batch_size learning_rate weight_decay clip_norm patience
        load_image#keys load_image#channels load_volume#_target_ load_volume#keys load_volume#channels
        loss#_target_ tracker#experiment_name data_name datalists#_target_
        train#deterministic_transforms
        train#random_transforms train#preprocessing#transforms validate#preprocessing#transforms validate#dataset#data
        validate#dataloader#batch_size validate#early_stop#score_function validate#handlers initialize""",
    "evaluate.yaml": """datalists#require flag_unlike#keys validate#preprocessing#transforms validate#dataset#data
        validate#handlers run""",
    "inference.yaml": """bundle_root dataset_dir output_dir load_image#keys load_volume#_target_ load_volume#keys
        load_volume#channels preprocessing#transforms dataset#data
        dataloader#batch_size postprocessing#transforms prediction#_target_ handlers initialize run finalize""",
    "multi_gpu_train.yaml": "validate#dataloader#batch_size initialize",
}
"""What has one name in all bundles and a value of its own in each; everything else of one name is equal."""

OF_CLASSIFIERS = {
    "train.yaml": """bundle_root variant image_size max_epochs weight_decay translate_range tracker#experiment_name
        normalize#subtrahend normalize#divisor train#random_transforms validate#handlers""",
    "evaluate.yaml": "validate#handlers",
    "inference.yaml": "bundle_root preprocessing#transforms explain_layer",
    "multi_gpu_train.yaml": "",
}


def contents(bundle, file):
    config = ConfigParser.load_config_file(str(bundle.folder / "configs" / file))
    return {name: json.dumps(value) for name, value in leaves(config)}


def different(configs):
    """Names that all have, with values that are not the same in all."""
    common = set.intersection(*(set(config) for config in configs))
    return {name for name in common if len({config[name] for config in configs}) > 1}


@pytest.mark.parametrize(
    ("bundles", "own"),
    [pytest.param(BUNDLES, OWN, id="all"), pytest.param(CLASSIFIERS, OF_CLASSIFIERS, id="classifiers")],
)
@pytest.mark.parametrize("file", sorted(OWN))
def test_what_bundles_share_is_equal(bundles, own, file):
    assert different([contents(bundle, file) for bundle in bundles]) == set(own[file].split())


def test_calibrations_are_equal_but_for_the_task():
    of_classes, others = (
        [contents(bundle, "calibrate.yaml") for bundle in CLASSIFIERS],
        contents(MAMBA_MIS, "calibrate.yaml"),
    )
    assert different(of_classes) == set()
    own = "validate#handlers validate#dataset#data"
    assert different([of_classes[0], others]) == set(own.split())


def test_logging_is_configured_alike():
    assert len({(bundle.folder / "configs" / "logging.conf").read_text() for bundle in BUNDLES}) == 1


@every_bundle
def test_evaluation_and_inference_read_settings_alike(bundle):
    evaluate, infer = contents(bundle, "evaluate.yaml"), contents(bundle, "inference.yaml")
    assert different([evaluate, infer]) == {"ckpt_path", "initialize", "run", "finalize"}


@every_bundle
def test_evaluation_and_inference_take_the_settings_that_a_training_writes(bundle):
    known = yaml.safe_load((bundle.folder / "configs" / "settings.yaml").read_text())
    assert known.pop("earlier_versions", {}).keys() <= known.keys()
    written = ConfigParser.load_config_file(str(bundle.folder / "configs" / "train.yaml"))["settings"]
    assert known.keys() == written.keys()
    for file in ("evaluate.yaml", "inference.yaml"):
        taken = re.findall(r"@model_settings\['(\w+)'\]", (bundle.folder / "configs" / file).read_text())
        assert sorted(taken) == sorted(known), file
