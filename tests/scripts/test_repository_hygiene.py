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

ROOT = Path(__file__).resolve().parents[2]
# Folders that differ from machine to machine; a single letter (``/home/u/``) is an example of one.
ABSOLUTE = re.compile(r"(?<![\w.~}-])/(?:root|work|opt|mnt|media|srv|(?:home|Users)/\w{2,})/")
HERE = re.compile("|".join(re.escape(f"{folder}/") for folder in (str(ROOT), str(Path.home())) if folder != "/"))
TEMPORARY = re.compile(r"(?<![\w.~}-])/(?:var/)?tmp/")
HOSTS = re.compile(r"\b(?:\w+\.)*(?:pypi|pythonhosted|debian|ubuntu|npmjs|anaconda|conda)\.(?:org|com|io)\b")
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
    [(ABSOLUTE, True), (HERE, True), (HOSTS, True), (TEMPORARY, False)],
    ids=["absolute paths", "this checkout and home", "registry hosts", "temporary folder"],
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


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (ABSOLUTE, "see /" + "home/somebody/data"),
        (ABSOLUTE, "'/" + "opt/images/x.png'"),
        (HERE, f"open('{ROOT}/README.md')"),
        (HOSTS, "https://" + "pypi." + "org/simple"),
        (HOSTS, "files." + "pythonhosted." + "org"),
        (TEMPORARY, "cd /" + "tmp/x"),
    ],
    ids=["home", "another root", "this checkout", "index", "its files", "temporary"],
)
def test_the_patterns_find_what_they_are_for(pattern: re.Pattern[str], text: str) -> None:
    assert pattern.search(text)


@pytest.mark.parametrize("text", ["/path/to/your/images", "bundles/x/work/y", "../opt/x", "conda-forge", "/home/u/x"])
def test_the_patterns_leave_examples_alone(text: str) -> None:
    assert not any(pattern.search(text) for pattern in (ABSOLUTE, HERE, HOSTS, TEMPORARY))


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
