"""Versions of what figures and files depend on."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

__all__ = ["package_versions"]

OURS = "medssm-monai"
OF_FIGURES = (OURS, "monai", "torch", "pytorch-ignite", "numpy", "scipy", "scikit-image", "scikit-learn")


def package_versions(packages: Sequence[str] = OF_FIGURES) -> dict[str, str]:
    """Versions of Python and of packages, by name; one that is not installed is left out.

    Args:
        packages: names as pip knows them; of a checkout that is not installed this package's own version counts.
    """
    versions = {"python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    if OURS in packages and OURS not in versions:
        versions[OURS] = sys.modules[__name__.partition(".")[0]].__version__
    return versions
