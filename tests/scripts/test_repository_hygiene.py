"""Nothing in the repository depends on the machine it was made on, and all of it is Python 3.10."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest
import yaml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# Written in pieces, so that this file does not contain what it looks for.
MACHINE_PATHS = re.compile(
    r"(?<![\w.~}-])/(?:" + "|".join(["work", "root", "opt/dev", "opt/pypi", "opt/wheels"]) + r")/"
)
TEMPORARY = re.compile(r"(?<![\w.~}-])/" + "tmp/")
HOSTS = re.compile(
    "|".join([r"pypi\." + "org", "python" + r"hosted\.org", r"deb\." + r"debian\.org", "npm" + r"js\.org"])
)
PRIVATE_NOTES = re.compile("shared/" + "(?:design|papers|tools|hooks)")
LARGEST_BYTES = 25 * 2**20

NEWER_THAN_3_10 = {
    "datetime": {"UTC"},
    "enum": {"StrEnum", "verify", "member", "nonmember"},
    "contextlib": {"chdir"},
    "typing": {"Self", "Never", "LiteralString", "assert_never", "assert_type", "override", "reveal_type", "Unpack"},
    "itertools": {"batched"},
}


def text_of(path: Path) -> str | None:
    """The file as text, or None for binary files."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


@pytest.mark.parametrize(
    ("pattern", "also_in_tests"),
    [(MACHINE_PATHS, True), (HOSTS, True), (PRIVATE_NOTES, True), (TEMPORARY, False)],
    ids=["machine paths", "registry hosts", "private notes", "temporary folder"],
)
def test_no_file_names_the_machine_it_was_made_on(
    repository_root: Path, tracked_files: list[Path], pattern: re.Pattern[str], also_in_tests: bool
) -> None:
    offenders = []
    for path in tracked_files:
        name = path.relative_to(repository_root)
        if not also_in_tests and name.parts[0] == "tests":
            continue
        for number, line in enumerate((text_of(path) or "").splitlines(), start=1):
            if found := pattern.search(line):
                offenders.append(f"{name}:{number}: {found.group()}")
    assert not offenders, "\n".join(offenders)


def test_no_large_file(repository_root: Path, tracked_files: list[Path]) -> None:
    large = [str(path.relative_to(repository_root)) for path in tracked_files if path.stat().st_size > LARGEST_BYTES]
    assert not large


def test_every_python_file_is_python_3_10(repository_root: Path, tracked_files: list[Path]) -> None:
    offenders = []
    for path in tracked_files:
        if path.suffix != ".py":
            continue
        name = path.relative_to(repository_root)
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"), str(name), feature_version=(3, 10))
        except SyntaxError as error:
            offenders.append(f"{name}:{error.lineno}: {error.msg}")
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module in NEWER_THAN_3_10:
                newer = {alias.name for alias in node.names} & NEWER_THAN_3_10[node.module]
                offenders += [f"{name}:{node.lineno}: {node.module}.{found}" for found in sorted(newer)]
    assert not offenders, "\n".join(offenders)


def test_versions_agree(repository_root: Path) -> None:
    project = tomllib.loads((repository_root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((repository_root / "CITATION.cff").read_text(encoding="utf-8"))
    package = (repository_root / "medssm_monai" / "__init__.py").read_text(encoding="utf-8")
    changelog = (repository_root / "CHANGELOG.md").read_text(encoding="utf-8")
    assert citation["version"] == project["version"]
    assert f'__version__ = "{project["version"]}"' in package
    assert f"## [{project['version']}]" in changelog
    assert citation["license"] == project["license"]
