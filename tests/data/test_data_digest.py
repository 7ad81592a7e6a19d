from __future__ import annotations

import hashlib
import os
import shutil

import numpy as np
import pytest

from medssm_monai.data import data_digest as module
from medssm_monai.data.data_digest import data_digest, files_of


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def data(tmp_path):
    for name in ("a/1.png", "a/2.png", "b/1.png"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(name.encode())
    return tmp_path / "data"


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_the_digest_is_that_of_names_and_contents(data):
    found = data_digest(files(data))
    own = hashlib.sha256()
    for name in ("a/1.png", "a/2.png", "b/1.png"):
        own.update(name.encode() + b"\0" + hashlib.sha256(name.encode()).hexdigest().encode() + b"\0")
    assert found == {"files": 3, "bytes": 21, "sha256": own.hexdigest(), "of": "names and contents"}


def test_order_and_place_do_not_matter(data, tmp_path):
    first = data_digest(files(data))
    assert data_digest(reversed(files(data))) == first == data_digest([*files(data), *files(data)])
    shutil.copytree(data, tmp_path / "elsewhere" / "copy")
    assert data_digest(files(tmp_path / "elsewhere")) == first


@pytest.mark.parametrize("change", ["content", "same size", "name", "fewer", "more"])
def test_every_change_gives_another_digest(data, change):
    first = data_digest(files(data))["sha256"]
    one = data / "a" / "1.png"
    if change == "content":
        one.write_bytes(b"other content")
    elif change == "same size":
        status = one.stat()
        one.write_bytes(b"A/1.png")
        os.utime(one, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    elif change == "name":
        one.rename(one.with_name("3.png"))
    elif change == "fewer":
        one.unlink()
    else:
        (data / "c.png").write_bytes(b"")
    assert data_digest(files(data))["sha256"] != first


def test_what_has_not_changed_is_not_read_again(data, monkeypatch):
    first = data_digest(files(data))
    monkeypatch.setattr(module, "file_sha256", lambda path: pytest.fail(f"{path} was read again"))
    assert data_digest(files(data)) == first
    (kept,) = (data.parent / "cache" / "medssm_monai" / "data_digests").iterdir()
    assert "png" not in kept.read_text() + kept.name  # no names of files
    kept.write_text('{"sha256": "half')
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(data.parent / "cache"))
    assert data_digest(files(data)) == first


def test_large_sets_are_digested_by_names_and_sizes(data):
    small = data_digest(files(data), largest=20)
    assert small["of"] == "names and sizes alone, of more than 2e-08 GB"
    (data / "a" / "1.png").write_bytes(b"A/1.PNG")
    assert data_digest(files(data), largest=20)["sha256"] == small["sha256"]
    (data / "a" / "1.png").write_bytes(b"longer than before")
    assert data_digest(files(data), largest=20)["sha256"] != small["sha256"]


def test_files_of_items_of_every_kind(data):
    np.savez(data / "set.npz", test_images=np.zeros((3, 4, 4)))
    (data / "series").mkdir()
    (data / "series" / "1.dcm").write_bytes(b"1")
    lists = {
        "training": [{"image": str(data / "a/1.png"), "label": 1, "name": "pyproject.toml"}],
        "validation": [{"image": [data / "a/1.png", str(data / "b/1.png")], "label": str(data / "series")}],
        "test": [{"image": f"{data}/set.npz/test_images/{number}"} for number in range(3)],
    }
    assert files_of(lists) == sorted(data / name for name in ("a/1.png", "b/1.png", "series/1.dcm", "set.npz"))
    assert data_digest([]) == {"files": 0, "bytes": 0, "sha256": None, "of": "no files"}
