"""Networks as bundles build them from settings."""

from __future__ import annotations

import sys
from contextlib import nullcontext

import pytest
import torch

from medssm_monai import get_network
from medssm_monai.bundle import build_network, read_model_settings, write_model_settings
from medssm_monai.bundle.same_use import require_same_use

SETTINGS = {
    "mamba_mis_s": ({"in_channels": 1, "image_size": [32, 32]}, {}, {"in_channels": 1, "img_size": [32, 32]}),
    "medconvmamba_t": (
        {"image_size": [32, 32], "patch_size": 8, "class_names": ["a", "b", "c"], "temperature": 1.5},
        {"depth": 1},
        {"img_size": [32, 32], "patch_size": 8, "num_classes": 3, "depth": 1},
    ),
    "medspectralnet": ({"spatial_dims": 3, "image_size": [32] * 3, "mean": [0.5]}, {}, {"spatial_dims": 3}),
    "clinical_fmamba_2d": ({"roi_size": [32, 32], "sources": ["a", "b"]}, {"depth": 1}, {"depth": 1}),
}


@pytest.mark.parametrize("variant", SETTINGS)
def test_settings_become_the_arguments_that_the_network_takes(variant):
    settings, further, arguments = SETTINGS[variant]
    torch.manual_seed(0)
    built = build_network(variant, {**settings, "network_args": further})
    torch.manual_seed(0)
    expected = get_network(variant, **arguments).state_dict()
    assert built.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[key]) for key, value in built.state_dict().items())


def test_arguments_of_a_config_are_passed_on():
    assert build_network("medconvmamba_t", {"image_size": [32, 32]}, num_classes=5, depth=1).head.out_features == 5


def test_weights_to_start_from_are_taken(tmp_path):
    settings = {"network_args": {"depth": 1, "exchange_rounds": 1}}
    first = build_network("clinical_fmamba_2d", settings)
    torch.save(first.state_dict(), tmp_path / "model.pt")
    again = build_network("clinical_fmamba_2d", settings, init_from=tmp_path / "model.pt").state_dict()
    assert all(torch.equal(value, again[key]) for key, value in first.state_dict().items())


@pytest.mark.parametrize(
    ("variant", "settings", "arguments", "error", "said"),
    [
        (
            "mamba_mis_s",
            {"in_channels": 3, "network_args": {"in_channels": 1}},
            {},
            ValueError,
            "settings of their own",
        ),
        ("mamba_mis_s", {"image_size": [32, 32]}, {"img_size": [64, 64]}, ValueError, "img_size have settings"),
        ("medspectralnet", {"network_args": {"num_classes": 7}}, {"num_classes": 2}, ValueError, "num_classes have"),
        ("mamba_mis_xxl", {}, {}, ValueError, "unknown network"),
        ("mamba_mis_s", {"network_args": {"wings": 2}}, {}, TypeError, "wings"),
        ("mamba_mis_s", {}, {"init_from": "nowhere.pt"}, FileNotFoundError, "nowhere.pt"),
    ],
)
def test_what_makes_no_network_is_refused(variant, settings, arguments, error, said):
    with pytest.raises(error, match=said):
        build_network(variant, settings, **arguments)


@pytest.mark.parametrize(
    ("saved", "here", "fits"),
    [
        ({}, {"mean": 0.0, "std": 1}, True),  # of an earlier version: images in [0, 1]
        ({}, {"mean": 0.5, "std": 0.25}, False),
        ({"mean": 0.5, "std": 0.25}, {"mean": [0.5, 0.5, 0.5], "std": 0.25}, True),
        ({"mean": [0.5, 0.4, 0.3], "std": 0.25}, {"mean": [0.5, 0.4, 0.3], "std": 0.25}, True),
        ({"mean": [0.5, 0.4, 0.3], "std": 0.25}, {"mean": [0.3, 0.4, 0.5], "std": 0.25}, False),
        ({"mean": 0.5, "std": 0.25}, {"mean": 0.5, "std": 0.5}, False),
        ({"mean": 0.5, "std": 0.25}, {}, True),  # the training does not normalize by them
        (None, {"mean": 0.5, "std": 0.25}, True),  # nothing is known about them
    ],
)
def test_weights_to_start_from_saw_the_same_values(tmp_path, saved, here, fits):
    settings = {"in_channels": 3, "image_size": [32, 32], **here}
    torch.save(build_network("mamba_mis_s", settings).state_dict(), tmp_path / "model.pt")
    if saved is not None:
        write_model_settings(tmp_path / "model.pt", {"variant": "mamba_mis_s", **saved})
    with nullcontext() if fits else pytest.raises(ValueError, match=r"normalized images otherwise .* Pass --mean"):
        build_network("mamba_mis_s", settings, init_from=tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("saved", "here", "fits"), [({}, "image", True), ({}, "blend", False), ("blend", "blend", True)]
)
def test_weights_to_start_from_used_the_output_alike(tmp_path, saved, here, fits):
    arguments = {"depth": 1, "exchange_rounds": 0, "decoder_depth": 0, "d_state": 2}
    settings = {"output": here, "network_args": arguments}
    torch.save(build_network("clinical_fmamba_2d", settings).state_dict(), tmp_path / "model.pt")
    own = {"output": saved} if saved else {}  # a file of an earlier version: the fused image itself
    write_model_settings(tmp_path / "model.pt", {"variant": "clinical_fmamba_2d", **own})
    with nullcontext() if fits else pytest.raises(ValueError, match=r"output otherwise .* Pass --output 'image'"):
        network = build_network("clinical_fmamba_2d", settings, init_from=tmp_path / "model.pt")
        assert network.output == here


MAMBA_MIS = ("mamba_mis_s", {"in_channels": 3, "image_size": [32, 32]}, {"base_dim": 6, "d_state": 2})
FUSION = (
    "clinical_fmamba_2d",
    {"output": "blend"},
    {"depth": 1, "exchange_rounds": 0, "decoder_depth": 0, "d_state": 2},
)
MEDCONVMAMBA = ("medconvmamba_t", {"image_size": [32, 32], "patch_size": 8, "class_names": ["a", "b"]}, {"depth": 1})


@pytest.mark.parametrize(
    ("of", "saved", "here", "differs"),
    [
        (MAMBA_MIS, {}, {}, None),
        (MAMBA_MIS, {}, {"instance_norm": False, "discretization": "zoh"}, None),
        (MAMBA_MIS, {"instance_norm": True}, {"instance_norm": True, "drop_path": 0.1}, None),
        (MAMBA_MIS, {"instance_norm": True}, {}, "instance_norm True"),
        (MAMBA_MIS, {}, {"instance_norm": True}, "instance_norm False"),
        (MAMBA_MIS, {"instance_norm": True, "spectral_grid": 8}, {}, "instance_norm True and spectral_grid 8"),
        (MAMBA_MIS, {"discretization": "euler"}, {}, "discretization euler"),
        (
            MAMBA_MIS,
            {"instance_norm": True, "discretization": "euler"},
            {},
            "discretization euler and instance_norm True",
        ),
        (MEDCONVMAMBA, {}, {"discretization": "euler"}, None),
        (MEDCONVMAMBA, {}, {"discretization": "zoh"}, "discretization euler"),
        (MEDCONVMAMBA, {"stem": "conv"}, {"stem": "conv"}, None),
        (MEDCONVMAMBA, {}, {"stem": "conv"}, "stem patch"),
        (MEDCONVMAMBA, {"stem": "conv"}, {}, "stem conv"),
        (FUSION, {}, {"drop_path": 0.1}, None),
    ],
)
def test_weights_to_start_from_compute_the_same_here(tmp_path, of, saved, here, differs):
    variant, settings, further = of
    settings = {**settings, "network_args": {**further, **here}}
    torch.save(build_network(variant, settings).state_dict(), tmp_path / "model.pt")
    write_model_settings(tmp_path / "model.pt", {**settings, "variant": variant, "network_args": {**further, **saved}})
    named = "" if differs is None else " ".join(f"--network_args#{one}" for one in differs.split(" and "))
    refused = pytest.raises(ValueError, match=rf"learned with {differs}, .* Pass {named}, or")
    with nullcontext() if differs is None else refused:
        build_network(variant, settings, init_from=tmp_path / "model.pt")


def test_defaults_of_settings_come_from_the_bundle_s_file(tmp_path):
    (tmp_path / "settings.yaml").write_text("variant: mamba_mis_s\nimage_size: [64, 64]\n")
    found = read_model_settings(tmp_path / "model.pt", tmp_path / "settings.yaml")
    assert found == {"variant": "mamba_mis_s", "image_size": [64, 64]}


@pytest.mark.parametrize(
    ("saved", "found"),
    [
        (None, {"variant": "a", "mean": 0.5}),  # no weights, and those that a federation's server sends
        ({"variant": "b"}, {"variant": "b", "mean": 0.0}),  # of a version before the setting
        ({"variant": "b", "mean": 0.3}, {"variant": "b", "mean": 0.3}),
    ],
)
def test_files_of_earlier_versions_mean_what_they_did(tmp_path, saved, found):
    (tmp_path / "settings.yaml").write_text("variant: a\nmean: 0.5\nearlier_versions: {mean: 0.0}\n")
    if saved is not None:
        (tmp_path / "model.pt").touch()
        write_model_settings(tmp_path / "model.pt", saved)
    assert read_model_settings(tmp_path / "model.pt", tmp_path / "settings.yaml") == found


def test_a_bundle_without_that_file_says_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no .*settings\.yaml, which names"):
        read_model_settings(tmp_path / "model.pt", tmp_path / "settings.yaml")


def test_with_another_bundle_root_it_is_the_file_beside_the_config(tmp_path, monkeypatch):
    configs = tmp_path / "net" / "configs"
    configs.mkdir(parents=True)
    (configs / "settings.yaml").write_text("variant: mamba_mis_s\n")
    monkeypatch.setattr(sys, "argv", ["monai.bundle", "run", "--config_file", str(configs / "inference.yaml")])
    elsewhere = tmp_path / "elsewhere" / "configs" / "settings.yaml"
    assert read_model_settings(tmp_path / "model.pt", elsewhere) == {"variant": "mamba_mis_s"}


def test_dimensions_of_weights_are_compared_where_a_training_names_its_own(tmp_path):
    (tmp_path / "model.json").write_text('{"spatial_dims": 3, "output": "blend"}')
    require_same_use({"output": "blend", "network_args": {}}, tmp_path / "model.pt")  # a fusion's variant says it
    with pytest.raises(ValueError, match="its weights are for spatial_dims 3, this training has 2"):
        require_same_use({"output": "blend", "spatial_dims": 2}, tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("theirs", "ours", "kept"),
    [
        (["normal", "pneumonia"], ["COVID", "normal"], {1: 0}),
        (["normal", "pneumonia"], ["COVID", "none"], {}),
        (["a", "b"], ["a", "b"], {0: 0, 1: 1}),
        (["a", "b"], ["b", "c", "a"], {0: 1, 2: 0}),
        (["malignant", "normal, benign"], ["normal, benign", "malignant"], {0: 1, 1: 0}),
        (None, ["a", "b"], {0: 0, 1: 1}),  # nothing is known about them
    ],
)
@pytest.mark.parametrize("variant", ["medconvmamba_t", "medspectralnet"])
def test_rows_of_classes_of_the_same_name_are_kept(tmp_path, caplog, variant, theirs, ours, kept):
    settings = {"in_channels": 1, "image_size": [32, 32], "network_args": {"depth": 1}}
    if variant == "medspectralnet":
        settings["network_args"] = {}
    learned = build_network(variant, {**settings, "class_names": theirs or ours})
    torch.save(learned.state_dict(), tmp_path / "model.pt")
    if theirs is not None:
        write_model_settings(tmp_path / "model.pt", {"variant": variant, **settings, "class_names": theirs})
    torch.manual_seed(3)
    fresh = build_network(variant, {**settings, "class_names": ours}).state_dict()
    torch.manual_seed(3)
    started = build_network(variant, {**settings, "class_names": ours}, init_from=tmp_path / "model.pt").state_dict()
    saved = learned.state_dict()
    for key, value in started.items():
        for row, values in enumerate(value) if key.startswith("head") else ():
            assert torch.equal(values, saved[key][kept[row]] if row in kept else fresh[key][row])
        assert key.startswith("head") or torch.equal(value, saved[key])
    warned = [record.getMessage() for record in caplog.records if "of the last layer" in record.getMessage()]
    assert len(warned) == (theirs not in (None, ours))
    shown = [
        ", ".join(name.replace("normal, benign", "'normal, benign'") for name in of or ()) for of in (theirs, ours)
    ]
    assert not warned or f"classes {shown[0]}, this training is for {shown[1]}:" in warned[0]
