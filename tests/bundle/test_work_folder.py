"""Where results go: into a bundle of one's own, beside the user for those that are installed or read-only."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from medssm_monai.bundle import bundle_weights, work_folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def bundle_in(place: Path) -> Path:
    root = place / "net"
    (root / "models").mkdir(parents=True)
    (root / "models" / "model.pt").touch()
    return root


def install(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr("medssm_monai.bundle.work_place.INSTALLED", folder)


def test_a_bundle_of_ones_own_keeps_its_results(tmp_path, here):
    root = bundle_in(tmp_path)
    assert work_folder(root) == str(root)
    assert bundle_weights(root) == str(root / "models" / "model.pt")


def test_an_installed_bundle_leaves_them_in_the_current_folder(tmp_path, here, monkeypatch):
    root = bundle_in(tmp_path / "package")
    install(monkeypatch, tmp_path / "package")
    assert work_folder(root) == str(here / "net")
    assert not (here / "net").exists()


def test_trainings_with_an_installed_bundle_come_before_its_weights(tmp_path, here, monkeypatch):
    root = bundle_in(tmp_path / "package")
    install(monkeypatch, tmp_path / "package")
    assert bundle_weights(root) == str(root / "models" / "model.pt")
    own = here / "net" / "models" / "trained" / "model.pt"
    own.parent.mkdir(parents=True)
    own.touch()
    assert bundle_weights(root) == str(own)
    monkeypatch.chdir(tmp_path)
    assert bundle_weights(root) == str(root / "models" / "model.pt")


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions of this kind are POSIX")
def test_a_read_only_bundle_leaves_them_in_the_current_folder(tmp_path, here, monkeypatch):
    root = bundle_in(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: not (Path(path) == root and mode == os.W_OK))
    assert work_folder(root) == str(here / "net")
