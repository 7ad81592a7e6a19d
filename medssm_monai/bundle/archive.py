"""A bundle as an archive of MONAI's Model Zoo: one zip file with everything in it, the same bytes every time."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import yaml

from ..utils.files import file_sha256, replace_file, writable_folder
from .contents import (
    LARGE_FILES,
    LARGEST_FILE,
    LICENSE,
    MODELS,
    bundle_files,
    is_inner_name,
    left_out,
    require_outside,
    weights_and_beside,
)
from .copies import REMEDY
from .find import find_bundle
from .packed_weights import require_described, require_usable
from .version import METADATA, read_version
from .weights import WEIGHTS, require_weights

__all__ = ["CHECKSUMS", "pack_bundle"]

logger = logging.getLogger(__name__)
CHECKSUMS = "checksums.sha256"
"""In an archive: the SHA-256 of every other file, as ``sha256sum -c`` reads it within the bundle's folder."""
NAME = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
TIME, MODE = (1980, 1, 1, 0, 0, 0), stat.S_IFREG | 0o644  # of every member; the earliest time that zip files know
UNIX = 3


def pack_bundle(
    bundle: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    *,
    ckpt_path: str | os.PathLike[str] | None = None,
    url: str | None = None,
) -> Path:
    """Write ``NAME_vVERSION.zip`` and, for ``sha256sum -c``, ``NAME_vVERSION.zip.sha256``; the bundle stays as it is.

    The archive holds one folder ``NAME`` with what belongs to the bundle (:func:`~.contents.bundle_files`) and the
    SHA-256 of each file, ``checksums.sha256``. The same files give the same bytes (by one version of zlib, which
    compresses them). Weights are packed once the bundle's own inference config has loaded them; weights without a model
    card are packed with a warning.

    Args:
        bundle: a folder or a name, as :func:`~medssm_monai.bundle.find_bundle` takes it. Its folder's name is ``NAME``.
        output_dir: where the archive goes; created where it is missing.
        ckpt_path: weights to pack as ``models/model.pt``, with their settings and their card (``.json`` and ``.md``
            beside them), instead of those in the bundle; default those.
        url: where files of more than 25 MiB, which the Model Zoo does not take, are going to lie: ``models/model.pt``
            as ``URL/models/model.pt``. They are named in ``large_files.yml`` then, and not inside.

    Returns:
        The archive.

    Raises:
        FileNotFoundError: no such bundle or weights, or a file is missing that the Model Zoo asks for.
        FileExistsError: an archive of that name with another content; a version is packed once.
        ValueError: a version that is not in the changelog, weights that are not flat, are another network's, or do not
            belong to the settings, card or metadata beside them; a large file without ``url``; ``output_dir`` in the
            bundle.
        PermissionError: ``output_dir`` cannot be written to.
    """
    root, folder = Path(os.path.abspath(find_bundle(bundle))), Path(output_dir).expanduser()
    require_outside(root, folder)
    target = folder / f"{_name(root)}_v{read_version(root / METADATA)}.zip"
    files = _files(root, ckpt_path)
    sums = {name: file_sha256(source) for name, source in files.items()}
    for weights in (path for name, path in files.items() if name.startswith(MODELS) and path.suffix == ".pt"):
        require_usable(root, weights)
    require_described(root, files[f"{MODELS}/{WEIGHTS}"])

    large = {name: path for name, path in files.items() if path.stat().st_size > LARGEST_FILE}
    inside: dict[str, bytes | Path] = {name: path for name, path in files.items() if name not in large}
    if large:
        listed = _listed(large, sums, url)
        inside[LARGE_FILES], sums[LARGE_FILES] = listed, hashlib.sha256(listed).hexdigest()
    inside[CHECKSUMS] = _lines({name: sums[name] for name in inside})
    writable_folder(folder, remedy=REMEDY)
    _write(target, root.name, inside, sums)
    others = left_out(root, files)
    if others:
        logger.info("left out, as no part of the bundle: %s", ", ".join(others))
    return target


def _name(root: Path) -> str:
    if not NAME.fullmatch(root.name):
        raise ValueError(
            f"{root}: the archive is called as the folder is, and {root.name!r} is no name for one. Rename the folder: "
            "letters, digits, '_', '-' and '.'."
        )
    return root.name


def _files(root: Path, ckpt_path: str | os.PathLike[str] | None) -> dict[str, Path]:
    """What is packed, by names in the archive; ``large_files.yml`` is written anew.

    Raises:
        FileNotFoundError: the weights, or a file that the Model Zoo asks for, are missing.
        ValueError: a name that not every system can unpack.
    """
    files = bundle_files(root)
    listed = files.pop(LARGE_FILES, None)
    if ckpt_path is not None:
        files = {name: path for name, path in files.items() if not name.startswith(f"{MODELS}/")}
        own = weights_and_beside(Path(require_weights(ckpt_path, "weights to pack", "Name a model.pt of a training.")))
        files |= {f"{MODELS}/{Path(WEIGHTS).with_suffix(path.suffix)}": path for path in own}
    missing = [name for name in (METADATA, LICENSE, f"{MODELS}/{WEIGHTS}") if name not in files]
    if missing:
        remedy = f"fetch it (python -m monai.bundle download_large_files --bundle_path {root})" if listed else "train"
        hint = f" For weights {remedy}, or name yours with --ckpt_path FILE." if missing[-1].endswith(WEIGHTS) else ""
        raise FileNotFoundError(f"{root} lacks {', '.join(missing)}, which the Model Zoo asks for.{hint}")
    odd = [name for name in files if not is_inner_name(name)]
    if odd:
        raise ValueError(f"{root}: not every system can unpack {', '.join(map(repr, odd))}. Rename it.")
    return files


def _listed(large: Mapping[str, Path], sums: Mapping[str, str], url: str | None) -> bytes:
    """``large_files.yml`` of the Model Zoo.

    Raises:
        ValueError: no ``url``.
    """
    if url is None or not re.match(r"[a-z][\w+.-]*://.", url):
        sizes = ", ".join(f"{name} ({path.stat().st_size / 2**20:.1f} MiB)" for name, path in large.items())
        raise ValueError(
            f"{sizes}: more than the {LARGEST_FILE / 2**20:g} MiB that a file in the Model Zoo may have. Name the "
            f"folder on the web where it is going to lie, --url https://HOST/FOLDER (got {url!r}); or halve weights: "
            "python -m medssm_monai.experiments.pack_weights FILE SMALLER"
        )
    entries = [
        {"path": name, "url": f"{url.rstrip('/')}/{quote(name)}", "hash_val": sums[name], "hash_type": "sha256"}
        for name in large
    ]
    for entry in entries:
        logger.warning("not in the archive: put %s where %s finds it", large[entry["path"]], entry["url"])
    return yaml.safe_dump({"large_files": entries}, sort_keys=False).encode()


def _lines(sums: Mapping[str, str]) -> bytes:
    """SHA-256 and names as ``sha256sum -c`` reads them."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())).encode()


def _write(target: Path, name: str, inside: Mapping[str, bytes | Path], sums: Mapping[str, str]) -> None:
    """The archive and its sum, each whole or not there.

    Raises:
        FileExistsError: another content under that name.
        ValueError: a file that has changed since it was looked at.
    """
    with replace_file(target) as part, replace_file(target.with_name(f"{target.name}.sha256")) as line:
        with zipfile.ZipFile(part, "w") as archive:
            for inner, source in sorted(inside.items()):
                content = source.read_bytes() if isinstance(source, Path) else source
                if inner in sums and hashlib.sha256(content).hexdigest() != sums[inner]:
                    raise ValueError(f"{inner} of {name} changed while it was packed; nothing was written. Pack again.")
                member = zipfile.ZipInfo(f"{name}/{inner}", TIME)
                member.create_system, member.external_attr = UNIX, MODE << 16
                archive.writestr(member, content, zipfile.ZIP_DEFLATED, 9)
        digest = file_sha256(part)
        if target.is_file() and file_sha256(target) != digest:
            raise FileExistsError(
                f"{target} is there with another content, and a version is packed once. Raise 'version' in {METADATA} "
                "and say in 'changelog' what is new, or move the earlier archive away."
            )
        line.write_bytes(_lines({target.name: digest}))
