"""A bundle's copy holds what belongs to it, is whole or not there, and finds itself."""

from __future__ import annotations

import pytest
from monai.bundle import ConfigParser

from medssm_monai.bundle import copies, copy_bundle, find_bundle

from .packable import BELONGS, packable, snapshot
from .tiny_bundles import BUNDLES

CONFIGS = {f"configs/{path.name}" for path in (BUNDLES / "mamba_mis" / "configs").iterdir() if path.is_file()}


@pytest.fixture
def root(tmp_path):
    return packable(tmp_path / "bundles")


def test_a_copy_holds_what_belongs_to_the_bundle(root, tmp_path, caplog):
    before = snapshot(root)
    with caplog.at_level("INFO", "medssm_monai.bundle.copies"):
        copy = copy_bundle(root, tmp_path / "new" / "place")
    assert copy == tmp_path / "new" / "place" / "mamba_mis"
    found = {name: content for name, (_, content) in snapshot(copy).items()}
    assert found.keys() == {*BELONGS, *CONFIGS, "models/model.md"}
    assert found == {name: content for name, (_, content) in before.items() if name in found}
    assert snapshot(root) == before
    assert list(copy.parent.iterdir()) == [copy]
    assert "left out, as no part of the bundle: eval, images, " in caplog.text


def test_the_copy_of_a_read_only_bundle_can_be_changed(root, tmp_path):
    for path in root.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    copy = copy_bundle(root, tmp_path / "copies")
    modes = {path.stat().st_mode & 0o200 for path in copy.rglob("*")}
    assert modes == {0o200}


def test_a_copy_takes_itself_for_its_bundle(tmp_path, monkeypatch):
    copy = copy_bundle("mamba_mis", tmp_path)
    config = copy / "configs" / "train.yaml"
    monkeypatch.setattr("sys.argv", ["monai.bundle", "run", "training", "--config_file", str(config)])
    parser = ConfigParser()
    parser.read_config(str(config))
    assert parser.get_parsed_content("bundle_root") == str(copy)
    monkeypatch.setenv("MEDSSM_BUNDLES", str(tmp_path))
    assert find_bundle("mamba_mis") == copy


@pytest.mark.parametrize("there", ["folder", "file", "lost link"])
def test_nothing_is_overwritten(root, tmp_path, there):
    place = tmp_path / "copies" / "mamba_mis"
    place.parent.mkdir()
    if there == "folder":
        place.mkdir()
    elif there == "file":
        place.write_text("mine")
    else:
        place.symlink_to(tmp_path / "lost")
    with pytest.raises(FileExistsError, match="is there already and stays as it is. Name another folder, or move it"):
        copy_bundle(root, tmp_path / "copies")
    assert list(place.parent.iterdir()) == [place]
    assert there != "file" or place.read_text() == "mine"


def test_a_bundle_is_not_copied_over_itself_or_into_itself(root):
    before = snapshot(root)
    with pytest.raises(FileExistsError, match="is there already"):
        copy_bundle(root, root.parent)
    for inside in (root, root / "docs", root / ".." / root.name / "new"):
        with pytest.raises(ValueError, match="lies in the bundle .*Name a folder outside it"):
            copy_bundle(root, inside)
    assert snapshot(root) == before


def test_a_copy_that_fails_leaves_nothing(root, tmp_path, monkeypatch):
    def full(source, target):
        target.write_bytes(source.read_bytes()[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(copies.shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space left"):
        copy_bundle(root, tmp_path / "copies")
    assert list((tmp_path / "copies").iterdir()) == []


def test_an_unknown_bundle_and_a_place_that_is_a_file(root, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no bundle 'clinical_mamba' \(meant: 'clinical_fmamba'"):
        copy_bundle("clinical_mamba", tmp_path / "copies")
    (tmp_path / "file").write_text("x")
    with pytest.raises(PermissionError, match="name another folder"):
        copy_bundle(root, tmp_path / "file")
