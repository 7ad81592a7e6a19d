"""Archives of clients are unpacked into their folder, and no further."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile

import pytest

from medssm_monai.apps.label.archives import unpack


def tar(path, *members, mode="w:gz", size=4):
    with tarfile.open(path, mode) as archive:
        for name, kind, target in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, target, size if kind == tarfile.REGTYPE else 0
            archive.addfile(info, io.BytesIO(bytes(info.size)))
    return path


def zipped(path, *members, size=4):
    with zipfile.ZipFile(path, "w") as archive:
        for name, mode in members:
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            archive.writestr(info, b"" if name.endswith("/") else bytes(size))
    return path


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "into").mkdir()
    return tmp_path / "into"


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar_files(tmp_path, folder, mode):
    members = ("series", tarfile.DIRTYPE, ""), ("series/1.dcm", tarfile.REGTYPE, ""), ("./2.dcm", tarfile.REGTYPE, "")
    unpack(tar(tmp_path / "any name", *members, mode=mode), folder, 8)
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*.dcm")) == ["2.dcm", "series/1.dcm"]


def test_zip_files(tmp_path, folder):
    members = ("series/", stat.S_IFDIR | 0o700), ("series/1.dcm", stat.S_IFREG | 0o777), ("2.dcm", 0)
    unpack(zipped(tmp_path / "a.zip", *members), folder, 8)
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*.dcm")) == ["2.dcm", "series/1.dcm"]
    assert not (folder / "series" / "1.dcm").stat().st_mode & 0o111


@pytest.mark.parametrize("name", ["../up", "a/../../up", "/up", "a\\..\\up", "C:up", "..", "."])
def test_members_outside_are_refused(tmp_path, folder, name):
    for archive in (
        tar(tmp_path / "a.tar", (name, tarfile.REGTYPE, "")),
        zipped(tmp_path / "a.zip", (name, stat.S_IFREG | 0o600)),
    ):
        with pytest.raises(ValueError, match="not a member of this archive alone|no archive that can be unpacked"):
            unpack(archive, folder, 100)
    assert {path.name for path in tmp_path.iterdir()} == {"a.tar", "a.zip", "into"}
    assert not any(folder.iterdir())


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_only_files_and_folders(tmp_path, folder, kind):
    (tmp_path / "secret").write_bytes(b"x")
    archive = tar(tmp_path / "a.tar", ("x", kind, "../secret"), ("x", tarfile.REGTYPE, ""))
    with pytest.raises(ValueError, match="neither file nor folder"):
        unpack(archive, folder, 100)
    with pytest.raises(ValueError, match="neither file nor folder"):
        unpack(zipped(tmp_path / "a.zip", ("x", stat.S_IFLNK | 0o777)), folder, 100)
    assert (tmp_path / "secret").read_bytes() == b"x"


def test_sizes_and_numbers_are_limited(tmp_path, folder):
    many = tar(tmp_path / "many.tar", *((str(i), tarfile.REGTYPE, "") for i in range(5)))
    with pytest.raises(ValueError, match="more than 4 members"):
        unpack(many, folder, 100, max_files=4)
    bomb = zipped(tmp_path / "bomb.zip", ("zeros", 0), size=1 << 20)
    assert bomb.stat().st_size < 5000
    with pytest.raises(ValueError, match="more than 100000 bytes"):
        unpack(bomb, folder, 100_000)
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 100_020


def test_a_table_that_lies_about_sizes_is_not_believed(tmp_path, folder):
    archive = zipped(tmp_path / "a.zip", ("zeros", 0), size=1 << 20)
    content = archive.read_bytes().replace((1 << 20).to_bytes(4, "little"), (1).to_bytes(4, "little"))
    archive.write_bytes(content)
    with pytest.raises(ValueError, match="cannot|can be unpacked|more than"):
        unpack(archive, folder, 100_000)
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 100_000


def test_a_member_is_not_written_over_another(tmp_path, folder):
    archive = tar(tmp_path / "a.tar", ("x", tarfile.REGTYPE, ""), ("x", tarfile.REGTYPE, ""))
    with pytest.raises(ValueError, match="no archive that can be unpacked"):
        unpack(archive, folder, 100)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\5\6" + bytes(18), bytes(10240)])
def test_what_is_no_archive(tmp_path, folder, content):
    (tmp_path / "a.tgz").write_bytes(content)
    with pytest.raises(ValueError, match="a.tgz: (no archive that can be unpacked|an empty archive)"):
        unpack(tmp_path / "a.tgz", folder, 100)
