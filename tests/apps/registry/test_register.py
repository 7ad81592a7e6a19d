"""Registering: where weights come from, what their version says, and what is refused."""

from __future__ import annotations

import hashlib
import json
import shutil

import pytest
import torch

from medssm_monai.apps.registry.main import main
from medssm_monai.apps.registry.packing import write_model
from medssm_monai.apps.registry.register import Source, bundle_of, figures_of, find_source, register
from medssm_monai.bundle.registered import Registry
from medssm_monai.utils import file_sha256

from ...bundle.tiny_bundles import CLINICAL_FMAMBA, MAMBA_MIS, copy_bundle

FIGURES = {"dice": {"mean": 0.81234, "low": 0.75, "high": 0.87}, "iou": {"mean": None, "low": None, "high": None}}


def report(folder, weights=None, name="test"):
    folder.mkdir(parents=True)
    details = {} if weights is None else {"weights": f"models/model.pt (SHA-256 {file_sha256(weights)[:12]})"}
    cases = [{"image": "Mueller_Anna.png", "dice": 0.1}]
    summary = {"name": name, "images": 3, "per_image": FIGURES, "details": details, "cases": cases}
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def test_a_version_says_its_figures_and_names_no_image(fresh, tmp_path):
    root = fresh.bundle("mamba_mis")
    weights = root / "models" / "seed1.pt"
    weights.with_suffix(".md").write_text(f"Card of {file_sha256(weights)}")
    given = find_source("seed1", root, str(report(tmp_path / "r", weights)), fresh.registry, tmp_path)
    number, facts = register(given, "lesions", fresh.registry)
    assert number == "3" and facts["metrics"]["figures"]["dice"]["value"] == 0.81234
    tags = fresh.registry.version("lesions", 3).tags
    assert tags["test.dice"] == "0.8123 (0.75 to 0.87)" and "test.iou" not in tags
    assert tags["card_sha256"] == file_sha256(weights.with_suffix(".md"))
    run = fresh.registry.client.get_run(fresh.registry.version("lesions", 3).run_id)
    assert run.data.metrics == {"test_dice": 0.81234} and run.info.status == "FINISHED"
    folder = fresh.artifacts("lesions", 3)
    assert (folder / "data/mamba_mis/models/model.md").is_file()
    assert not any(b"Mueller" in file.read_bytes() for file in folder.rglob("*") if file.is_file())


def test_a_training_is_registered_with_its_run_and_its_validation(fresh, tmp_path):
    root, client = fresh.bundle("mamba_mis"), fresh.registry.client
    run = root / "eval" / "mamba_mis_s_demo_1"
    run.mkdir(parents=True)
    for end in (".pt", ".json"):
        shutil.copy(root / "models" / f"model{end}", run)
    report(run / "validation", name="validation")
    experiment = client.get_experiment_by_name("mamba_mis").experiment_id
    trained = client.create_run(experiment, run_name=run.name).info.run_id
    found = find_source(str(run), bundle_of(run), None, fresh.registry, tmp_path)
    assert found == Source(root, run / "model.pt", run / "validation", trained)
    for end in (".pt", ".json"):
        client.log_artifact(trained, str(run / f"model{end}"))
    for name in (trained, f"runs:/{trained}"):
        again = find_source(name, root, None, fresh.registry, tmp_path)
        assert again.run_id == trained and file_sha256(again.weights) == file_sha256(run / "model.pt")
    with pytest.raises(FileNotFoundError, match=r"no run 0+1 with model.pt and model.json"):
        find_source(f"{1:032d}", root, None, fresh.registry, tmp_path)


def test_the_bundle_is_told_by_the_place_of_the_weights(tmp_path):
    root = copy_bundle(MAMBA_MIS, tmp_path, name="ours")
    assert bundle_of(root / "models" / "trained" / "model.pt") == root
    assert bundle_of(tmp_path / "medconvmamba" / "eval" / "run").name == "medconvmamba"
    with pytest.raises(FileNotFoundError, match="cannot tell which bundle .* name it: --bundle NAME"):
        bundle_of(tmp_path / "x" / "model.pt")


@pytest.mark.parametrize("name", ["", "a b", "../a", "a/b", "a@b", "a:b"])
def test_names_that_are_none_are_refused(lesions, name):
    root = lesions.bundle("mamba_mis")
    with pytest.raises(ValueError, match="is no name of a model"):
        register(Source(root, root / "models" / "model.pt"), name, lesions.registry)


def test_a_model_keeps_its_bundle(lesions, tmp_path):
    root = copy_bundle(CLINICAL_FMAMBA, tmp_path)
    with pytest.raises(
        ValueError, match="'lesions' is a model of the bundle 'mamba_mis'; weights of 'clinical_fmamba'"
    ):
        register(Source(root, root / "models" / "model.pt"), "lesions", lesions.registry)


def spoil_settings(root):
    (root / "models" / "model.json").unlink()
    return FileNotFoundError, "its settings, model.json, are missing"


def spoil_weights(root):
    torch.save({"state_dict": MAMBA_MIS.network().state_dict(), "epoch": 3}, root / "models" / "model.pt")
    return ValueError, "no flat state dict"


def spoil_config(root):
    path = root / "configs" / "train.yaml"
    path.write_text(
        path.read_text() + "\nour_images: /data/patients/Mueller\nagain: [~/x/y]\nso: \"$['/home/a/b c']\"\n"
    )
    return ValueError, r"train.yaml: /data/patients/Mueller; configs/train.yaml: ~/x/y; .* \$\['/home/a/b c'\]"


def spoil_card(root):
    (root / "models" / "model.md").write_text("Card of other weights")
    return ValueError, "is the card of other weights"


@pytest.mark.parametrize("spoil", [spoil_settings, spoil_weights, spoil_config, spoil_card])
def test_what_others_could_not_use_is_refused(tmp_path, spoil):
    root = copy_bundle(MAMBA_MIS, tmp_path)
    error, said = spoil(root)
    with pytest.raises(error, match=said):
        write_model(root, root / "models" / "model.pt", {}, None, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_reports_of_other_weights_are_refused(lesions, tmp_path):
    root = lesions.bundle("mamba_mis")
    other = report(tmp_path / "other", root / "models" / "seed1.pt")
    with pytest.raises(ValueError, match="is the report of other weights"):
        find_source("model", root, str(other), lesions.registry, tmp_path)
    with pytest.raises(ValueError, match="which, it does not say"):
        find_source("model", root, str(report(tmp_path / "silent")), lesions.registry, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"holds no summary.json"):
        find_source("model", root, str(tmp_path), lesions.registry, tmp_path)
    assert figures_of(None) == {}


def export_report(path, digest, **changes):
    check = {"name": "a", "value": 0.0, "passed": True}
    content = {
        "passed": True,
        "bundle": "mamba_mis 0.1.0",
        "weights": f"model.pt (SHA-256 {digest[:12]})",
        "images": "(data folder) of Mueller",
        "formats": [{"format": "onnx", "checks": [check], "passed": True}],
    }
    path.write_text(json.dumps(content | changes))
    return path


def test_a_report_of_an_export_is_kept_without_the_images_name(tmp_path):
    root = copy_bundle(MAMBA_MIS, tmp_path)
    weights = root / "models" / "model.pt"
    write_model(root, weights, {}, export_report(tmp_path / "export.json", file_sha256(weights)), tmp_path / "model")
    kept = json.loads((tmp_path / "model/data/mamba_mis/models/export.json").read_text())
    assert kept["formats"][0]["format"] == "onnx" and kept["weights_sha256"] == file_sha256(weights)
    assert "Mueller" not in json.dumps(kept)


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"passed": False}, "did not pass its checks"), ({"weights": "SHA-256 0123"}, "of other weights than")],
)
def test_a_report_of_a_failed_or_another_export_is_refused(tmp_path, changes, said):
    root = copy_bundle(MAMBA_MIS, tmp_path)
    weights = root / "models" / "model.pt"
    failed = export_report(tmp_path / "e.json", file_sha256(weights), **changes)
    with pytest.raises(ValueError, match=said):
        write_model(root, weights, {}, failed, tmp_path / "model")


def test_the_command_registers_and_lists(lesions, capsys, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", lesions.uri)
    assert main(["list"]) == 0
    digest = hashlib.sha256((lesions.bundle("mamba_mis") / "models/seed1.pt").read_bytes()).hexdigest()[:12]
    assert capsys.readouterr().out.splitlines()[0::2] == [
        "lesions (mamba_mis)",
        f"  2  SHA-256 {digest}  never compared  champion",
    ]
    assert main(["register", str(lesions.folder / "none.pt"), "--bundle", "mamba_mis", "--name", "x"]) == 2
    assert "no weights" in capsys.readouterr().err


def test_an_address_that_is_a_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no longer keeps runs in folders"):
        Registry.of(tmp_path, str(tmp_path / "mlruns"))
