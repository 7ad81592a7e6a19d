"""What MONAI and the Model Zoo ask of a bundle."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser, verify_metadata, verify_net_in_out

from .bundle_runs import BUNDLE, TINY, config, workflow

SCHEMA = Path(__file__).with_name("meta_schema_20240725.json")
SCHEMA_MD5 = "06954cad2cc5d3784e72077ac76f0fc8"
TRAIN_SETS = [("train.yaml",), ("train.yaml", "protocol.yaml"), ("train.yaml", "baseline_unet.yaml")]


def test_metadata_follows_the_schema(tmp_path):
    assert hashlib.md5(SCHEMA.read_bytes()).hexdigest() == SCHEMA_MD5
    verify_metadata(
        meta_file=str(BUNDLE / "configs" / "metadata.json"), filepath=str(SCHEMA), create_dir=False, hash_val=SCHEMA_MD5
    )


def test_version_is_in_the_changelog():
    metadata = json.loads((BUNDLE / "configs" / "metadata.json").read_text())
    assert metadata["version"] in metadata["changelog"]


@pytest.mark.parametrize("path", ["LICENSE", "docs/README.md", "docs/data_license.txt", "configs/logging.conf"])
def test_files_of_the_model_zoo_are_there(path):
    assert (BUNDLE / path).stat().st_size > 100


@pytest.mark.parametrize("file", ["train.yaml", "inference.yaml"])
def test_network_takes_and_gives_what_the_metadata_say(file):
    for n in (1, 2):
        verify_net_in_out(
            net_id="network_def",
            meta_file=str(BUNDLE / "configs" / "metadata.json"),
            config_file=config(file),
            device="cpu",
            n=n,
            bundle_root=str(BUNDLE),
            variant="mamba_mis_s",
        )


@pytest.mark.parametrize("names", TRAIN_SETS, ids="+".join)
def test_training_configs_have_all_properties(names, tmp_path):
    flow = workflow(names, tmp_path, **{**TINY, "image_size": [32, 32]})
    assert flow.check_properties() == []


def test_inference_config_has_all_properties(tmp_path, write_image):
    write_image(tmp_path / "images" / "a.png", 40, 30)
    flow = workflow(("inference.yaml",), tmp_path / "out", "infer", dataset_dir=str(tmp_path / "images"))
    assert flow.check_properties() == []


def test_protocol_is_the_published_one():
    parser = ConfigParser()
    parser.read_config(config("train.yaml", "protocol.yaml"))
    parser["bundle_root"] = str(BUNDLE)
    get = parser.get_parsed_content
    assert get("image_size") == [256, 256]
    assert get("batch_size") * get("accumulation_steps") == 32
    assert (get("max_epochs"), get("learning_rate"), get("weight_decay"), get("clip_norm")) == (300, 1e-3, 0.01, 1.0)
    assert (parser["lr_scheduler#T_max"], parser["lr_scheduler#eta_min"]) == (50, 1e-5)
    assert get("loss").lambda_dice == get("loss").lambda_ce == 1.0
    assert isinstance(get("network_def"), torch.nn.Module)
