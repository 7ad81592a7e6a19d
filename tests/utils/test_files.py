from __future__ import annotations

import errno
import os
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from medssm_monai.utils import DiskFullError, keep_previous, replace_file, require_file, writable_folder
from medssm_monai.utils.errors import ends_the_run
from medssm_monai.utils.files import remove_parts
from medssm_monai.utils.user_cache import is_writable


def test_writable_folder_is_created(tmp_path):
    writable_folder(tmp_path / "a" / "b", tmp_path / "c")
    assert (tmp_path / "a" / "b").is_dir()
    assert list((tmp_path / "c").iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="on Windows a file that is open has its name")
@pytest.mark.parametrize("check", [writable_folder, is_writable])
def test_a_process_that_is_killed_while_it_looks_whether_it_can_write_leaves_nothing(tmp_path, monkeypatch, check):
    seen, opened = [], tempfile.TemporaryFile

    def looked_at(*words, **named):
        file = opened(*words, **named)
        seen.append(list(tmp_path.iterdir()))
        return file

    monkeypatch.setattr(tempfile, "TemporaryFile", looked_at)
    check(tmp_path)
    assert seen == [[]]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes of folders")
def test_what_is_created_is_its_owners_and_what_was_there_stays_as_it_is(tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o755)
    writable_folder(shared / "a" / "b")
    modes = [oct(path.stat().st_mode & 0o777) for path in (shared, shared / "a", shared / "a" / "b")]
    assert modes == ["0o755", "0o700", "0o700"]


def test_folder_below_a_file_names_the_remedy(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(PermissionError, match="--output_dir"):
        writable_folder(tmp_path / "file" / "out")


def test_keep_previous_never_overwrites(tmp_path):
    path = tmp_path / "model.pt"
    assert keep_previous(path) == []
    kept = []
    for text in ("first", "second"):
        path.write_text(text)
        kept += keep_previous(path)
    assert [k.read_text() for k in kept] == ["first", "second"]
    assert not path.exists()


@pytest.mark.parametrize("taken", ["", ".pt", ".json"])
def test_files_that_belong_together_are_kept_under_one_stem(tmp_path, taken):
    weights, settings = tmp_path / "model.pt", tmp_path / "model.json"
    weights.write_text("weights")
    settings.write_text("settings")
    for path, seconds in ((weights, 1_000_000_000), (settings, 1_000_000_050)):  # the settings are written later
        os.utime(path, (seconds, seconds))
    stem = f"model_{time.strftime('%Y%m%d-%H%M%S', time.localtime(1_000_000_000))}"
    if taken:
        (tmp_path / (stem + taken)).write_text("earlier")
    expected = f"{stem}_2" if taken else stem
    kept = keep_previous(weights, settings)
    assert [path.name for path in kept] == [f"{expected}.pt", f"{expected}.json"]
    assert [path.read_text() for path in kept] == ["weights", "settings"]
    if taken:
        assert (tmp_path / (stem + taken)).read_text() == "earlier"


def test_keep_previous_takes_what_there_is(tmp_path):
    (tmp_path / "model.json").write_text("settings")
    (kept,) = keep_previous(tmp_path / "model.pt", tmp_path / "model.json")
    assert kept.suffix == ".json"
    assert list(tmp_path.iterdir()) == [kept]


def test_require_file_says_what_and_how(tmp_path):
    with pytest.raises(FileNotFoundError, match="weights not found.*Train first"):
        require_file(tmp_path / "model.pt", "weights", "Train first.")


def test_threads_that_write_one_file_do_not_take_each_others_half(tmp_path):
    begun = threading.Barrier(4)

    def write(number: int) -> str:
        with replace_file(tmp_path / "result.nii.gz") as temporary:
            temporary.write_text(str(number))
            begun.wait(10)
            return temporary.name

    with ThreadPoolExecutor(4) as pool:
        names = list(pool.map(write, range(4)))
    assert len(set(names)) == 4 and all(name.endswith(".nii.gz") for name in names)
    assert [path.name for path in tmp_path.iterdir()] == ["result.nii.gz"]
    assert (tmp_path / "result.nii.gz").read_text() in set("0123")


@pytest.mark.parametrize("name", ["a" * 248 + ".nii.gz", "é" * 125 + ".png", "a" * 251 + ".csv"])
def test_the_longest_names_can_be_written(tmp_path, name):
    with replace_file(tmp_path / name) as temporary:
        temporary.write_text("whole")
        assert temporary.name.endswith(Path(name).suffix)
    assert (tmp_path / name).read_text() == "whole"


@pytest.mark.parametrize(("number", "ends"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EFBIG, False)])
def test_a_full_disk_ends_a_run_and_a_limit_of_one_file_does_not(tmp_path, number, ends):
    with pytest.raises(DiskFullError, match="was not written") as raised, replace_file(tmp_path / "mask.png"):
        raise OSError(number, os.strerror(number))
    assert ends_the_run(raised.value) is ends


def _left_by_a_kill(path: Path) -> Path:
    """The half-written file of a process that ended in the middle of it."""

    class Killed(BaseException):
        pass

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed), replace_file(path) as temporary:
        temporary.write_text("half")
        patch.setattr(Path, "unlink", lambda *args, **kwargs: None)
        raise Killed
    return temporary


def test_what_kills_left_half_written_is_removed_and_nothing_else(tmp_path):
    (tmp_path / "sub").mkdir()
    names = ("model.pt", "volume.nii.gz", "plain", "sub/table.csv", "checkpoint_epoch=1.pt")
    halves = [_left_by_a_kill(tmp_path / name) for name in names]
    others = [tmp_path / name for name in (".training.lock", ".run.json", "model.1.part.pt", ".x.part", "sub/a.pt")]
    for path in others:
        path.touch()
    assert all(path.is_file() for path in halves)
    remove_parts(tmp_path, "model.pt")
    assert [path.exists() for path in halves] == [False, True, True, True, True]
    remove_parts(tmp_path)
    assert not any(path.exists() for path in halves) and all(path.exists() for path in others)
