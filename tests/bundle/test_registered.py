"""``models:/NAME@ALIAS`` as weights: found in a registry, fetched once, checked always."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import yaml

import medssm_monai
from medssm_monai.bundle import registered, weights_file
from medssm_monai.bundle.predictor import Predictor
from medssm_monai.bundle.registered import Registry, registered_weights
from medssm_monai.utils import file_sha256
from medssm_monai.utils.tracking import REQUESTS

from ..apps.registry.conftest import fresh, lesions, own_cache, tables  # noqa: F401
from .tiny_bundles import BUNDLES, CLINICAL_FMAMBA, MAMBA_MIS, copy_bundle


@pytest.fixture
def place(lesions, own_cache, monkeypatch):  # noqa: F811
    monkeypatch.setenv("MLFLOW_TRACKING_URI", lesions.uri)
    return lesions


@pytest.fixture
def changed(fresh, monkeypatch):  # noqa: F811
    monkeypatch.setenv("MLFLOW_TRACKING_URI", fresh.uri)
    return fresh


def test_an_alias_and_a_version_are_the_files_that_were_registered(place, own_cache):  # noqa: F811
    root = place.bundle("mamba_mis")
    for uri, name in (("models:/lesions/1", "model"), ("models:/lesions@champion", "seed1")):
        file = Path(weights_file(uri, root))
        for end in (".pt", ".json"):
            assert file.with_suffix(end).read_bytes() == (root / "models" / f"{name}{end}").read_bytes()
        assert file.is_relative_to(own_cache) and file.stat().st_mode & 0o077 in (0, 0o44)


def test_predictions_are_those_of_the_file(place):
    root = place.bundle("mamba_mis")
    image = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    wanted = medssm_monai.load(root, ckpt_path=root / "models" / "seed1.pt").predict(image)
    for predictor in (
        medssm_monai.load(root, ckpt_path="models:/lesions@champion"),
        Predictor(root, {"ckpt_path": "models:/lesions@champion"}),
    ):
        np.testing.assert_array_equal(predictor.predict(image).probability, wanted.probability)


def test_the_registry_is_an_argument_too(place, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # which the argument goes before
    root = place.bundle("mamba_mis")
    predictor = medssm_monai.load(root, ckpt_path="models:/lesions/1", tracking_uri=place.uri)
    assert file_sha256(predictor.ckpt_path) == file_sha256(root / "models" / "model.pt")


def test_files_are_fetched_once_and_again_when_the_copy_is_spoilt(place, monkeypatch):
    fetched = []
    download = Registry.download
    monkeypatch.setattr(Registry, "download", lambda self, *a: fetched.append(a[1]) or download(self, *a))
    root = place.bundle("mamba_mis")
    file = Path(weights_file("models:/lesions/1", root))
    assert len(fetched) == 2
    assert weights_file("models:/lesions/1", root) == str(file) and len(fetched) == 2
    file.write_bytes(b"spoilt")
    assert weights_file("models:/lesions/1", root) == str(file) and len(fetched) == 4
    assert file.read_bytes() == (root / "models" / "model.pt").read_bytes()


def test_an_alias_that_moves_gives_the_new_weights(changed):
    root = changed.bundle("mamba_mis")
    before = weights_file("models:/lesions@champion", root)
    changed.registry.client.set_registered_model_alias("lesions", "champion", "1")
    assert weights_file("models:/lesions@champion", root) != before


@pytest.mark.parametrize(
    ("uri", "error", "said"),
    [
        ("models:/lesion@champion", FileNotFoundError, r"no model 'lesion' in the registry .*; it has 'lesions'"),
        (
            "models:/lesions@challenger",
            FileNotFoundError,
            r"no alias 'challenger' .* versions: 1, 2; aliases: champion",
        ),
        ("models:/lesions/7", FileNotFoundError, r"no version 7 .* versions: 1, 2"),
        ("models:/lesions", ValueError, "expected models:/NAME@ALIAS"),
        ("models:/lesions/Production", ValueError, "expected models:/NAME@ALIAS"),
        ("models:/lesions@champion/../..", ValueError, "expected models:/NAME@ALIAS"),
    ],
)
def test_what_is_not_there_is_said(place, uri, error, said):
    with pytest.raises(error, match=said):
        weights_file(uri, place.bundle("mamba_mis"))
    with pytest.raises(error, match=said):
        medssm_monai.load(place.bundle("mamba_mis"), ckpt_path=uri)


def test_a_model_of_another_bundle_is_refused_whatever_its_folder_is_called(place, tmp_path):
    other = copy_bundle(CLINICAL_FMAMBA, tmp_path, name="mamba_mis")
    with pytest.raises(ValueError, match="a model of the bundle 'mamba_mis', not of 'clinical_fmamba'"):
        weights_file("models:/lesions/1", other)
    renamed = copy_bundle(MAMBA_MIS, tmp_path, name="our_polyps")
    assert weights_file("models:/lesions/1", renamed)


@pytest.mark.parametrize("name", ["model.pt", "model.json"])
def test_files_that_changed_in_the_store_are_refused(changed, name):
    file = changed.artifacts("lesions", 1) / "data" / "mamba_mis" / "models" / name
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(ValueError, match=rf"{name} of version 1 of lesions was changed after it was registered"):
        weights_file("models:/lesions/1", changed.bundle("mamba_mis"))
    file.unlink()
    with pytest.raises(FileNotFoundError, match="cannot be fetched from the registry's artifact store"):
        weights_file("models:/lesions/1", changed.bundle("mamba_mis"))


def test_a_version_that_others_made_is_refused(changed):
    client = changed.registry.client
    client.create_registered_model("theirs")
    client.create_model_version("theirs", (changed.folder / "somewhere").as_uri())
    with pytest.raises(ValueError, match="was not registered by medssm registry register"):
        weights_file("models:/theirs/1", changed.bundle("mamba_mis"))


def test_tags_lead_nowhere_else(changed):
    changed.registry.client.set_model_version_tag("lesions", "1", registered.WEIGHTS_SHA256, "../../../../etc")
    with pytest.raises(ValueError, match="should be a SHA-256"):
        weights_file("models:/lesions/1", changed.bundle("mamba_mis"))


def test_a_server_that_is_down_is_said_soon(place, monkeypatch):
    for name in REQUESTS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    began = time.monotonic()
    with pytest.raises(ConnectionError, match=r"http://me:\*\*\*@127.0.0.1:9 does not answer") as error:
        weights_file("models:/lesions@champion", place.bundle("mamba_mis"))
    assert time.monotonic() - began < 60 and "secret" not in str(error.value)  # MLflow's own wait is four minutes


def test_without_a_registry_none_is_made(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    root = copy_bundle(MAMBA_MIS, tmp_path)
    with pytest.raises(FileNotFoundError, match="nothing was registered there"):
        registered_weights("models:/lesions/1", root)
    assert not (root / "eval").exists()


def test_files_are_left_as_they_are(tmp_path):
    assert weights_file("models/none.pt", tmp_path) == "models/none.pt"


@pytest.mark.parametrize("name", ["inference", "evaluate"])
def test_every_config_takes_its_weights_from_the_one_place(name):
    configs = sorted(BUNDLES.glob(f"*/configs/{name}.yaml"))
    assert len(configs) == 4
    for path in configs:
        config = yaml.safe_load(path.read_text(encoding="utf8"))
        users = [key for key, value in config.items() if "@ckpt_path" in str(value)]
        assert users == ["weights_file", *(["tracker#params"] if name == "evaluate" else [])]
