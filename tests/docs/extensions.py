"""The extensions of the documentation site, which lie in no package."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]


def extension(name: str) -> ModuleType:
    """A module of ``docs/_ext``, or of ``docs`` itself."""
    for folder in (ROOT / "docs", ROOT / "docs" / "_ext"):
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
    return import_module(name)
