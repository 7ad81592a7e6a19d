"""The environment of the MONAI Label app: what is installed into it."""

from __future__ import annotations

import sys
from pathlib import Path

import label_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def pinned(root: Path) -> dict[str, Version]:
    found = {}
    for line in (root / "constraints-label.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            name, _, version = line.partition("==")
            assert canonicalize_name(name) not in found, f"{name} is pinned twice"
            found[canonicalize_name(name)] = Version(version)
    return found


def test_pins_are_exact_and_name_no_platforms_build(repository_root: Path) -> None:
    assert all(version.local is None for version in pinned(repository_root).values())


def test_pins_are_what_the_project_and_its_label_extra_want(repository_root: Path) -> None:
    project = tomllib.loads((repository_root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    versions = pinned(repository_root)
    for text in [*project["dependencies"], *project["optional-dependencies"]["label"]]:
        wanted = Requirement(text)
        assert versions[canonicalize_name(wanted.name)] in wanted.specifier, text


def test_what_only_sam_2_needs_is_left_out(repository_root: Path) -> None:
    names = {canonicalize_name(line.partition("==")[0]) for line in label_environment.pins()}
    assert set(pinned(repository_root)) - names == {canonicalize_name(name) for name in label_environment.SAM2}
