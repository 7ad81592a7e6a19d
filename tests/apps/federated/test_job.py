"""Jobs for FLARE: what they hold, what they leave to the sites, and what is refused."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from medssm_monai.apps.federated import take_model, write_job
from medssm_monai.apps.federated.main import main
from medssm_monai.bundle import build_network
from medssm_monai.bundle.contents import bundle_files
from medssm_monai.bundle.settings import WEIGHTS_SHA256, saved_settings
from medssm_monai.utils import file_sha256

from ...bundles.bundle_runs import MAMBA_MIS, MEDCONVMAMBA

TINY = {key: value for key, value in MAMBA_MIS.tiny.items() if key != "max_epochs"}


def config(job, name):
    return json.loads((job / "app" / "config" / f"config_fed_{name}.json").read_text())


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    return write_job(
        "mamba_mis", tmp_path_factory.mktemp("jobs") / "job", rounds=3, local_epochs=2, min_clients=2, overrides=TINY
    )


def test_the_bundle_is_sent_as_it_is(job):
    files = bundle_files(MAMBA_MIS.folder)
    assert files
    for name, source in files.items():
        assert (job / "app" / "mamba_mis" / name).read_bytes() == source.read_bytes()


def test_server_and_sites_are_told_the_same(job):
    (rounds,) = config(job, "server")["workflows"]
    assert rounds["args"]["num_rounds"] == 3
    assert rounds["args"]["min_clients"] == json.loads((job / "meta.json").read_text())["min_clients"] == 2
    (algorithm,) = config(job, "client")["components"]
    arguments = algorithm["args"]
    assert arguments["local_epochs"] == 2
    assert arguments["train_kwargs"]["max_epochs"] == 6  # over which the learning rate falls
    assert arguments["config_evaluate_filename"] == ["configs/train.yaml", "configs/evaluate.yaml"]
    assert arguments["eval_kwargs"]["part"] == "validation"  # test images choose no model
    for kwargs in (arguments["train_kwargs"], arguments["eval_kwargs"]):
        assert kwargs["output_dir"].startswith("{WORKSPACE}/")
        assert kwargs["datalists#demo_counts"] == TINY["datalists#demo_counts"]


def test_the_first_weights_are_of_the_network_that_the_server_builds(job):
    described = json.loads((job / "app" / "network.json").read_text())["network_def"]
    network = build_network(described["variant"], described["settings"])
    network.load_state_dict(torch.load(job / "app" / "start.pt", weights_only=True))
    assert network.state_dict()["head.weight"].numel() < 100  # that of the tiny one
    assert saved_settings(job / "app" / "start.pt") == described["settings"]
    (algorithm,) = config(job, "client")["components"]
    assert algorithm["args"]["train_kwargs"]["labels"] == described["settings"]["labels"]  # no site's own


def test_the_same_seed_gives_the_same_start(job, tmp_path):
    again = write_job("mamba_mis", tmp_path / "again", overrides=TINY)
    other = write_job("mamba_mis", tmp_path / "other", overrides={**TINY, "seed": 1})
    first, second, third = (torch.load(one / "app" / "start.pt", weights_only=True) for one in (job, again, other))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert any(not torch.equal(first[key], third[key]) for key in first)


def test_weights_of_a_training_bring_their_settings(tmp_path):
    weights = MEDCONVMAMBA.folder / "models" / "model.pt"
    job = write_job("medconvmamba", tmp_path / "job", dataset_dir="{WORKSPACE}/images", init_from=weights)
    settings = saved_settings(job / "app" / "start.pt")
    trained = saved_settings(weights)
    assert settings["class_names"] == trained["class_names"]
    assert WEIGHTS_SHA256 not in settings and settings["temperature"] == 1.0  # of weights that training will change
    (algorithm,) = config(job, "client")["components"]
    train = algorithm["args"]["train_kwargs"]
    assert train["dataset_dir"] == "{WORKSPACE}/images" and train["image_size"] == trained["image_size"]
    assert "class_names" not in train  # which site's images have others, its evaluation says


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rounds": 0, "min_clients": 0}, "rounds 0, min_clients 0"),
        ({"dataset_dir": "images"}, "which classes and channels"),
        ({"overrides": {"max_epochs": 3, "part": "test"}}, "max_epochs .*part"),
        ({"overrides": {"max_epoch": 3}}, "max_epoch .*max_epochs"),
        ({"overlays": ["baseline_unet"], "overrides": TINY}, "baseline_unet"),
        ({"overlays": ["baseline_unet"]}, "baseline_unet.yaml trains monai_unet"),
    ],
)
def test_what_makes_no_federation_is_refused(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        write_job("mamba_mis", tmp_path / "job", **options)
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_there_or_there_already(tmp_path):
    with pytest.raises(FileNotFoundError, match="no overlay volumes.*volume"):
        write_job("mamba_mis", tmp_path / "job", overlays=["volumes"])
    with pytest.raises(FileNotFoundError, match="no such weights"):
        write_job("mamba_mis", tmp_path / "job", init_from=tmp_path / "none.pt")
    with pytest.raises(FileExistsError, match="Name another folder"):
        write_job("mamba_mis", tmp_path)


def test_weights_need_settings_that_agree(tmp_path):
    weights = tmp_path / "model.pt"
    shutil.copyfile(MAMBA_MIS.folder / "models" / "model.pt", weights)
    with pytest.raises(ValueError, match="no settings model.json"):
        write_job("mamba_mis", tmp_path / "job", init_from=weights)
    shutil.copyfile(MAMBA_MIS.folder / "models" / "model.json", weights.with_suffix(".json"))
    with pytest.raises(ValueError, match="in_channels 3, not 1"):
        write_job("mamba_mis", tmp_path / "job", init_from=weights, overrides={"in_channels": 1})


def test_the_global_model_becomes_weights_of_the_bundle(job, tmp_path):
    start = torch.load(job / "app" / "start.pt", weights_only=True)
    torch.save({"model": {key: value.double() + 0.4 for key, value in start.items()}}, tmp_path / "global.pt")
    words = ["model", str(job), str(tmp_path / "global.pt"), str(tmp_path / "taken" / "model.pt")]
    assert main(words) == 0
    taken = tmp_path / "taken" / "model.pt"
    found = torch.load(taken, weights_only=True)
    assert {key: value.dtype for key, value in found.items()} == {key: value.dtype for key, value in start.items()}
    moved = [float((found[key].double() - start[key].double()).abs().max()) for key in start]
    whole = [not value.dtype.is_floating_point for value in start.values()]
    assert all(move == pytest.approx(0 if number else 0.4, abs=1e-6) for move, number in zip(moved, whole, strict=True))
    assert saved_settings(taken)[WEIGHTS_SHA256] == file_sha256(taken)
    assert main(words) == 2  # nothing is overwritten


@pytest.mark.parametrize(
    ("name", "value", "message"), [("head.weight", None, "not of the job"), ("head.weight", float("nan"), "not finite")]
)
def test_a_model_of_another_job_or_of_a_failed_training_is_refused(job, tmp_path, name, value, message):
    start = torch.load(job / "app" / "start.pt", weights_only=True)
    if value is None:
        start.pop(name)
    else:
        start[name] = torch.full_like(start[name], value)
    torch.save({"model": start}, tmp_path / "global.pt")
    with pytest.raises(ValueError, match=message):
        take_model(tmp_path / "global.pt", job, tmp_path / "model.pt")
    with pytest.raises(FileNotFoundError, match="is no job"):
        take_model(tmp_path / "global.pt", tmp_path, tmp_path / "model.pt")
    assert not (tmp_path / "model.pt").exists()
