"""Where a bundle lies: found by name in a few documented places, or given as a folder."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["BUNDLES_VARIABLE", "bundle_config", "bundle_places", "find_bundle", "list_bundles"]

BUNDLES_VARIABLE = "MEDSSM_BUNDLES"
"""Environment variable: one or more folders that hold bundles, separated as in ``PATH``."""

CHECKOUT = Path(__file__).resolve().parents[2]
SUFFIXES = (".yaml", ".yml", ".json")


def bundle_config(root: Path, name: str) -> Path | None:
    """``configs/<name>.yaml`` (or ``.yml``, ``.json``) of a bundle, or None."""
    return next((path for end in SUFFIXES if (path := root / "configs" / f"{name}{end}").is_file()), None)


def bundle_places() -> list[Path]:
    """Folders in which bundles are looked for by name; never the current one: what lies there may be anybody's."""
    named = [Path(entry).expanduser() for entry in os.environ.get(BUNDLES_VARIABLE, "").split(os.pathsep) if entry]
    places = [*named, CHECKOUT / "bundles"]
    return list(dict.fromkeys(place.absolute() for place in places))


def list_bundles() -> dict[str, Path]:
    """Bundles that can be found by name, and their folders."""
    found: dict[str, Path] = {}
    for place in bundle_places():
        for folder in sorted(place.iterdir()) if place.is_dir() else ():
            if bundle_config(folder, "inference") is not None:
                found.setdefault(folder.name, folder)
    return found


def find_bundle(bundle: str | os.PathLike[str]) -> Path:
    """Absolute path of a bundle's folder.

    Args:
        bundle: the folder itself (a ``Path``, or text with a separator), or a name. A name is looked for in the folders
            of the environment variable ``MEDSSM_BUNDLES`` and in ``bundles/`` of the source checkout that this package
            runs from, not in the current folder: ``./NAME`` names a bundle there. (Installed wheels hold no bundles.)

    Raises:
        FileNotFoundError: no such bundle; the message says where it was looked for.
    """
    text = os.fspath(bundle)
    by_path = not isinstance(bundle, str) or any(mark in text for mark in ("/", os.sep, "~")) or text in ("", ".", "..")
    if by_path:
        root = Path(text).expanduser().absolute()
        if not text or bundle_config(root, "inference") is None:
            raise FileNotFoundError(
                f"{text!r} is no bundle: no configs/inference.yaml in {root}. Give a bundle's folder, or its name."
            )
        return root
    found = list_bundles()
    if text in found:
        return found[text]
    known = f"found there: {', '.join(sorted(found))}" if found else "there is no bundle at all"
    raise FileNotFoundError(
        f"no bundle {text!r} in {', '.join(map(str, bundle_places()))}; {known}. Installed packages hold no bundles: "
        f"give the bundle's folder, or set {BUNDLES_VARIABLE} to the folder that holds it."
    )
