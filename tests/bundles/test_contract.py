"""What MONAI and the Model Zoo ask of every bundle, and the protocols of the papers."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser, verify_metadata, verify_net_in_out

import medssm_monai

from .bundle_runs import BUNDLES, CLINICAL_FMAMBA, MAMBA_MIS, MEDCONVMAMBA, MEDSPECTRALNET, REPOSITORY, every_bundle

SCHEMA = Path(__file__).with_name("meta_schema_20240725.json")
SCHEMA_MD5 = "06954cad2cc5d3784e72077ac76f0fc8"
TRAIN_SETS = [
    pytest.param(bundle, names, id=f"{bundle}-{'+'.join(names)}")
    for bundle in BUNDLES
    for names in [("train.yaml",), *(("train.yaml", overlay) for overlay in bundle.overlays)]
]


@every_bundle
def test_metadata_follows_the_schema(bundle):
    assert hashlib.md5(SCHEMA.read_bytes()).hexdigest() == SCHEMA_MD5
    meta_file = str(bundle.folder / "configs" / "metadata.json")
    verify_metadata(meta_file=meta_file, filepath=str(SCHEMA), create_dir=False, hash_val=SCHEMA_MD5)


@every_bundle
def test_version_is_in_the_changelog(bundle):
    metadata = json.loads((bundle.folder / "configs" / "metadata.json").read_text())
    assert metadata["version"] in metadata["changelog"]
    assert metadata["name"] == bundle.name


@every_bundle
def test_required_packages_are_those_of_the_constraints(bundle):
    required = json.loads((bundle.folder / "configs" / "metadata.json").read_text())["required_packages_version"]
    assert required.pop("medssm-monai") == medssm_monai.__version__
    pinned = (REPOSITORY / "constraints.txt").read_text().replace(";", " ").split()
    assert [f"{name}=={version}" for name, version in required.items() if f"{name}=={version}" not in pinned] == []


@pytest.mark.parametrize("path", ["LICENSE", "docs/README.md", "docs/data_license.txt", "configs/logging.conf"])
@every_bundle
def test_files_of_the_model_zoo_are_there(bundle, path):
    assert (bundle.folder / path).stat().st_size > 100


@pytest.mark.parametrize("file", ["train.yaml", "inference.yaml"])
@every_bundle
def test_network_takes_and_gives_what_the_metadata_say(bundle, file, tmp_path):
    for n in (1, 2):
        verify_net_in_out(
            net_id="network_def",
            meta_file=str(bundle.folder / "configs" / "metadata.json"),
            config_file=bundle.config(file),
            device="cpu",
            n=n,
            bundle_root=str(bundle.folder),
            output_dir=f"$'{tmp_path.as_posix()}'",
            **{"variant": bundle.variant, **bundle.described.get(file, {})},
        )


@pytest.mark.parametrize(("bundle", "names"), TRAIN_SETS)
def test_training_configs_have_all_properties(bundle, names, tmp_path):
    flow = bundle.workflow(names, tmp_path, **bundle.tiny)
    assert flow.check_properties() == []


@every_bundle
def test_inference_config_stands_without_its_default_input(bundle, tmp_path):
    root = tmp_path / bundle.name
    shutil.copytree(bundle.folder / "configs", root / "configs")
    flow = bundle.workflow(("inference.yaml",), tmp_path / "out", "infer", bundle_root=str(root))
    assert flow.check_properties() == []
    assert sorted(path.name for path in root.iterdir()) == ["configs"]
    for use in (lambda: len(flow.dataset.data), flow.evaluator.run):
        with pytest.raises(FileNotFoundError, match="(images|pairs).*does not exist"):
            use()


@every_bundle
def test_inference_config_has_all_properties(bundle, tmp_path, write_image):
    images = bundle.write_input(tmp_path / "images", write_image)
    flow = bundle.workflow(("inference.yaml",), tmp_path / "out", "infer", dataset_dir=str(images))
    assert flow.check_properties() == []


def _protocol(bundle):
    parser = ConfigParser()
    parser.read_config(bundle.config("train.yaml", "protocol.yaml"))
    parser["bundle_root"] = str(bundle.folder)
    return parser


def test_protocol_of_mamba_mis_is_the_published_one():
    parser = _protocol(MAMBA_MIS)
    get = parser.get_parsed_content
    assert get("image_size") == [256, 256]
    assert get("batch_size") * get("accumulation_steps") == 32
    assert (get("max_epochs"), get("learning_rate"), get("weight_decay"), get("clip_norm")) == (300, 1e-3, 0.01, 1.0)
    assert (parser["lr_scheduler#T_max"], parser["lr_scheduler#eta_min"]) == (50, 1e-5)
    assert get("loss").loss.plain.lambda_dice == get("loss").loss.plain.lambda_ce == 1.0
    assert isinstance(get("network_def"), torch.nn.Module)


def test_protocol_of_clinical_fmamba_is_the_published_one():
    parser = _protocol(CLINICAL_FMAMBA)
    get = parser.get_parsed_content
    assert (get("roi_size"), get("batch_size"), get("max_epochs"), get("learning_rate")) == ([256, 256], 4, 200, 5e-4)
    assert (parser["lr_scheduler#T_max"], parser["lr_scheduler#eta_min"]) == (200, 1e-6)
    assert get("loss").weights == {"intensity": 2.0, "gradient": 10.0, "ssim": 5.0}
    assert get("network_def").output == "image"
    assert sum(p.numel() for p in get("network_def").parameters()) == 3_378_369


def test_protocol_of_medconvmamba_is_the_published_one(tmp_path):
    parser = _protocol(MEDCONVMAMBA)
    parser["output_dir"] = f"$'{tmp_path.as_posix()}'"
    parser["num_classes"] = 4
    get = parser.get_parsed_content
    assert (get("image_size"), get("in_channels"), get("patch_size")) == ([224, 224], 3, 8)
    assert (get("batch_size") * get("accumulation_steps"), get("max_epochs")) == (64, 300)
    assert (get("learning_rate"), get("weight_decay"), get("label_smoothing")) == (5e-4, 1e-5, 0.0)
    assert get("train#random_transforms") == []  # the paper trains without augmentation
    assert sum(p.numel() for p in get("network_def").parameters()) == 4_125_316


def test_protocol_of_medspectralnet_is_the_published_one(tmp_path):
    parser = _protocol(MEDSPECTRALNET)
    parser["output_dir"] = f"$'{tmp_path.as_posix()}'"
    parser["num_classes"] = 11
    get = parser.get_parsed_content
    assert (get("image_size"), get("in_channels"), get("max_epochs")) == ([224, 224], 3, 200)
    assert (get("mean"), get("std")) == ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    assert (get("cutmix"), get("erase"), get("translate_range")) == (0.5, 0.5, 0.1)
    kinds = [type(transform).__name__ for transform in get("train#random_transforms")]
    assert kinds == [
        "RandFlipd",
        "RandAffined",
        "RandPerspectived",
        "RandColorJitterd",
        "RandGaussianSmoothd",
        "RandCoarseDropoutd",
    ]
    assert sum(p.numel() for p in get("network_def").parameters()) == 8_651_019
    assert type(get("optimizer")) is torch.optim.Adam
