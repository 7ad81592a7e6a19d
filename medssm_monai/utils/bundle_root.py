"""Find the folder of the bundle whose config is being run."""

from __future__ import annotations

import ast
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from .bundles import bundle_places, list_bundles
from .callers import calling

__all__ = ["find_bundle_root"]

logger = logging.getLogger(__name__)


def find_bundle_root(name: str, argv: Sequence[str] | None = None, cwd: str | Path | None = None) -> str:
    """Folder of the bundle ``name``, so that a config runs from any folder and by relative or absolute path.

    MONAI takes ``bundle_root`` from the config, where ``"."`` would mean the current folder. This helper is the value
    of ``bundle_root`` in the shipped configs; an explicit ``--bundle_root`` replaces it. It looks at, in this order:

    1. the folder of the config that the running MONAI workflow has read (hosts in Python);
    2. the parent of the ``configs`` folder of the (first) ``--config_file`` on the command line, or of the one that an
       ``--args_file`` names;
    3. where bundles are found by name (:func:`~medssm_monai.utils.find_bundle`): the folders of ``MEDSSM_BUNDLES`` and
       ``bundles/`` of the source checkout.

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
    from monai.bundle import ConfigWorkflow  # only here, as below

    argv = sys.argv[1:] if argv is None else list(argv)
    cwd = Path.cwd() if cwd is None else Path(cwd)
    workflow, config = calling(ConfigWorkflow), _config_file(argv, cwd)
    candidates = [Path(workflow.config_root_path).resolve().parent] if workflow is not None else []
    candidates += [(cwd / config).resolve().parent.parent] if config is not None else []
    for folder in candidates:
        if _bundle_name(folder) == name:
            return str(folder)
    by_name = [folder for folder in list_bundles().values() if _bundle_name(folder) == name]
    if by_name:
        logger.info("bundle_root: %s, found by the name %r (--bundle_root takes another one)", by_name[0], name)
        return str(by_name[0])
    looked = ", ".join(map(str, dict.fromkeys([*candidates, *bundle_places()])))
    raise FileNotFoundError(
        f"cannot tell where the bundle {name!r} lies: no configs/metadata.json with that name in {looked}. "
        "Pass its folder, --bundle_root PATH (in Python: bundle_root=PATH)."
    )


def _bundle_name(folder: Path) -> str | None:
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
