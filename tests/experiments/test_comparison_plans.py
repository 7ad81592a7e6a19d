"""The plans that come with the bundles: their rows are networks that can be built, and differ as the page says."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from monai.bundle import ConfigParser

from medssm_monai.experiments.plans import read_plan
from medssm_monai.networks.blocks import SelectiveCore

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
SMALL = {"mamba_mis": {"base_dim": 8}, "clinical_fmamba": {"depth": 1}, "medconvmamba": {"depth": 1}}
ROWS = {
    "mamba_mis": ["mamba_mis", "monai_unet", "scan identity"],
    "medconvmamba": ["medconvmamba_t", "monai_resnet18", "scan identity"],
    "medspectralnet": ["medspectralnet", "monai_resnet18"],
    "clinical_fmamba": ["clinical_fmamba_2d", "scan identity"],
}


@pytest.mark.parametrize("bundle", ROWS)
def test_rows_are_the_network_and_what_it_is_compared_with(bundle, tmp_path):
    plan = read_plan(BUNDLES / bundle, BUNDLES / bundle / "configs" / "comparison.yaml")
    assert [row.name for row in plan.rows] == ROWS[bundle]
    assert plan.reference == ROWS[bundle][0] and plan.seeds == (0, 1, 2)
    scans = {}
    for row in plan.rows:
        overlay = tmp_path / "overlay.yaml"
        small = {"network_args": SMALL.get(bundle, {}), "bundle_root": str(BUNDLES / bundle)}
        small |= {"num_classes": 2} if bundle in ("medconvmamba", "medspectralnet") else {}
        overlay.write_text(yaml.safe_dump({**small, **plan.training_overrides(row, 0)}), encoding="utf8")
        parser = ConfigParser()
        parser.read_config(plan.configs(row, str(overlay)))
        network = parser.get_parsed_content("network_def")
        scans[row.name] = sum(isinstance(module, SelectiveCore) and module.states > 0 for module in network.modules())
    whole = scans.pop(plan.reference)
    assert (whole > 0) == (bundle != "medspectralnet") and set(scans.values()) == {0}


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("overlay", "folder", "counts"),
    [("cvc_clinicdb", "polyp_cvc_clinicdb", (280, 60, 60)), ("isic2017", "isic2017", (1800, 200, 150))],
)
def test_overlays_of_mamba_mis_split_as_their_heads_say(overlay, folder, counts, real_data):
    configs = BUNDLES / "mamba_mis" / "configs"
    parser = ConfigParser()
    parser.read_config([str(configs / "train.yaml"), str(configs / f"{overlay}.yaml")])
    parser.update({"bundle_root": str(BUNDLES / "mamba_mis"), "dataset_dir": str(real_data / folder)})
    parser["datalists"]["check"] = False
    lists = parser.get_parsed_content("datalists")
    assert tuple(len(lists[part]) for part in ("training", "validation", "test")) == counts
    if overlay == "cvc_clinicdb":
        assert [lists[part][0]["name"] for part in ("training", "validation", "test")] == ["1", "281", "341"]
