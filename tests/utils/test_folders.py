from __future__ import annotations

import pytest

from medssm_monai.utils import keep_previous, require_file, writable_folder


def test_writable_folder_is_created(tmp_path):
    writable_folder(tmp_path / "a" / "b", tmp_path / "c")
    assert (tmp_path / "a" / "b").is_dir()
    assert list((tmp_path / "c").iterdir()) == []


def test_folder_below_a_file_names_the_mend(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(PermissionError, match="--output_dir"):
        writable_folder(tmp_path / "file" / "out")


def test_keep_previous_never_overwrites(tmp_path):
    path = tmp_path / "model.pt"
    assert keep_previous(path) is None
    kept = []
    for text in ("first", "second"):
        path.write_text(text)
        kept.append(keep_previous(path))
    assert [k.read_text() for k in kept] == ["first", "second"]
    assert not path.exists()


def test_require_file_says_what_and_how(tmp_path):
    with pytest.raises(FileNotFoundError, match="weights not found.*Train first"):
        require_file(tmp_path / "model.pt", "weights", "Train first.")
