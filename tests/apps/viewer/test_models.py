"""What the viewer offers."""

from __future__ import annotations

import json
import shutil

import pytest

from medssm_monai.apps.viewer.files import Opened
from medssm_monai.apps.viewer.models import find_models, require_dimensions
from medssm_monai.bundle import BUNDLES_VARIABLE


def test_weights_are_known_by_their_name():
    (model,) = find_models(["clinical_fmamba"], "volume")["fusion"]
    assert model.spatial_dims == 3


def test_named_bundles_by_kind_with_one_label_each(tiny):
    found = find_models([tiny["mamba_mis"], tiny["clinical_fmamba"], tiny["volumes"]])
    assert {kind: [model.label for model in models] for kind, models in found.items()} == {
        "segmentation": ["mamba_mis, 2D"],
        "fusion": ["clinical_fmamba, 2D", "volumes, 3D"],
    }


def test_the_weights_of_a_bundle_are_offered_each(tiny, tmp_path):
    root = shutil.copytree(tiny["clinical_fmamba"], tmp_path / "clinical_fmamba")
    for ending in (".pt", ".json"):
        shutil.copy(tiny["volumes"] / "models" / f"model{ending}", root / "models" / f"volume{ending}")
    (root / "models" / "unknown.pt").write_bytes(b"weights without settings")
    models = find_models([root])["fusion"]
    assert [model.label for model in models] == ["clinical_fmamba, model.pt, 2D", "clinical_fmamba, volume.pt, 3D"]
    assert models[1].predictor.ckpt_path == str(root / "models" / "volume.pt")


def test_without_names_bundles_without_weights_are_left_out(tiny, tmp_path, monkeypatch, caplog):
    shutil.copytree(tiny["mamba_mis"], tmp_path / "full")
    shutil.copytree(tiny["mamba_mis"], tmp_path / "mamba_empty", ignore=shutil.ignore_patterns("*.pt", "*.json"))
    monkeypatch.setenv(BUNDLES_VARIABLE, str(tmp_path))
    labels = [model.label for model in find_models()["segmentation"]]
    assert "full, 2D" in labels
    assert not [label for label in labels if "empty" in label]
    assert "mamba_empty is left out: it has no weights" in caplog.text


def test_what_is_named_must_be_there(tiny, tmp_path):
    empty = shutil.copytree(tiny["mamba_mis"], tmp_path / "empty", ignore=shutil.ignore_patterns("*.pt"))
    with pytest.raises(FileNotFoundError, match="trained weights of empty not found"):
        find_models([empty])
    with pytest.raises(FileNotFoundError, match="no bundle 'mambo'"):
        find_models(["mambo"])
    with pytest.raises(ValueError, match="names weights of one bundle"):
        find_models([], ckpt_path="model.pt")
    with pytest.raises(FileNotFoundError, match=r"none\.pt"):
        find_models([tiny["mamba_mis"]], ckpt_path=tmp_path / "none.pt")


def test_named_weights(tiny, tmp_path):
    for ending in (".pt", ".json"):
        shutil.copy(tiny["mamba_mis"] / "models" / f"model{ending}", tmp_path / f"mine{ending}")
    (model,) = find_models([tiny["mamba_mis"]], ckpt_path=tmp_path / "mine.pt")["segmentation"]
    assert model.label == "mamba_mis, mine.pt, 2D"
    assert model.predictor.ckpt_path == str(tmp_path / "mine.pt")


def test_the_stored_temperature(tiny, tmp_path):
    root = shutil.copytree(tiny["medconvmamba"], tmp_path / "medconvmamba")
    settings = root / "models" / "model.json"
    values = json.loads(settings.read_text())
    for stored in (1.75, None):
        values.pop("temperature", None)
        settings.write_text(json.dumps(values if stored is None else {**values, "temperature": stored}))
        assert find_models([root])["classification"][0].temperature == stored


def test_other_dimensions_name_the_weights_to_choose(tiny, tmp_path):
    two, three = find_models([tiny["clinical_fmamba"], tiny["volumes"]])["fusion"]
    picture, volume = Opened(tmp_path / "a.png"), Opened(tmp_path / "b.nii", 5, tmp_path / "b.nii")
    require_dimensions(two, [picture], [two, three])
    require_dimensions(three, [volume], [two, three])
    with pytest.raises(ValueError, match=r"b\.nii is a volume.*choose other weights from the list: 'volumes, 3D'"):
        require_dimensions(two, [picture, volume], [two, three])
    with pytest.raises(ValueError, match=r"a\.png is a picture.*none here are for pictures"):
        require_dimensions(three, [picture], [three])
