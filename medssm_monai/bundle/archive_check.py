"""Whether an archive of a bundle is the one that was packed, and whether it is safe to unpack."""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from ..utils.files import file_sha256, require_file
from .archive import CHECKSUMS
from .contents import LARGE_FILES, LARGEST_FILE, LICENSE, MODELS, is_inner_name
from .version import METADATA, read_version
from .weights import WEIGHTS

__all__ = ["verify_archive"]

logger = logging.getLogger(__name__)
ENCRYPTED = 0x1  # flag of a member
MOST_FILES, LARGEST_LIST = 10_000, 2**20
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError)


def verify_archive(path: str | os.PathLike[str]) -> list[str]:
    """Check an archive of :func:`~medssm_monai.bundle.pack_bundle`; nothing is unpacked.

    The archive itself is compared with the ``.sha256`` file beside it, where there is one, and each file in it with
    ``checksums.sha256``. Sums show damage and mistakes; who changes an archive on purpose can change them as well.

    Returns:
        Names of the files, within the bundle's folder.

    Raises:
        FileNotFoundError: no such archive.
        ValueError: no whole zip file, a member that would be unpacked outside the bundle's folder, is a link, encrypted
            or there twice, files that differ, are missing or in no list; all of them are named.
    """
    archive = Path(require_file(path, "archive", "Give the .zip file that was packed."))
    problems = list(_unlike_its_sum(archive))
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
            unsafe = list(_unsafe(members))
            if not unsafe:
                root = members[0].filename.partition("/")[0]
                inside = {member.filename.partition("/")[2]: member for member in members if not member.is_dir()}
                problems += _differences(opened, inside)
                problems += _incomplete(opened, root, inside)
    except DAMAGED as error:
        problems.append(f"no whole zip file ({error})")
        unsafe = []
    if problems or unsafe:
        said = "".join(f"\n  {line}" for line in dict.fromkeys([*unsafe, *problems]))
        raise ValueError(f"{archive} is not to be used:{said}")
    return sorted(inside)


def _unlike_its_sum(archive: Path) -> Iterator[str]:
    beside = archive.with_name(f"{archive.name}.sha256")
    if not beside.is_file():
        logger.info("no %s beside it: the files are compared with the list inside alone", beside.name)
        return
    stated = beside.read_text(encoding="utf8", errors="replace")[:LARGEST_LIST].split()[:1]
    if stated != [file_sha256(archive)]:
        yield f"its SHA-256 is {file_sha256(archive)}, {beside.name} states {''.join(stated) or 'none'}"


def _unsafe(members: list[zipfile.ZipInfo]) -> Iterator[str]:
    """What keeps an archive from being read any further."""
    if not members:
        yield "it is empty"
    if len(members) > MOST_FILES:
        yield f"{len(members)} files, more than any bundle's {MOST_FILES}"
        return
    for name, count in Counter(member.orig_filename for member in members).items():
        if not is_inner_name(name.removesuffix("/")):
            yield f"{name[:80]!r} would be unpacked outside the bundle's folder"
        if count > 1:
            yield f"{name[:80]!r} is there {count} times"
    for member in members:
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            yield f"{member.filename[:80]!r} is neither file nor folder, but a link or a device"
        if member.flag_bits & ENCRYPTED:
            yield f"{member.filename[:80]!r} is encrypted"
    tops = sorted({member.filename.partition("/")[0] for member in members})
    flat = [member.filename for member in members if "/" not in member.filename]
    if len(tops) > 1 or flat:
        yield f"the files lie in {len(tops)} folders ({', '.join(map(repr, tops[:4]))}), expected is the bundle's alone"


def _differences(opened: zipfile.ZipFile, inside: dict[str, zipfile.ZipInfo]) -> Iterator[str]:
    """The files that are not those of the list inside."""
    if CHECKSUMS not in inside or inside[CHECKSUMS].file_size > LARGEST_LIST:
        yield f"{CHECKSUMS}, the list of its files, is missing; archives of other programs are not checked here"
        return
    try:
        lines = opened.read(inside[CHECKSUMS]).decode().splitlines()
    except (*DAMAGED, UnicodeDecodeError) as error:
        yield f"{CHECKSUMS} is damaged ({error})"
        return
    listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    for name in sorted(listed.keys() | inside.keys() - {CHECKSUMS}):
        if name not in inside:
            yield f"{name} is missing"
        elif name not in listed:
            yield f"{name} is not in {CHECKSUMS}"
        elif inside[name].file_size > LARGEST_FILE:
            yield f"{name} has more than the {LARGEST_FILE / 2**20:g} MiB of a file in the Model Zoo"
        else:
            try:
                same = hashlib.sha256(opened.read(inside[name])).hexdigest() == listed[name]
            except DAMAGED as error:
                yield f"{name} is damaged ({error})"
            else:
                if not same:
                    yield f"{name} differs from what was packed"


def _incomplete(opened: zipfile.ZipFile, root: str, inside: dict[str, zipfile.ZipInfo]) -> Iterator[str]:
    """What a bundle of the Model Zoo needs and this one lacks."""
    elsewhere: list[Any] = []
    if LARGE_FILES in inside and inside[LARGE_FILES].file_size <= LARGEST_LIST:
        try:
            elsewhere = list(yaml.safe_load(opened.read(inside[LARGE_FILES]))["large_files"])
            wrong = [entry for entry in elsewhere if not is_inner_name(entry["path"]) or not entry["url"]]
        except (*DAMAGED, yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
            yield f"{LARGE_FILES} cannot be read ({type(error).__name__})"
            return
        for entry in wrong:
            yield f"{LARGE_FILES}: {entry['path']!r} would be fetched to outside the bundle's folder, or from nowhere"
    there = {*inside, *(entry["path"] for entry in elsewhere)}
    for name in (LICENSE, f"{MODELS}/{WEIGHTS}"):
        if name not in there:
            yield f"{name} is missing"
    if METADATA in inside and inside[METADATA].file_size > LARGEST_LIST:
        yield f"{METADATA} is too large to be one"
        return
    try:
        read_version(zipfile.Path(opened, f"{root}/{METADATA}"))
    except (*DAMAGED, ValueError, KeyError) as error:
        yield str(error)
