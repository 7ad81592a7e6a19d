"""The environment of FLARE: what is installed into it."""

from __future__ import annotations

import sys
from pathlib import Path

import federated_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .test_constraints import PYTHONS, pinned_version, pins

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE = "constraints-federated.txt"


def test_pins_are_exact_fit_the_extra_and_repeat_no_other(repository_root: Path) -> None:
    project = tomllib.loads((repository_root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for python in PYTHONS:
        own = pins(repository_root, python, FILE)
        assert not own.keys() & pins(repository_root, python).keys()
        assert all(pinned_version(requirement).local is None for requirement in own.values())
        for text in project["optional-dependencies"]["federated"]:
            wanted = Requirement(text)
            assert pinned_version(own[canonicalize_name(wanted.name)]) in wanted.specifier


def test_the_bridge_is_pinned_and_no_part_of_the_extra(repository_root: Path) -> None:
    name = Requirement(federated_environment.bridge()).name
    assert name in pins(repository_root, "3.11", FILE)
    project = tomllib.loads((repository_root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert name not in {Requirement(text).name for text in project["optional-dependencies"]["federated"]}
