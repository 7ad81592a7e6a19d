"""Licenses of packages: how they are read, and that none reaches into the works of those who use this package."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from _licenses import NONE, STRONG, UNSTATED, WEAK, Package, copyleft, installed, report
from _venv import SetupError
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .test_constraints import PYTHONS, direct_dependencies, pins

USERS = ("dicom", "onnx", "viewer")
"""Extras of those who use the package; ``dev``, ``docs`` and ``release`` are tools of its makers."""
LOOKED_UP = {"huey", "skops"}
"""Their metadata state nothing; by the license file of each it is the MIT license."""


@pytest.mark.parametrize(
    ("stated", "kind"),
    [
        ("GPL-3.0-or-later", STRONG),
        ("AGPL-3.0-only", STRONG),
        ("GNU General Public License v3 (GPLv3), Other/Proprietary License", STRONG),
        ("GNU Affero General Public License v3", STRONG),
        ("GPLv2+", STRONG),
        ("MIT AND GPL-2.0-only", STRONG),
        ("(MIT OR GPL-2.0-only) AND AGPL-3.0-only", STRONG),
        ("GPL-2.0-only OR AGPL-3.0-only", STRONG),
        ("BSD-3-Clause AND GPL-3.0-or-later WITH GCC-exception-3.1", WEAK),
        ("LGPL-2.1-or-later", WEAK),
        ("GNU Lesser General Public License v3 (LGPLv3)", WEAK),
        ("GNU Library or Lesser General Public License (LGPL)", WEAK),
        ("Mozilla Public License 2.0 (MPL 2.0)", WEAK),
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", WEAK),
        ("GPL-2.0-only OR LGPL-3.0-only", WEAK),
        ("MIT OR GPL-3.0-only", NONE),
        ("(MIT OR GPL-3.0-only)", NONE),
        ("Apache-2.0 AND BSD-3-Clause", NONE),
        ("Python Software Foundation License", NONE),
    ],
)
def test_how_far_a_license_reaches(stated: str, kind: str) -> None:
    assert copyleft(stated) == kind


def test_what_a_package_states() -> None:
    classifiers = ("License :: OSI Approved", "License :: OSI Approved :: MIT License")
    assert Package("a", "1", "BSD-2-Clause", "GPL", classifiers).stated == "BSD-2-Clause"
    assert Package("a", "1", "", "GPL", classifiers).stated == "MIT License"
    assert Package("a", "1", "", "\n  Apache 2.0\nwith a long text").stated == "Apache 2.0"
    assert [Package("a", "1", "", field).copyleft for field in ("", "UNKNOWN", "GPLv3")] == [UNSTATED, UNSTATED, STRONG]


def test_the_report_begins_with_copyleft_and_names_the_files() -> None:
    files = ("a-1.dist-info/licenses/COPYING",)
    page = report([Package("a", "1", "MIT"), Package("b", "2", "GPL-3.0-only", files=files), Package("c", "3")])
    places = [
        page.index(text) for text in ("| b | 2 | `GPL-3.0-only` | licenses/COPYING |", "| c | 3 | - | - |", "| a |")
    ]
    assert places == sorted(places)
    assert page.count("None.") == 1 and "3 packages" in page


def test_an_environment_is_asked_for_all_its_packages() -> None:
    found = {canonicalize_name(one.name): one for one in installed(sys.executable)}
    assert found["numpy"].expression and found["numpy"].files
    assert len(found) > 100
    with pytest.raises(SetupError, match="cannot be asked"):
        installed("no-such-python")


def of_users(found: dict[str, Package], extras: tuple[str, ...], root: Path) -> Iterator[Package]:
    """The packages that a user's installation has; fails on one that is not in this environment."""
    waiting, seen = direct_dependencies(root, extras), set()
    while waiting:
        requirement = waiting.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        yield found[key[0]]
        for needed in map(Requirement, importlib.metadata.requires(key[0]) or ()):
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ("", *key[1])):
                waiting.append(needed)


@pytest.mark.parametrize(
    "extras", [("dicom",), pytest.param(USERS, marks=pytest.mark.integration)], ids=["default", "integration"]
)
def test_no_package_of_users_is_under_the_gpl(extras: tuple[str, ...], repository_root: Path) -> None:
    found = {canonicalize_name(one.name): one for one in installed(sys.executable)}
    packages = {canonicalize_name(one.name): one for one in of_users(found, extras, repository_root)}
    assert {"numpy", "torch", "highdicom"} <= packages.keys()
    assert {name: one.stated for name, one in packages.items() if one.copyleft == STRONG} == {}
    assert {name for name, one in packages.items() if one.copyleft == UNSTATED} <= LOOKED_UP


def test_the_decoder_under_the_gpl_is_for_tests_only(repository_root: Path) -> None:
    found = {canonicalize_name(one.name): one for one in installed(sys.executable)}
    assert found["pylibjpeg-libjpeg"].copyleft == STRONG  # what the test above would find
    asked = {canonicalize_name(one.name) for one in direct_dependencies(repository_root, (*USERS, "docs", "release"))}
    assert "pylibjpeg-libjpeg" not in asked
    assert all("pylibjpeg-libjpeg" in pins(repository_root, python) for python in PYTHONS)
    locks = [*(repository_root / "locks").glob("*.txt")]
    assert locks and not [path.name for path in locks if "pylibjpeg-libjpeg==" in path.read_text(encoding="utf-8")]
