"""Whether the weights that came with the package, with their settings and cards, are those that were published."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..utils.files import file_sha256, require_file
from .contents import MODELS, is_inner_name
from .find import shipped_place
from .weights import named_by_its_card

__all__ = ["SUMS", "verify_shipped"]

SUMS = "SHA256SUMS"
"""Beside the bundles: the SHA-256 of all files of their ``models/``, as ``sha256sum -c`` reads it in that folder."""
LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
REMEDY = "Install the package anew, or restore the folder from its repository."


def verify_shipped(place: str | os.PathLike[str] | None = None) -> list[str]:
    """Compare weights, settings and cards that came with the package with the list that came beside them.

    Loading compares weights with the settings beside them alone; here it shows when both were exchanged. Whoever can
    write to the package can change the list as well: compare the list itself with that of the release.

    Args:
        place: folder of the bundles; default that of the package.

    Returns:
        Names of the files, ``NAME/models/FILE``.

    Raises:
        FileNotFoundError: no list.
        ValueError: files that differ, are missing, or claim by their card to come with a bundle and are not listed; all
            of them are named. Also a list of another form.
    """
    root = shipped_place() if place is None else Path(place)
    listed = _listed(Path(require_file(root / SUMS, "the list of the files that came with the package", REMEDY)))
    problems = [f"{name} is missing" for name in listed if not (root / name).is_file()]
    problems += [
        f"{name} differs: its SHA-256 is {digest}, listed is {wanted}"
        for name, wanted in listed.items()
        if (root / name).is_file() and (digest := file_sha256(root / name)) != wanted
    ]
    problems += [
        f"{name} is not listed, although its card says that it comes with the bundle"
        for weights in sorted(root.glob(f"*/{MODELS}/*.pt"))
        if (name := weights.relative_to(root).as_posix()) not in listed and named_by_its_card(weights)
    ]
    if problems:
        said = "".join(f"\n  {line}" for line in problems)
        raise ValueError(f"the weights in {root} are not those that came with the package:{said}\n{REMEDY}")
    return sorted(listed)


def _listed(path: Path) -> dict[str, str]:
    """Names and sums of a list.

    Raises:
        ValueError: a line of another form, a name that leads elsewhere or stands twice, or no line at all.
    """
    listed: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf8", errors="replace").splitlines(), start=1):
        found = LINE.fullmatch(line)
        if found is None or not is_inner_name(found[2]) or found[2] in listed:
            raise ValueError(
                f"{path}, line {number}: no SHA-256 with the name of a file that stands there once. {REMEDY}"
            )
        listed[found[2]] = found[1]
    if not listed:
        raise ValueError(f"{path} is empty. {REMEDY}")
    return listed
