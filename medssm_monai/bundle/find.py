"""Where a bundle lies: the one whose config is being run, one found by name, or one given as a folder."""

from __future__ import annotations

import ast
import difflib
import json
import logging
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from .callers import calling

__all__ = [
    "BUNDLES_VARIABLE",
    "bundle_config",
    "bundle_name",
    "bundle_places",
    "find_bundle",
    "find_bundle_root",
    "list_bundles",
    "running_bundles",
    "shipped_place",
]

logger = logging.getLogger(__name__)
BUNDLES_VARIABLE = "MEDSSM_BUNDLES"
"""Environment variable: one or more folders that hold bundles, separated as in ``PATH``."""
CHECKOUT = Path(__file__).resolve().parents[2]
INSTALLED = Path(__file__).resolve().parents[1] / "bundles"
"""Where a wheel has put the bundles; a source checkout has them in ``bundles/`` beside the package."""
SUFFIXES = (".yaml", ".yml", ".json")


def bundle_config(root: Path, name: str) -> Path | None:
    """``configs/<name>.yaml`` (or ``.yml``, ``.json``) of a bundle, or None."""
    return next((path for end in SUFFIXES if (path := root / "configs" / f"{name}{end}").is_file()), None)


def bundle_places() -> list[Path]:
    """Folders in which bundles are looked for by name; never the current one: what lies there may be anybody's."""
    named = [Path(entry).expanduser() for entry in os.environ.get(BUNDLES_VARIABLE, "").split(os.pathsep) if entry]
    return list(dict.fromkeys(place.absolute() for place in [*named, shipped_place()]))


def shipped_place() -> Path:
    """Folder of the bundles that came with the package."""
    return INSTALLED if INSTALLED.is_dir() else CHECKOUT / "bundles"


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
            of the environment variable ``MEDSSM_BUNDLES`` and among those that came with the package, not in the
            current folder: ``./NAME`` names a bundle there.

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
    known = f"found there: {', '.join(sorted(found))}." if found else "there is no bundle at all."
    raise FileNotFoundError(
        f"no bundle {text!r}{_meant(text, found)} in {', '.join(map(str, bundle_places()))}; {known} "
        f"Give a bundle's folder, or set {BUNDLES_VARIABLE} to the folder that holds it."
    )


def _meant(text: str, found: Iterable[str]) -> str:
    near = difflib.get_close_matches(text, found, 2)
    return f" (meant: {' or '.join(map(repr, near))}?)" if near else ""


def find_bundle_root(name: str, argv: Sequence[str] | None = None, cwd: str | Path | None = None) -> str:
    """Folder of the bundle ``name``, so that a config runs from any folder and by relative or absolute path.

    MONAI takes ``bundle_root`` from the config, where ``"."`` would mean the current folder. This helper is the value
    of ``bundle_root`` in the shipped configs; an explicit ``--bundle_root`` replaces it. It looks at, in this order:

    1. the folder of the config that the running MONAI workflow has read (hosts in Python);
    2. the parent of the ``configs`` folder of the (first) ``--config_file`` on the command line, or of the one that an
       ``--args_file`` names;
    3. where bundles are found by name (:func:`~medssm_monai.bundle.find_bundle`): the folders of ``MEDSSM_BUNDLES`` and
       those that came with the package.

    A folder counts when its ``configs/metadata.json`` carries this ``name``. The current folder is not looked at, since
    nobody has named it.

    Args:
        name: value of ``name`` in the bundle's ``configs/metadata.json``.
        argv: command line, default ``sys.argv[1:]``.
        cwd: folder from which relative names on the command line count, default that of the process.

    Returns:
        Absolute path.

    Raises:
        FileNotFoundError: when no place holds a bundle of that name; the message names ``--bundle_root``.
    """
    candidates = running_bundles(argv, cwd)
    for folder in candidates:
        if bundle_name(folder) == name:
            return str(folder)
    by_name = [folder for folder in list_bundles().values() if bundle_name(folder) == name]
    if by_name:
        logger.info("bundle_root: %s, found by the name %r (--bundle_root takes another one)", by_name[0], name)
        return str(by_name[0])
    looked = ", ".join(map(str, dict.fromkeys([*candidates, *bundle_places()])))
    raise FileNotFoundError(
        f"cannot tell where the bundle {name!r} lies: no configs/metadata.json with that name in {looked}. "
        "Pass its folder, --bundle_root PATH (in Python: bundle_root=PATH)."
    )


def running_bundles(argv: Sequence[str] | None = None, cwd: str | Path | None = None) -> list[Path]:
    """Folders of the bundles whose config is being run: that of the workflow in Python, that of the command line.

    Args:
        argv: command line, default ``sys.argv[1:]``.
        cwd: folder from which relative names on the command line count, default that of the process.
    """
    from monai.bundle import ConfigWorkflow  # only here, as below

    argv = sys.argv[1:] if argv is None else list(argv)
    cwd = Path.cwd() if cwd is None else Path(cwd)
    workflow, config = calling(ConfigWorkflow), _config_file(argv, cwd)
    found = [Path(workflow.config_root_path).resolve().parent] if workflow is not None else []
    return found + ([(cwd / config).resolve().parent.parent] if config is not None else [])


def bundle_name(folder: Path) -> str | None:
    """``name`` in a bundle's ``configs/metadata.json``, whatever its folder is called; None without one."""
    metadata = folder / "configs" / "metadata.json"
    if not metadata.is_file():
        return None
    return json.loads(metadata.read_text(encoding="utf8")).get("name")


def _option(argv: Sequence[str], option: str) -> str | None:
    for i, word in enumerate(argv):
        key, has_value, value = word.partition("=")
        if key.lstrip("-").replace("-", "_") == option and key.startswith("-"):
            if has_value:
                return value
            return argv[i + 1] if i + 1 < len(argv) else None
    return None


def _config_file(argv: Sequence[str], cwd: Path) -> str | None:
    value = _option(argv, "config_file")
    if value is None:
        args_file = _option(argv, "args_file")
        if args_file is None or not (cwd / args_file).is_file():
            return None
        from monai.bundle import ConfigParser  # only here, so that this package stays light for the scan

        value = ConfigParser.load_config_file(str(cwd / args_file)).get("config_file")
    if isinstance(value, str) and value.strip().startswith(("[", "(")):
        value = ast.literal_eval(value)
    if isinstance(value, (list, tuple)):
        value = value[0] if value else None
    return value.split(",")[0] if isinstance(value, str) else None
