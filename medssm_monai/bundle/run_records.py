"""Which run a command began: a record in the run's folder, by which the same command finds it again."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..utils.files import replace_file
from ..utils.text_files import write_text
from .callers import calling, in_federation

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

__all__ = ["newest_run", "note_run"]

logger = logging.getLogger(__name__)
RECORD = ".run.json"
MAY_CHANGE = (
    *("imports", "initialize", "run", "finalize", "training", "_meta_*", "*::_meta_*"),
    *("bundle_root", "work_dir", "output_dir", "ckpt_dir", "run_name", "kept_name", "run_dir", "resume", "resume_from"),
    *("max_epochs", "patience", "device", "verbose", "is_not_rank0", "cache_rate", "fingerprint_data"),
    *("*::num_workers", "tracker::pictures"),
)
"""Settings that may change from one start of a run to the next: where it lies, how long it lasts, what it costs."""
SHOWN = 5


def note_run(run_dir: str | os.PathLike[str], parser: ConfigParser | None = None) -> None:
    """Leave a record of the config in a run's folder, for :func:`newest_run`; bundle configs call it in ``initialize``.

    The record, ``.run.json``, holds when the run was last started, and for each key of the config a digest of what it
    was set to, no value. Nothing is recorded for MONAI's federated client, whose server says what goes on.

    Args:
        run_dir: the folder, which exists.
        parser: of the config, overrides applied; None takes the one that evaluates the calling expression.

    Raises:
        RuntimeError: no ``parser`` given, and not called by an expression of a config.
    """
    if in_federation():
        return
    record = {"started": time.time(), "settings": _digests(_parser(parser))}
    with replace_file(Path(run_dir) / RECORD) as temporary:
        write_text(temporary, json.dumps(record) + "\n")


def newest_run(output_dir: str | os.PathLike[str], parser: ConfigParser | None = None) -> Path | None:
    """Folder of the newest run below ``output_dir`` that was begun with the settings of this config, finished or not.

    Runs of other settings are passed over, so that several trainings may share one output folder; settings that may
    change from start to start (``MAY_CHANGE``), such as the number of workers, are not compared. The log says which run
    was found, and where none was what the newest of the others differs in.

    Args:
        output_dir: folder of all runs.
        parser: as :func:`note_run` takes it.

    Raises:
        RuntimeError: no ``parser`` given, and not called by an expression of a config.
    """
    wanted, folder = _digests(_parser(parser)), Path(output_dir)
    found = sorted(_records(folder), key=lambda pair: pair[1]["started"], reverse=True)
    for run, record in found:
        if record["settings"] == wanted:
            logger.info("--resume: goes on with the run %s", run.name)
            return run
    if not found:
        logger.info("--resume: %s holds no run to go on with; a new one begins", folder)
        return None
    run, record = found[0]
    keys = _differences(record["settings"], wanted)
    logger.warning(
        "--resume: %s holds no run of these settings; a new one begins. Its newest, %s, has other values of %s; "
        "--run_name %s goes on with it all the same",
        folder,
        run.name,
        f"{', '.join(keys[:SHOWN])}{f' and {len(keys) - SHOWN} more' if len(keys) > SHOWN else ''}",
        run.name,
    )
    return None


def _parser(given: ConfigParser | None) -> ConfigParser:
    from monai.bundle import ConfigParser  # only here, so that this package stays light for the scan

    parser = calling(ConfigParser) if given is None else given
    if parser is None:
        raise RuntimeError("records of runs are for configs; give the parser where no expression of one calls.")
    return parser


def _records(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted(folder.glob(f"*/{RECORD}")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            record["started"] + 0.0, record["settings"].items()
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            logger.warning("%s is no record of a run (%s) and is left out", path, error)
        else:
            yield path.parent, record


def _digests(parser: ConfigParser) -> dict[str, str]:
    """Key of the config -> digest of what it is set to, without what may change."""
    return {key: _digest(value) for key, value in _lasting(parser.get())}


def _lasting(content: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if (kept := _without_changing(value, str(key))) is not None:
            yield str(key), kept


def _without_changing(value: Any, name: str) -> Any:
    """A value without the entries that may change; None where nothing of it is left to compare."""
    if any(fnmatchcase(name, pattern) for pattern in MAY_CHANGE):
        return None
    if isinstance(value, Mapping):
        return {str(key): _without_changing(entry, f"{name}::{key}") for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_changing(entry, f"{name}::{number}") for number, entry in enumerate(value)]
    return repr(value)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _differences(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    return [key for key in {**one, **other} if one.get(key) != other.get(key)]
