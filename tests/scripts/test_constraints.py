"""The constraints file: exact versions, a version of every dependency for every Python, and no build tag on torch."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import pytest
import yaml
from _venv import NOTE
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
TESTED_PYTHON = (3, 11)
TESTED_EXTRAS = ("conformal", "dev", "dicom", "docs", "onnx", "scale", "tune", "viewer")
PINNED_EXTRAS = (*TESTED_EXTRAS, "release")  # which is used from an environment of its own
INSTALLED_EXTRAS = [
    pytest.param(("dev",), id="default"),
    pytest.param(TESTED_EXTRAS, marks=pytest.mark.integration, id="integration"),
]
"""What ``scripts/run_tests.py`` installs for each of its two sets, checked in that set."""


def pins(root: Path, python: str, file: str = "constraints.txt") -> dict[str, Requirement]:
    """The constraints that hold on one Python version; fails on a package that is pinned twice there."""
    chosen: dict[str, Requirement] = {}
    for line in (root / file).read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"python_version": python}):
            name = canonicalize_name(requirement.name)
            assert name not in chosen, f"{name} is pinned twice for Python {python}"
            chosen[name] = requirement
    return chosen


def direct_dependencies(root: Path, extras: tuple[str, ...] = PINNED_EXTRAS) -> list[Requirement]:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = [text for extra in extras for text in project["optional-dependencies"][extra]]
    return [Requirement(text) for text in [*project["dependencies"], *optional]]


def pinned_version(requirement: Requirement) -> Version:
    (specifier,) = requirement.specifier
    assert specifier.operator == "==", f"{requirement} is not an exact pin"
    return Version(specifier.version)


@pytest.mark.parametrize("python", PYTHONS)
def test_every_pin_is_exact_and_every_dependency_has_one_that_fits(repository_root: Path, python: str) -> None:
    pinned = pins(repository_root, python)
    for requirement in pinned.values():
        assert pinned_version(requirement).local is None, f"{requirement} names one platform's build"
    for wanted in direct_dependencies(repository_root):
        version = pinned_version(pinned[canonicalize_name(wanted.name)])
        assert version in wanted.specifier, f"{wanted} does not allow the pinned {version}"


def test_the_hooks_run_the_pinned_ruff(repository_root: Path) -> None:
    config = yaml.safe_load((repository_root / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    revisions = {repo["repo"].rpartition("/")[2]: repo["rev"] for repo in config["repos"]}
    assert revisions["ruff-pre-commit"] == f"v{pinned_version(pins(repository_root, '3.11')['ruff'])}"
    assert all(revision[:1] == "v" and revision[1:2].isdigit() for revision in revisions.values())  # none floats


def test_numpy_is_old_enough_for_python_3_10(repository_root: Path) -> None:
    assert pinned_version(pins(repository_root, "3.10")["numpy"]) < Version("2.3")
    assert pinned_version(pins(repository_root, "3.11")["numpy"]) >= Version("2.3")


@pytest.mark.parametrize("extras", INSTALLED_EXTRAS)
@pytest.mark.skipif(
    sys.version_info[:2] != TESTED_PYTHON or not (Path(sys.prefix) / NOTE).is_file(),
    reason="only in an environment that the scripts made with Python 3.11, where the pins must be what is installed",
)
def test_what_runs_here_is_the_tested_set(repository_root: Path, extras: tuple[str, ...]) -> None:
    """Every package that the project needs, directly or not, is pinned, and the pinned version is the installed one."""
    pinned = pins(repository_root, "3.11")
    waiting = [*direct_dependencies(repository_root, extras)]
    seen: set[tuple[str, frozenset[str]]] = set()
    differences = []
    while waiting:
        requirement = waiting.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        if key[0] not in pinned:
            differences.append(f"{key[0]} is not pinned")
            continue
        try:
            distribution = importlib.metadata.distribution(key[0])
        except importlib.metadata.PackageNotFoundError:
            differences.append(f"{key[0]} is not installed")
            continue
        installed = Version(distribution.version)
        if installed.public != pinned_version(pinned[key[0]]).public:
            differences.append(f"{key[0]} is {installed}, pinned is {pinned[key[0]].specifier}")
        for text in distribution.requires or ():
            needed = Requirement(text)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ("", *key[1])):
                waiting.append(needed)
    assert not differences, "\n".join(sorted(differences))
