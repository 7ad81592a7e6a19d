"""Under which licenses installed packages stand, by what their own metadata state; standard library only."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

from _venv import SetupError

STRONG, WEAK, NONE = "strong", "weak", "none"
UNSTATED = "unstated"
ASK = """
import importlib.metadata, json
found = {}
for one in importlib.metadata.distributions():
    name = one.metadata["Name"]
    if name and name.lower() not in found:  # the first on the path is the one that is imported
        files = [str(file) for file in one.files or () if file.parts[0].endswith((".dist-info", ".egg-info"))]
        wanted = ("licen", "copying", "notice", "authors")
        found[name.lower()] = {
            "name": name,
            "version": one.version,
            "expression": one.metadata.get("License-Expression") or "",
            "field": one.metadata.get("License") or "",
            "classifiers": [text for text in one.metadata.get_all("Classifier") or [] if text.startswith("License ::")],
            "files": sorted(file for file in files if any(word in file.lower().split("/", 1)[-1] for word in wanted)),
        }
print(json.dumps(sorted(found.values(), key=lambda one: one["name"].lower())))
"""
LONGEST = 80
EXCEPTION = re.compile(r"\bA?GPL-[\d.]+(?:-only|-or-later|\+)?\s+WITH\s+[\w.-]+", re.IGNORECASE)
WEAK_ONES = re.compile(
    r"\b(?:LGPL|MPL|EPL|CDDL|EUPL|CC-BY-SA|OSL)|lesser general public|library or lesser|mozilla public|eclipse public",
    re.IGNORECASE,
)
STRONG_ONES = re.compile(r"\bA?GPL(?!\w)|\bA?GPLv?\d|(?<!lesser )(?<!library )\bgeneral public licen", re.IGNORECASE)


@dataclass(frozen=True)
class Package:
    """An installed package and what it says of its license; ``files`` are those of its ``.dist-info``."""

    name: str
    version: str
    expression: str = ""
    field: str = ""
    classifiers: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    @property
    def stated(self) -> str:
        """The SPDX expression; without one the classifiers, then the first line of the field ``License``."""
        if self.expression:
            return self.expression
        names = [text.rpartition(" :: ")[2] for text in self.classifiers]
        if said := [name for name in names if name not in ("License", "OSI Approved")]:
            return ", ".join(said)
        lines = [line.strip() for line in self.field.splitlines() if line.strip()]
        return lines[0][:LONGEST] if lines and lines[0].upper() != "UNKNOWN" else ""

    @property
    def copyleft(self) -> str:
        """``STRONG``, ``WEAK`` or ``NONE`` by what is stated; ``UNSTATED`` without anything."""
        return copyleft(self.stated) if self.stated else UNSTATED


def copyleft(stated: str) -> str:
    """How far a license reaches: ``STRONG`` for GPL and AGPL, ``WEAK`` for those that hold for a file or a library
    (LGPL, MPL, EPL) and for the GPL with an exception, as GCC's libraries have it, else ``NONE``.

    Of licenses to choose from (``A OR B``) the mildest counts; an expression that mixes ``OR`` with ``AND`` is taken
    whole.
    """
    bare = stated.strip().removeprefix("(").removesuffix(")")
    parts = re.split(r"\s+OR\s+", bare)
    if len(parts) > 1 and not re.search(r"[()]|\sAND\s", bare):
        return min(map(copyleft, parts), key=(NONE, WEAK, STRONG).index)
    rest = EXCEPTION.sub("", stated)
    if STRONG_ONES.search(rest):
        return STRONG
    return WEAK if WEAK_ONES.search(rest) or rest != stated else NONE


def installed(python: str) -> list[Package]:
    """The packages of an interpreter's environment, by name.

    Raises:
        SetupError: it cannot be asked.
    """
    try:
        done = subprocess.run([python, "-c", ASK], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", "").strip() or error
        raise SetupError(
            f"{python} cannot be asked for its packages: {reason}. Name a Python: --python=PATH"
        ) from error
    return [
        Package(**{key: tuple(value) if isinstance(value, list) else value for key, value in found.items()})
        for found in json.loads(done.stdout)
    ]


HEADINGS = {
    STRONG: "GPL or AGPL: whoever passes them on, or a work with them, passes that on under the same license",
    WEAK: "Copyleft of a file or a library (LGPL, MPL and the like), or GPL with an exception",
    UNSTATED: "Nothing stated in the metadata: to be looked up",
    NONE: "All others",
}


def report(packages: Iterable[Package]) -> str:
    """The packages as a page in Markdown, those with copyleft first."""
    listed = list(packages)
    lines = [
        "# Licenses of the installed packages",
        "",
        f"{len(listed)} packages, as their metadata state it: an SPDX expression in `code`, else their own words. "
        "What a wheel has of other projects' libraries is in its license files.",
    ]
    for kind, heading in HEADINGS.items():
        of_kind = [one for one in listed if one.copyleft == kind]
        lines += ["", f"## {heading}", ""]
        if not of_kind:
            lines.append("None.")
            continue
        lines += ["| package | version | license | files |", "|---|---|---|---|"]
        for one in of_kind:
            said = f"`{one.expression}`" if one.expression else one.stated.replace("|", "/") or "-"
            files = ", ".join(file.split("/", 1)[-1] for file in one.files) or "-"
            lines.append(f"| {one.name} | {one.version} | {said} | {files} |")
    return "\n".join([*lines, ""])
