"""Steps of the configs around volumes: what lies outside of the crop, and options that reach what they are for."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

import medssm_monai
from medssm_monai.bundle import build_network
from medssm_monai.utils import unwrapped

from .bundle_runs import MAMBA_MIS
from .class_sets import AFFINE

SETTINGS = {
    "variant": "mamba_mis_3d_s",
    "spatial_dims": 3,
    "labels": {"liver": 1, "spleen": 2},
    "in_channels": 1,
    "image_size": [16, 16, 16],
    "spacing": [1.5, 1.5, 1.5],
    "intensity": [{"kind": "zscore"}],
    "network_args": {
        "base_dim": 8,
        "d_state": 4,
        "strides": [2, 2, 2, 2],
        "depths": [1, 1, 1, 1],
        "decoder_depths": [1, 1, 1, 1, 1],
    },
}


def test_all_is_background_where_the_margin_was_cut_off(tmp_path):
    torch.manual_seed(0)
    torch.save(build_network(SETTINGS["variant"], SETTINGS).state_dict(), tmp_path / "model.pt")
    (tmp_path / "model.json").write_text(json.dumps(SETTINGS))
    image = np.zeros((30, 28, 26), np.int16)
    image[8:22, 8:22, 8:20] = np.random.default_rng(0).integers(50, 200, (14, 14, 12))
    nib.save(nib.Nifti1Image(image, AFFINE), tmp_path / "i.nii.gz")
    predictor = medssm_monai.load(MAMBA_MIS.folder, ckpt_path=tmp_path / "model.pt", device="cpu")
    found = predictor.predict(str(tmp_path / "i.nii.gz"))
    np.testing.assert_allclose(found.probabilities.sum(0), 1, atol=1e-5)
    assert found.foreground[0, 0, 0] == 0 and found.foreground[15, 15, 14] > 0


@pytest.fixture
def parser(tmp_path):
    """The configs of a training of volumes on four small cases of CT, whose masks hold 0, 1 and 2."""
    for number in range(4):
        mask = np.random.default_rng(number).integers(0, 3, (12, 12, 12)).astype(np.uint8)
        for folder, values in ((f"ct_{number}", 100 * mask.astype(np.int16)), (f"ct_{number}", mask)):
            (tmp_path / "data" / folder).mkdir(parents=True, exist_ok=True)
            ending = "seg" if values is mask else "ct"
            nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "data" / folder / f"{folder}_{ending}.nii.gz")
    (tmp_path / "split.json").write_text(
        json.dumps({"training": ["ct_0", "ct_1"], "validation": ["ct_2"], "test": ["ct_3"]})
    )
    found = ConfigParser()
    found.read_config(MAMBA_MIS.config("train.yaml", "volume.yaml"))
    found.update(
        {
            "dataset_dir": str(tmp_path / "data"),
            "split_file": str(tmp_path / "split.json"),
            "output_dir": str(tmp_path / "out"),
            "channel_names": ["ct"],
            "image_size": [16, 16, 16],
            "foreground": "nonzero",
        }
    )
    return found


def test_the_plan_of_ct_takes_the_rule_for_foreground(parser):
    with unwrapped():
        (found,) = parser.get_parsed_content("plan")["intensity"]
    assert found["kind"] == "ct" and 100 <= found["low"] < found["high"] <= 200


def test_cache_rate_counts_for_volumes(parser):
    parser["cache_rate"] = 0.5
    with unwrapped():
        assert parser.get_parsed_content("train#dataset").cache_num == 1
