"""What the check of an archive finds, and that nothing is unpacked or read through a name that leads elsewhere."""

from __future__ import annotations

import hashlib
import shutil
import stat
import zipfile

import pytest

from medssm_monai.bundle import archive_check, pack_bundle, verify_archive

from .packable import packable

PAGE = "mamba_mis/docs/README.md"


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed")
    return pack_bundle(packable(folder / "bundles"), folder / "out")


@pytest.fixture
def archive(packed, tmp_path):
    """A copy without the sum beside it."""
    return shutil.copy(packed, tmp_path / packed.name)


def rebuild(archive, change):
    """Write the archive anew from what ``change`` makes of its members, {name or ZipInfo: content}."""
    with zipfile.ZipFile(archive) as opened:
        members = {name: opened.read(name) for name in opened.namelist()}
    made = change(members)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in (members if made is None else made).items():
            opened.writestr(name, content)


def relist(members):
    """Sums that fit, as one would write them who changes an archive on purpose."""
    names = sorted(name for name in members if name != "mamba_mis/checksums.sha256")
    lines = [f"{hashlib.sha256(members[name]).hexdigest()}  {name.partition('/')[2]}\n" for name in names]
    members["mamba_mis/checksums.sha256"] = "".join(lines).encode()


def problems(archive):
    with pytest.raises(ValueError, match="is not to be used:\n") as caught:
        verify_archive(archive)
    return str(caught.value).splitlines()[1:]


def test_a_whole_archive_passes_with_and_without_its_sum(packed, archive):
    with zipfile.ZipFile(packed) as opened:
        names = sorted(name.partition("/")[2] for name in opened.namelist())
    assert verify_archive(packed) == verify_archive(archive) == names
    assert sorted(archive.parent.iterdir()) == [archive]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_archive(packed, archive, share):
    content = archive.read_bytes()
    archive.write_bytes(content[: int(len(content) * share)])
    (said,) = problems(archive)
    assert "no whole zip file" in said
    shutil.copy(f"{packed}.sha256", f"{archive}.sha256")
    assert "its SHA-256 is" in problems(archive)[0]


def test_a_flipped_bit_names_its_file(archive):
    with zipfile.ZipFile(archive) as opened:
        place = opened.getinfo("mamba_mis/models/model.pt").header_offset + 2000
    content = bytearray(archive.read_bytes())
    content[place] ^= 1
    archive.write_bytes(content)
    (said,) = problems(archive)
    assert said.startswith("  models/model.pt is damaged")


def test_files_that_differ_are_missing_or_are_more_are_all_named(archive):
    def change(members):
        members[PAGE] += b"."
        members["mamba_mis/configs/evil.yaml"] = b"x: $1"
        del members["mamba_mis/LICENSE"]

    rebuild(archive, change)
    assert problems(archive) == [
        "  LICENSE is missing",
        "  configs/evil.yaml is not in checksums.sha256",
        "  docs/README.md differs from what was packed",
    ]


def test_the_sum_beside_it_must_be_its_own(archive):
    beside = archive.with_name(f"{archive.name}.sha256")
    for text, stated in ((f"{'0' * 64}  {archive.name}\n", "0" * 64), ("", "none")):
        beside.write_text(text)
        (said,) = problems(archive)
        assert said.endswith(f"{beside.name} states {stated}")


@pytest.mark.parametrize(
    "name",
    ["../evil", "mamba_mis/../../evil", "/etc/evil", "mamba_mis//evil", "mamba_mis/./evil", "mamba_mis\\..\\evil"]
    + ["C:/evil", "mamba_mis/a\0b", "mamba_mis/a\nb"],
)
def test_a_member_that_climbs_out_is_named_and_nothing_is_read(archive, monkeypatch, name):
    monkeypatch.setattr(archive_check.zipfile.ZipFile, "read", lambda *args: pytest.fail("was read"))
    with zipfile.ZipFile(archive, "a") as opened:
        info = zipfile.ZipInfo("x")
        info.filename = info.orig_filename = name
        opened.writestr(info, b"x")
    said = problems(archive)
    assert f"  {name!r} would be unpacked outside the bundle's folder" in said


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO])
def test_links_and_devices_are_refused(archive, kind):
    member = zipfile.ZipInfo("mamba_mis/docs/link")
    member.create_system, member.external_attr = 3, (kind | 0o777) << 16
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr(member, "../../..")
    assert problems(archive) == ["  'mamba_mis/docs/link' is neither file nor folder, but a link or a device"]


def test_a_name_twice_is_refused(archive):
    with zipfile.ZipFile(archive, "a") as opened, pytest.warns(UserWarning, match="Duplicate name"):
        opened.writestr(PAGE, "another")
    assert problems(archive) == [f"  {PAGE!r} is there 2 times"]


def test_an_encrypted_member_is_refused(archive):
    content = bytearray(archive.read_bytes())
    place = content.rindex(PAGE.encode()) - 46  # its entry in the table at the end; flags are bytes 8 and 9
    assert content[place : place + 4] == b"PK\1\2"
    content[place + 8] |= 1
    archive.write_bytes(content)
    assert problems(archive) == [f"  {PAGE!r} is encrypted"]


@pytest.mark.parametrize("name", ["other/file", "file"])
def test_files_beside_the_bundle_s_folder_are_refused(archive, name):
    rebuild(archive, lambda members: members.update({name: b""}))
    assert problems(archive)[0].startswith("  the files lie in 2 folders")


def test_archives_of_others_are_not_taken_for_checked(archive):
    rebuild(archive, lambda members: members.pop("mamba_mis/checksums.sha256") and None)
    assert problems(archive) == [
        "  checksums.sha256, the list of its files, is missing; archives of other programs are not checked here"
    ]
    rebuild(archive, lambda members: {})
    assert problems(archive) == ["  it is empty"]


def test_a_file_that_is_no_archive(tmp_path):
    (tmp_path / "x.zip").write_text("no archive")
    assert "no whole zip file" in problems(tmp_path / "x.zip")[0]
    with pytest.raises(FileNotFoundError, match=r"archive not found: .*none\.zip"):
        verify_archive(tmp_path / "none.zip")


def test_a_file_beyond_the_limit_is_not_read(archive, monkeypatch):
    monkeypatch.setattr(archive_check, "LARGEST_FILE", 30_000)
    (said,) = problems(archive)
    assert said.startswith("  models/model.pt has more than the")


def test_too_many_files(archive, monkeypatch):
    monkeypatch.setattr(archive_check, "MOST_FILES", 5)
    (said,) = problems(archive)
    assert said.endswith("files, more than any bundle's 5")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"large_files: [{path: ../../evil, url: 'https://host/evil'}]", "'../../evil' would be fetched to outside"),
        (b"large_files: [{path: models/model.pt, url: ''}]", "or from nowhere"),
        (b"large_files: [{path: models/model.pt}]", "cannot be read (KeyError)"),
        (b"large_files: 3", "cannot be read (TypeError)"),
        (b"large_files: [{path: 3, url: x}]", "cannot be read (AttributeError)"),
        (b"{", "cannot be read (ParserError)"),
    ],
)
def test_what_is_to_be_fetched_stays_in_the_folder_too(archive, content, said):
    def change(members):
        members["mamba_mis/large_files.yml"] = content
        relist(members)

    rebuild(archive, change)
    (found,) = problems(archive)
    assert found.startswith("  large_files.yml") and said in found


def test_an_archive_without_weights_or_version_is_incomplete(archive):
    def change(members):
        del members["mamba_mis/models/model.pt"]
        members["mamba_mis/configs/metadata.json"] = b'{"version": "9.9.9", "changelog": {}}'
        relist(members)

    rebuild(archive, change)
    weights, version = problems(archive)
    assert weights == "  models/model.pt is missing"
    assert "version 9.9.9 is not in 'changelog'" in version
