"""What an archive of a bundle holds, that it is the same every time, and what is not packed."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import stat
import tempfile
import zipfile

import monai.bundle
import pytest
import torch
import yaml

from medssm_monai.bundle import archive as module
from medssm_monai.bundle import pack_bundle, verify_archive

from .packable import BELONGS, packable, snapshot, write_card, write_weights
from .tiny_bundles import BUNDLES, MAMBA_MIS, MEDCONVMAMBA

CONFIGS = {f"configs/{path.name}" for path in (BUNDLES / "mamba_mis" / "configs").iterdir() if path.is_file()}
INSIDE = {*BELONGS, *CONFIGS, "models/model.md", "checksums.sha256"}


def contents(archive):
    """Names within the bundle's folder and contents of the files."""
    with zipfile.ZipFile(archive) as opened:
        assert opened.testzip() is None
        assert {name.split("/")[0] for name in opened.namelist()} == {archive.name.split("_v")[0]}
        return {name.partition("/")[2]: opened.read(name) for name in opened.namelist()}


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def edit_metadata(root, **changes):
    path = root / "configs" / "metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.fixture
def root(tmp_path):
    return packable(tmp_path / "bundles")


def test_an_archive_holds_what_belongs_to_the_bundle_alone(root, tmp_path, caplog):
    before = snapshot(root)
    with caplog.at_level("INFO", "medssm_monai.bundle.archive"):
        archive = pack_bundle(root, tmp_path / "out")
    assert archive == tmp_path / "out" / "mamba_mis_v0.1.0.zip"
    found = contents(archive)
    assert found.keys() == INSIDE
    assert {name: content for name, content in found.items() if name != "checksums.sha256"} == {
        name: content for name, (_, content) in before.items() if name in found
    }
    assert snapshot(root) == before
    (said,) = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert said.endswith(
        ": eval, images, models/model.ts, models/model_20260102-030405.pt, models/other.pt, models/trained, outputs"
    )


def test_sums_inside_and_beside_are_those_of_the_files(root, tmp_path):
    archive = pack_bundle(root, tmp_path / "out")
    found = contents(archive)
    lines = found.pop("checksums.sha256").decode().splitlines()
    assert lines == [f"{sha256(content)}  {name}" for name, content in sorted(found.items())]
    beside = archive.with_name("mamba_mis_v0.1.0.zip.sha256")
    assert beside.read_text() == f"{sha256(archive.read_bytes())}  mamba_mis_v0.1.0.zip\n"
    assert sorted(archive.parent.iterdir()) == [archive, beside]


def test_the_same_files_give_the_same_bytes(root, tmp_path):
    first = pack_bundle(root, tmp_path / "a")
    other = shutil.copytree(root, tmp_path / "elsewhere" / root.name)
    for number, path in enumerate(sorted(other.rglob("*"), reverse=True)):
        os.utime(path, (number + 1e9, number + 1e9))
        if path.is_file():
            path.chmod(0o600)
    second = pack_bundle(other, tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()
    assert pack_bundle(root, tmp_path / "a").read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as opened:
        assert opened.namelist() == sorted(opened.namelist())
        assert {member.date_time for member in opened.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {member.external_attr >> 16 for member in opened.infolist()} == {stat.S_IFREG | 0o644}


def test_other_weights_belong_to_it_by_their_card(root, tmp_path):
    write_weights(root / "models" / "second.pt", card=True)
    write_weights(root / "models" / "third.pt")
    found = contents(pack_bundle(root, tmp_path / "out"))
    assert found.keys() - INSIDE == {"models/second.pt", "models/second.json", "models/second.md"}


@pytest.mark.parametrize("card", [True, False])
def test_own_weights_take_the_place_of_those_in_the_bundle(root, tmp_path, caplog, card):
    write_weights(root / "models" / "second.pt", card=True)
    own = write_weights(root / "models" / "trained" / "best.pt", seed=3, card=card)
    before = snapshot(root)
    found = contents(pack_bundle(root, tmp_path / "out", ckpt_path=own))
    assert found.keys() == (INSIDE if card else INSIDE - {"models/model.md"})
    assert found["models/model.pt"] == own.read_bytes() != (root / "models" / "model.pt").read_bytes()
    assert found["models/model.json"] == own.with_suffix(".json").read_bytes()
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(said) == (not card)
    assert card or f"{own} has no model card best.md" in said[0] and sha256(own.read_bytes()) in said[0]
    assert snapshot(root) == before


def test_a_card_of_other_weights_is_refused(root, tmp_path):
    own = write_weights(tmp_path / "run" / "model.pt", card=True)
    torch.save(MAMBA_MIS.network(8).state_dict(), own)
    with pytest.raises(ValueError, match=r"model\.md is the card of other weights.*Correct the card"):
        pack_bundle(root, tmp_path / "out", ckpt_path=own)
    assert not (tmp_path / "out").exists()


def test_large_files_stay_outside_and_monai_fetches_them(root, tmp_path, monkeypatch, caplog):
    weights = root / "models" / "model.pt"
    monkeypatch.setattr(module, "LARGEST_FILE", weights.stat().st_size - 1)
    for url in (None, "models", "/some/folder"):
        with pytest.raises(ValueError, match=r"models/model\.pt \(1\.2 MiB\).*--url https://HOST/FOLDER"):
            pack_bundle(root, tmp_path / "out", url=url)
    assert not (tmp_path / "out").exists()

    web = tmp_path / "some web"
    archive = pack_bundle(root, tmp_path / "out", url=f"{web.as_uri()}/")
    found = contents(archive)
    assert found.keys() == INSIDE - {"models/model.pt"} | {"large_files.yml"}
    place = f"{web.as_uri()}/models/model.pt"
    entry = {"path": "models/model.pt", "url": place, "hash_val": sha256(weights.read_bytes()), "hash_type": "sha256"}
    assert yaml.safe_load(found["large_files.yml"]) == {"large_files": [entry]}
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        f"not in the archive: put {weights} where {place} finds it"
    ]
    assert "models/model.pt" not in verify_archive(archive)

    (web / "models").mkdir(parents=True)
    shutil.copy(weights, web / "models")
    shutil.unpack_archive(archive, tmp_path / "unpacked")
    monai.bundle.download_large_files(str(tmp_path / "unpacked" / "mamba_mis"))
    assert (tmp_path / "unpacked" / "mamba_mis" / "models" / "model.pt").read_bytes() == weights.read_bytes()


def test_an_unpacked_archive_packs_to_the_same_again(root, tmp_path):
    archive = pack_bundle(root, tmp_path / "out")
    shutil.unpack_archive(archive, tmp_path / "unpacked")
    again = pack_bundle(tmp_path / "unpacked" / "mamba_mis", tmp_path / "again")
    assert again.read_bytes() == archive.read_bytes()


def test_a_version_is_packed_once(root, tmp_path):
    archive = pack_bundle(root, tmp_path / "out")
    before = snapshot(archive.parent)
    (root / "docs" / "README.md").write_text("changed")
    with pytest.raises(FileExistsError, match="another content.*Raise 'version'"):
        pack_bundle(root, tmp_path / "out")
    assert snapshot(archive.parent) == before
    edit_metadata(root, version="0.1.1", changelog={"0.1.0": "first", "0.1.1": "page"})
    assert pack_bundle(root, tmp_path / "out").name == "mamba_mis_v0.1.1.zip"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": "0.2.0"}, r"version 0\.2\.0 is not in 'changelog' \(there: 0\.1\.0\)"),
        ({"changelog": {}}, r"not in 'changelog' \(there: none\)"),
        ({"changelog": ["0.1.0"]}, "not in 'changelog'"),
        ({"version": 1}, "must be a text such as '0.1.0', got 1"),
        ({"version": "1/../../x", "changelog": {"1/../../x": ""}}, "must be a text such as '0.1.0'"),
    ],
)
def test_the_version_must_be_in_the_changelog(root, tmp_path, changes, said):
    edit_metadata(root, **changes)
    with pytest.raises(ValueError, match=said):
        pack_bundle(root, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_metadata_that_are_no_json_are_named(root, tmp_path):
    (root / "configs" / "metadata.json").write_text("{")
    with pytest.raises(ValueError, match=r"metadata\.json is no JSON"):
        pack_bundle(root, tmp_path / "out")


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("configs/metadata.json", r"metadata\.json is missing"),
        ("LICENSE", r"lacks LICENSE, which the Model Zoo asks for\.$"),
        ("models/model.pt", r"lacks models/model\.pt.*train, or name yours with --ckpt_path FILE"),
        ("models/model.json", r"its settings, model\.json, are missing"),
    ],
)
def test_what_the_zoo_asks_for_must_be_there(root, tmp_path, missing, said):
    (root / missing).unlink()
    with pytest.raises(FileNotFoundError, match=said):
        pack_bundle(root, tmp_path / "out")


def test_weights_that_lie_elsewhere_are_to_be_fetched(root, tmp_path):
    (root / "models" / "model.pt").unlink()
    (root / "large_files.yml").write_text("large_files: []\n")
    with pytest.raises(FileNotFoundError, match=r"python -m monai\.bundle download_large_files --bundle_path"):
        pack_bundle(root, tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: {"state_dict": state, "epoch": 3}, "no flat state dict.*pack_weights"),
        (lambda state: {f"module.{key}": value for key, value in state.items()}, "no flat state dict.*pack_weights"),
        (lambda state: {"weights": list(state.values())}, "no flat state dict"),
        (lambda state: state | {"more": torch.zeros(1)}, "another network's"),
        (lambda state: torch.zeros(3), "no flat state dict"),
    ],
    ids=["entry", "parallel", "list", "more", "tensor"],
)
def test_weights_that_others_could_not_load_are_refused(root, tmp_path, change, said):
    weights = root / "models" / "model.pt"
    torch.save(change(torch.load(weights, weights_only=True)), weights)
    write_card(weights)
    with pytest.raises(ValueError, match=said):
        pack_bundle(root, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_settings_of_other_weights_are_refused(root, tmp_path):
    settings = root / "models" / "model.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "weights_sha256": "0" * 64}))
    with pytest.raises(ValueError, match="do not belong together"):
        pack_bundle(root, tmp_path / "out")


def test_metadata_of_another_network_are_refused(tmp_path):
    root = packable(tmp_path, MEDCONVMAMBA)
    with pytest.raises(ValueError, match=r"describes another network than .*\(classes 2, not 3\).*Copy the bundle"):
        pack_bundle(root, tmp_path / "out")
    data = json.loads((root / "configs" / "metadata.json").read_text())["network_data_format"]
    data["outputs"]["pred"]["num_channels"] = 3
    edit_metadata(root, network_data_format=data)
    assert pack_bundle(root, tmp_path / "out").is_file()


def test_no_such_weights_and_no_such_bundle(root, tmp_path, monkeypatch):
    monkeypatch.setenv("MEDSSM_BUNDLES", str(root.parent))
    with pytest.raises(FileNotFoundError, match=r"weights to pack not found: .*none\.pt"):
        pack_bundle("mamba_mis", tmp_path / "out", ckpt_path=tmp_path / "none.pt")
    with pytest.raises(FileNotFoundError, match=r"no bundle 'mamba_miss' \(meant: 'mamba_mis'\?\)"):
        pack_bundle("mamba_miss", tmp_path / "out")


@pytest.mark.parametrize("inside", [".", "models", "new/folder", "../mamba_mis/eval"])
def test_nothing_is_written_into_the_bundle(root, inside):
    before = snapshot(root)
    with pytest.raises(ValueError, match="lies in the bundle .* Name a folder outside it"):
        pack_bundle(root, root / inside)
    assert snapshot(root) == before


@pytest.mark.parametrize("name", ["my bundle", "ünd", "-b"])
def test_a_folder_whose_name_is_none_for_an_archive(tmp_path, name):
    with pytest.raises(ValueError, match="Rename the folder"):
        pack_bundle(packable(tmp_path / "bundles", name=name), tmp_path / "out")


@pytest.mark.skipif(os.name == "nt", reason="Windows takes no such names")
def test_a_name_that_not_every_system_takes(root, tmp_path):
    (root / "docs" / "a:b.png").write_text("x")
    with pytest.raises(ValueError, match=r"not every system can unpack 'docs/a:b\.png'"):
        pack_bundle(root, tmp_path / "out")


def test_a_folder_that_cannot_be_written_to(root, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    with pytest.raises(PermissionError, match="cannot write into .*Make it writable, or name another folder"):
        pack_bundle(root, tmp_path / "file" / "out")

    def read_only(*args, **kwargs):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", read_only)
    with pytest.raises(PermissionError, match="Read-only file system.*name another folder"):
        pack_bundle(root, tmp_path / "out")


def test_a_file_that_changes_meanwhile_leaves_nothing(root, tmp_path, monkeypatch):
    def changing(*args):
        (root / "docs" / "README.md").write_text("another text")

    monkeypatch.setattr(module, "require_described", changing)
    with pytest.raises(ValueError, match=r"docs/README\.md of mamba_mis changed while it was packed"):
        pack_bundle(root, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
