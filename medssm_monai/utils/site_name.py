"""A run name of its own for each site of a federation, whoever else writes into the same folder."""

from __future__ import annotations

import itertools
import logging
import os
import threading
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from .callers import calling, in_federation
from .folders import writable_folder

__all__ = ["site_run_name"]

logger = logging.getLogger(__name__)

_given: WeakKeyDictionary[Any, dict[Path, str]] = WeakKeyDictionary()  # by the workflow's parser, then by folder
_guard = threading.Lock()


def site_run_name(
    output_dir: str | os.PathLike[str],
    run_name: str,
    resume_from: str | os.PathLike[str] | None = None,
    prefix: str = "",
) -> str:
    """The name under which a run is kept: the one asked for, but in a federation never that of another run.

    MONAI's federated client (``monai.fl.client``) names runs after the site and the second, sites without a name all
    alike, and simulators let several sites, as processes or as threads, write into one folder. For a config that such
    a client initializes the name is ``NAME``, ``NAME_2``, ``NAME_3``, …, the first that has no folder yet; the folder
    is made here, in one step, so that of two sites only one can get it. A workflow that is initialized again, as that
    client does, keeps its name.

    Elsewhere the name is taken as it is (:func:`~.run_claim.claim_run` refuses a folder in which a training is
    running), and so it is for a training to be resumed, and in all processes but the first of a training on several.

    Args:
        output_dir: folder of all runs.
        run_name: the name asked for.
        resume_from: a checkpoint or a run's folder, or None.
        prefix: put before the name that a federated client asks for: it gives the same one to a site's training and
            to its evaluation.

    Raises:
        PermissionError: ``output_dir`` cannot be written to.
    """
    if not in_federation() or resume_from is not None or os.environ.get("RANK", "0") != "0":
        return run_name
    from monai.bundle import ConfigParser  # only here, so that this package stays light for the scan

    wanted = Path(output_dir, f"{prefix}{run_name}").absolute()
    with _guard:
        names = _given.setdefault(calling(ConfigParser) or threading.current_thread(), {})
        if wanted not in names:
            names[wanted] = _ending_of_a_new_folder(wanted)
        return f"{prefix}{run_name}{names[wanted]}"


def _ending_of_a_new_folder(wanted: Path) -> str:
    writable_folder(wanted.parent)
    for ending in itertools.chain([""], (f"_{count}" for count in itertools.count(2))):
        folder = wanted.with_name(f"{wanted.name}{ending}")
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            continue
        break
    if ending:
        logger.warning("another run is named %s already; this site's is %s", wanted.name, folder.name)
    return ending
