"""The weights of a finished training take the place where inference looks for them."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from ..utils.files import file_sha256, keep_previous, remove_parts, replace_file, writable_folder
from .runs import release_run
from .settings import TRAINED_ON, WEIGHTS_SHA256, saved_settings, settings_file
from .weights import WEIGHTS

__all__ = ["publish_weights"]

logger = logging.getLogger(__name__)
LOCK, DONE = ".publish.lock", ".published"
TASK = {
    TRAINED_ON: "trained on",
    "class_names": "classes",
    "spatial_dims": "dimensions",
    "in_channels": "channels",
    "sources": "sources",
    "channels": "channels of the sources",
}
"""Settings in which weights for something else differ, and what they are called."""


def publish_weights(run_dir: str | os.PathLike[str], ckpt_dir: str | os.PathLike[str]) -> Path | None:
    """Copy ``model.pt`` and ``model.json`` of a run that has ended well to ``ckpt_dir``, as one pair.

    Called after the training, so that whatever fails or is interrupted before leaves ``ckpt_dir`` as it is. The earlier
    pair is kept there as ``model_<time of the weights' last change>.pt`` and ``.json``; at no moment is there no
    ``model.pt``. Two trainings that end together publish one after the other. Links in ``ckpt_dir`` are replaced, not
    followed. One line of the log says what was published and what was kept; it is a warning when the earlier weights
    were for something else: other data, classes, dimensions or channels.

    Nothing happens when the run has no weights, when the same pair lies there already, or when this run has published
    these weights before (a finished training that was resumed).

    Args:
        run_dir: folder of the run; the claim that its training has on it ends here.
        ckpt_dir: a bundle's ``models/trained/``, created where it is missing.

    Returns:
        The published file, or None when the run has no weights.

    Raises:
        ValueError: the run's weights have no settings, or those of other weights; nothing has changed then.
        PermissionError: ``ckpt_dir`` cannot be written to.
    """
    try:
        return _publish(Path(run_dir), Path(ckpt_dir))
    finally:
        release_run(run_dir)


def _publish(run: Path, folder: Path) -> Path | None:
    source, target = run / WEIGHTS, folder / WEIGHTS
    if not source.is_file():
        logger.warning("%s holds no weights, as no validation gave any: %s stays as it is", run, folder)
        return None
    settings = saved_settings(source)
    if settings is None:
        raise ValueError(f"{source} has no settings {settings_file(source).name} beside it and is not published.")
    digest = file_sha256(source)
    if settings.setdefault(WEIGHTS_SHA256, digest) != digest:
        raise ValueError(
            f"{source} and {settings_file(source).name} do not belong together (SHA-256 {digest[:12]}…, named is "
            f"{str(settings[WEIGHTS_SHA256])[:12]}…); {folder} stays as it is."
        )
    writable_folder(folder)
    mark = json.dumps({"weights": digest, "folder": os.fspath(folder.absolute())})
    with FileLock(folder / LOCK):
        for name in (WEIGHTS, settings_file(target).name):
            remove_parts(folder, name)
        if target.is_file() and _text(run / DONE) == mark:
            logger.info("%s: nothing new since its weights were published; %s stays as it is", run, folder)
            return target
        if _is_pair(target, digest, settings):
            logger.info("%s lie already in %s", source, folder)
        else:
            _replace(source, target, settings)
    (run / DONE).unlink(missing_ok=True)
    (run / DONE).write_text(mark, encoding="utf8")
    return target


def _replace(source: Path, target: Path, settings: Mapping[str, Any]) -> None:
    earlier = _earlier(target)
    with replace_file(target) as weights, replace_file(settings_file(target)) as beside:
        shutil.copyfile(source, weights)
        if file_sha256(weights) != settings[WEIGHTS_SHA256]:
            raise ValueError(f"{source} changed while it was copied; {target.parent} stays as it is.")
        beside.write_text(json.dumps(dict(settings), indent=2) + "\n", encoding="utf8")
        interrupted = dict(earlier) == dict(settings)  # between the two: the pair from before has its dated name
        kept = [] if interrupted else keep_previous(target, settings_file(target), move=False)
    trained = f"trained on {settings[TRAINED_ON]}" if settings.get(TRAINED_ON) else "training data not recorded"
    published = f"published {source} as {target} ({trained})"
    if not kept:
        logger.info("%s", published)
        return
    names = " and ".join(path.name for path in kept)
    others = _differences(earlier, settings)
    if others:
        logger.warning(
            "%s. The earlier weights were for something else (%s). They are kept as %s: use them with --ckpt_path %s, "
            "or copy both over %s and %s",
            *(published, "; ".join(others), names, kept[0], target.name, settings_file(target).name),
        )
    else:
        logger.info("%s; the earlier ones are kept as %s", published, names)


def _earlier(target: Path) -> Mapping[str, Any]:
    try:
        return saved_settings(target) or {}
    except ValueError:  # kept as it is, whatever it is
        return {}


def _is_pair(target: Path, digest: str, settings: Mapping[str, Any]) -> bool:
    return target.is_file() and file_sha256(target) == digest and dict(_earlier(target)) == dict(settings)


def _differences(earlier: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """In words, where two settings are of different tasks; a key that one of them lacks says nothing."""
    both = [key for key in TASK if earlier.get(key) is not None and settings.get(key) is not None]
    return [f"{TASK[key]} {earlier[key]}, now {settings[key]}" for key in both if earlier[key] != settings[key]]


def _text(path: Path) -> str:
    return path.read_text(encoding="utf8") if path.is_file() else ""
