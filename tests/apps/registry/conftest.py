"""A registry in a SQLite file, and small bundles whose weights are in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import yaml
from monai.utils import path_to_sqlite_uri

from medssm_monai.apps.registry import register as registering
from medssm_monai.apps.registry.register import Source, register
from medssm_monai.bundle.registered import Registry
from medssm_monai.utils import file_sha256

from ...bundle.tiny_bundles import CLINICAL_FMAMBA, MAMBA_MIS, MEDCONVMAMBA, Tiny, copy_bundle
from ...tracking_stores import copied_tables

TINY = {tiny.bundle: tiny for tiny in (MAMBA_MIS, MEDCONVMAMBA, CLINICAL_FMAMBA)}


@dataclass(frozen=True)
class Place:
    """A registry, the folder of the bundles, and that of the artifacts."""

    registry: Registry
    folder: Path

    @property
    def uri(self) -> str:
        return self.registry.uri

    def bundle(self, name: str) -> Path:
        return self.folder / name

    def artifacts(self, name: str, version: int = 1) -> Path:
        """The folder of a registered model's files."""
        from mlflow.utils.file_utils import local_file_uri_to_path

        return Path(local_file_uri_to_path(self.registry.version(name, version).source))


def add_weights(root: Path, tiny: Tiny, seed: int) -> Path:
    """Other weights of the same network beside those of the bundle."""
    weights = root / "models" / f"seed{seed}.pt"
    torch.save(tiny.network(seed).state_dict(), weights)
    shutil.copy(root / "models" / "model.json", weights.with_suffix(".json"))
    return weights


def make_place(folder: Path) -> Place:
    folder.mkdir(exist_ok=True)
    return Place(Registry.of(None, path_to_sqlite_uri(folder / "registry.db"), create=True), folder)


@pytest.fixture(scope="session")
def tables() -> Iterator[None]:
    with copied_tables():
        yield


@pytest.fixture(scope="session")
def registered(tables, tmp_path_factory) -> Place:
    """A registry with a version of one model per task; tests leave it as it is."""
    place = make_place(tmp_path_factory.mktemp("registered"))
    for name, tiny in TINY.items():
        root = copy_bundle(tiny, place.folder)
        register(Source(root, root / "models" / "model.pt"), f"{name}_model", place.registry)
    return place


def two_versions(place: Place) -> Place:
    """Two versions of a model ``lesions`` of Mamba-MIS, the second one the champion."""
    root = copy_bundle(MAMBA_MIS, place.folder)
    for weights in (root / "models" / "model.pt", add_weights(root, MAMBA_MIS, 1)):
        register(Source(root, weights), "lesions", place.registry)
    place.registry.client.set_registered_model_alias("lesions", "champion", "2")
    return place


@pytest.fixture(scope="session")
def lesions(tables, tmp_path_factory) -> Place:
    """A registry with :func:`two_versions`; tests leave it as it is."""
    return two_versions(make_place(tmp_path_factory.mktemp("lesions")))


@pytest.fixture
def own_cache(tmp_path, monkeypatch) -> Path:
    """The user's cache, empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def fresh(lesions, own_cache, tmp_path, monkeypatch) -> Place:
    """A registry with :func:`two_versions` that a test may change; the models are copies, which takes no time."""
    made = iter((1, 2))

    def copied(root, weights, metrics, export, folder):
        source = lesions.artifacts("lesions", next(made))
        shutil.copytree(source, folder)
        facts = yaml.safe_load((source / "MLmodel").read_text())["metadata"]
        assert facts["weights_sha256"] == file_sha256(weights)
        return facts

    with monkeypatch.context() as patch:
        patch.setattr(registering, "write_model", copied)
        return two_versions(make_place(tmp_path / "fresh"))
