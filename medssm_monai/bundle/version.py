"""The version that a bundle's metadata name."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

__all__ = ["METADATA", "read_version"]

METADATA = "configs/metadata.json"
VERSION = re.compile(r"\d[\w.+-]*", re.ASCII)


def read_version(metadata: Path | zipfile.Path) -> str:
    """The version that ``configs/metadata.json`` names.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no JSON object, no version, or one that the changelog does not have.
    """
    if not metadata.is_file():
        raise FileNotFoundError(f"{metadata} is missing: it names the bundle's version.")
    try:
        content = json.loads(metadata.read_text(encoding="utf8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{metadata} is no JSON ({error}).") from error
    version = content.get("version") if isinstance(content, dict) else None
    if not isinstance(version, str) or not VERSION.fullmatch(version):
        raise ValueError(f"{metadata}: 'version' must be a text such as '0.1.0', got {version!r}.")
    changelog = content.get("changelog")
    if not isinstance(changelog, dict) or version not in changelog:
        known = ", ".join(changelog) if isinstance(changelog, dict) and changelog else "none"
        raise ValueError(
            f"{metadata}: version {version} is not in 'changelog' (there: {known}). Write there, under the key "
            f"{version!r}, what is new in it."
        )
    return version
