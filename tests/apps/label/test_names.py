"""Names of a request become files of the studies, and nothing else."""

from __future__ import annotations

import os

import pytest

from medssm_monai.apps.label.names import base_name, destination, plain_name

LINKS = pytest.mark.skipif(os.name == "nt", reason="links need a right of their own on Windows")
BAD = [
    "",
    ".",
    "..",
    "../a",
    "/a",
    "a/b",
    "a\\b",
    "C:\\a",
    ".hidden",
    "a\0",
    "a\nb",
    "a\x7f",
    "\ud800",
    "ö" * 128,
    5,
    None,
]


@pytest.mark.parametrize(
    "name", ["a", "case 1 (2)", "größe", "1.2.840.5", "a..b", "-rf", "a:b", "$(x)", "x" * 255, "日本"]
)
def test_file_names_are_plain(name):
    assert plain_name(name, "image") == name


@pytest.mark.parametrize("name", BAD)
def test_other_texts_are_not(name):
    with pytest.raises(ValueError, match="image must be"):
        plain_name(name, "image")


@pytest.mark.parametrize("name", ["x.png", "/home/u/x.png", "C:\\Users\\u\\x.png", "..\\x.png", "../../x.png"])
def test_of_a_path_the_last_part_is_taken(name):
    assert base_name(name, "file name") == "x.png"


@pytest.mark.parametrize("name", [None, "", "a/", "a/..", "..", ".png", "a\\"])
def test_paths_without_a_last_part(name):
    with pytest.raises(ValueError, match="file name must be"):
        base_name(name, "file name")


@LINKS
def test_destinations_lie_in_the_folder(tmp_path):
    root, outside = tmp_path / "studies", tmp_path / "outside"
    for folder in (root / "labels" / "final", outside):
        folder.mkdir(parents=True)
    (outside / "a.png").write_bytes(b"x")
    (root / "labels" / "elsewhere").symlink_to(outside)
    (root / "labels" / "a.png").symlink_to(outside / "a.png")
    (root / "dangling.png").symlink_to(outside / "none.png")
    assert destination(root, "labels", "final", "a.png") == root / "labels" / "final" / "a.png"
    assert destination(root, "labels", "new", "a.png") == root / "labels" / "new" / "a.png"
    for parts, message in [
        (("labels", "elsewhere", "a.png"), "leads out of"),
        (("labels", "a.png"), "is a link"),
        (("dangling.png",), "is a link"),
        (("labels", "final"), "is a folder"),
        (("labels", "..", "a.png"), "must be a name"),
    ]:
        with pytest.raises(ValueError, match=message):
            destination(root, *parts)
    assert destination(root, "labels", "a.png", link=True).is_symlink()
    with pytest.raises(ValueError, match="leads out of"):
        destination(root, "labels", "elsewhere", "a.png", link=True)


@LINKS
def test_the_folder_itself_may_be_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "studies").symlink_to(tmp_path / "disk")
    assert destination(tmp_path / "studies", "a.png") == tmp_path / "studies" / "a.png"
