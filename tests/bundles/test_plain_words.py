"""Devices and sizes as a user types them: ``--device cpu``, ``--image_size 32``."""

from __future__ import annotations

import pytest
import torch

from .bundle_runs import every_bundle, failing


@every_bundle
def test_one_number_is_the_size_along_every_axis(bundle, tmp_path):
    flow = bundle.workflow(("train.yaml",), tmp_path, **{**bundle.tiny, bundle.size_key: 32})
    item = flow.parser.get_parsed_content("train#dataset")[0]
    item = item[0] if isinstance(item, list) else item
    assert tuple(item["image"].shape[1:]) == (32, 32)


@every_bundle
@pytest.mark.parametrize("size", ["32x32", [32], 0])
def test_a_size_that_is_none_is_refused_before_anything_is_written(bundle, tmp_path, size):
    with failing(ValueError, f"{bundle.size_key} is .*expected 2 whole numbers"):
        bundle.workflow(("train.yaml",), tmp_path / "out", **{**bundle.tiny, bundle.size_key: size})
    assert not (tmp_path / "out").exists()


@every_bundle
@pytest.mark.parametrize("config", ["train.yaml", "inference.yaml"])
def test_a_device_that_is_not_there_is_refused_before_anything_is_written(bundle, tmp_path, config, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    weights = {"ckpt_path": str(tmp_path / "none.pt")} if config == "inference.yaml" else {}
    for device in ("gpu", "cuda:0"):
        with failing(ValueError, f"device '{device}' is not there; there is cpu"):
            bundle.workflow((config,), tmp_path / "out", device=device, **weights)
    assert not (tmp_path / "out").exists()


@every_bundle
def test_the_published_protocol_takes_a_device_as_a_word(bundle, tmp_path):
    flow = bundle.workflow(("train.yaml", "protocol.yaml"), tmp_path, **bundle.tiny)
    assert flow.parser.get_parsed_content("train#trainer").inferer.precision == "float32"


@every_bundle
def test_a_folder_as_tracking_address_is_refused_before_anything_is_written(bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(tmp_path / "runs"))
    with failing(ValueError, "sqlite:///"):
        bundle.workflow(("train.yaml",), tmp_path / "out", **bundle.tiny)
    assert not (tmp_path / "out").exists()
