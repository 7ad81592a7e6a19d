"""The settings a checkpoint was trained with, kept beside it, so that inference cannot use others by mistake."""

from __future__ import annotations

import difflib
import json
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ..utils.files import file_sha256, replace_file
from .callers import in_federation
from .find import running_bundles
from .settings_schema import RESTORE, check_settings

__all__ = [
    "CONFORMAL",
    "DOMAIN",
    "HELD_OUT",
    "RESERVED",
    "TEACHER",
    "TRAINED_ON",
    "WEIGHTS_SHA256",
    "read_conformal",
    "read_domain",
    "read_held_out",
    "read_model_settings",
    "saved_settings",
    "settings_file",
    "update_model_settings",
    "write_model_settings",
]

logger = logging.getLogger(__name__)
WEIGHTS_SHA256 = "weights_sha256"
"""Key of the SHA-256 of the weights that the settings belong to."""
TRAINED_ON = "trained_on"
"""Key of the name of the data that the weights learned from."""
DOMAIN = "domain"
"""Key of what the weights were trained for, in words and in figures."""
CONFORMAL = "conformal"
"""Key of calibrated thresholds: of prediction sets, or of masks whose risk is controlled."""
HELD_OUT = "held_out"
"""Key of how many validation images a training kept apart, for a calibration."""
TEACHER = "teacher"
"""Key of the name of the network whose predictions the weights learned from."""
EARLIER = "earlier_versions"
"""Key of a bundle's defaults: what a settings file means that does not name a setting which came later."""
RESERVED = (WEIGHTS_SHA256, TRAINED_ON, DOMAIN, TEACHER, CONFORMAL, HELD_OUT)
"""Keys that say whose the settings are; no settings of a network, so that older files without them, and defaults that
do not name them, hold as they are."""
LARGEST = 1 << 20  # bytes; a file of ten thousand class names is smaller
TRIES, PAUSE = 10, 0.1  # seconds; a pair that is being published fits together again a moment later


def settings_file(ckpt_path: str | os.PathLike[str]) -> Path:
    """``<checkpoint stem>.json``, where a checkpoint's settings lie."""
    return Path(ckpt_path).with_suffix(".json")


def write_model_settings(ckpt_path: str | os.PathLike[str], settings: Mapping[str, Any]) -> None:
    """Write ``<checkpoint stem>.json`` beside a checkpoint (which need not exist yet), in one step."""
    text = json.dumps(dict(settings), indent=2) + "\n"
    with replace_file(settings_file(ckpt_path)) as temporary:
        temporary.write_text(text, encoding="utf8")


def saved_settings(ckpt_path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """What the settings file of a checkpoint holds, reserved keys included; None where there is no such file.

    Raises:
        ValueError: when the file is no JSON object, or holds what no training would have written
            (:func:`~.settings_schema.check_settings`).
    """
    path = settings_file(ckpt_path)
    if not path.is_file():
        return None
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path} has more than {LARGEST >> 20} MiB and is no settings file. {RESTORE}")
    try:
        settings = json.loads(path.read_text(encoding="utf8"), object_pairs_hook=_different_keys)
    except (ValueError, RecursionError) as error:  # no JSON, or no UTF-8
        raise ValueError(f"{path} is no JSON ({error}). Restore it, or remove it and pass the settings.") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{path} must be an object, got {type(settings).__name__}. {RESTORE}")
    check_settings(settings, path)
    return settings


def _different_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object; of two values under one key readers would take different ones."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key twice in one object")
    return found


def update_model_settings(ckpt_path: str | os.PathLike[str], **changes: Any) -> None:
    """Change single settings of a checkpoint, for example ``temperature=1.3``; the others stay.

    Raises:
        ValueError: when the file is no such settings file.
    """
    write_model_settings(ckpt_path, {**(saved_settings(ckpt_path) or {}), **changes})


def read_model_settings(
    ckpt_path: str | os.PathLike[str], defaults: Mapping[str, Any] | str | os.PathLike[str]
) -> dict[str, Any]:
    """Settings of a checkpoint: those beside it, over ``defaults``; without the reserved keys.

    Args:
        ckpt_path: the checkpoint.
        defaults: settings and their values where the file beside the checkpoint says nothing, or the YAML file that
            holds them, ``configs/settings.yaml`` of a bundle. Under ``earlier_versions`` may stand what a file
            without a later setting means.

    Without a settings file the defaults are used, with a warning when the checkpoint exists. Settings that name the
    weights they belong to are compared with them; those of earlier versions, which do not, are taken as they are.

    Raises:
        FileNotFoundError: no file of defaults.
        ValueError: when the file is no JSON object, holds a key that ``defaults`` lacks, or a value that no training
            would have written, or belongs to other weights.
    """
    defaults = dict(defaults if isinstance(defaults, Mapping) else _defaults_of(Path(defaults)))
    earlier = defaults.pop(EARLIER, {})
    path = settings_file(ckpt_path)
    saved = _of_these_weights(ckpt_path)
    if saved is None:
        if Path(ckpt_path).is_file():
            logger.warning("%s has no settings file %s; using %s", ckpt_path, path.name, defaults)
        return defaults
    settings = {key: value for key, value in saved.items() if key not in RESERVED}
    unknown = sorted(set(settings) - set(defaults))
    if unknown:
        near = {key: difflib.get_close_matches(key, defaults, 1) for key in unknown}
        meant = ", ".join(f"{key!r} (meant: {near[key][0]!r}?)" if near[key] else repr(key) for key in unknown)
        raise ValueError(f"{path} must be an object with keys among {sorted(defaults)}, but holds {meant}. {RESTORE}")
    return {**defaults, **earlier, **settings}


def read_domain(ckpt_path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """What a checkpoint was trained for: ``text``, a line in words, and ``fingerprints`` of its training images.

    These are by the images' keys in an item, ``image`` or ``image_a`` and ``image_b``, and hold the fields of
    :class:`medssm_monai.data.fingerprint.Fingerprint`.

    None where the settings beside it do not say so (weights of earlier versions), there are none, or a federation's
    server sends the weights.

    Raises:
        ValueError: as :func:`read_model_settings` does.
    """
    return None if in_federation() else (_of_these_weights(ckpt_path) or {}).get(DOMAIN)


def read_conformal(ckpt_path: str | os.PathLike[str], **conditions: Any) -> dict[str, Any] | None:
    """Thresholds that a calibration has stored beside a checkpoint, as they stand in its settings.

    None where it was never calibrated, or a federation's server sends the weights. Thresholds hold for scores that come
    about as they did then: where a condition differs, such as another temperature or test-time flips, they are left
    out, and a warning says so.

    Args:
        ckpt_path: the checkpoint.
        conditions: settings that the scores depend on, ``temperature=1.3``; those that the calibration has noted under
            the same name are compared.

    Raises:
        ValueError: as :func:`read_model_settings` does.
    """
    found = None if in_federation() else (_of_these_weights(ckpt_path) or {}).get(CONFORMAL)
    if found is None:
        return None
    noted = found["conditions"]
    other = [
        f"{name} {_plain(value)!r} instead of {noted[name]!r}"
        for name, value in conditions.items()
        if name in noted and _plain(value) != noted[name]
    ]
    if other:
        logger.warning(
            "the conformal thresholds in %s are left out: they were calibrated with another setting (%s). Calibrate "
            "again with this one, or leave it as it was",
            settings_file(ckpt_path).name,
            "; ".join(other),
        )
        return None
    return dict(found)


def read_held_out(ckpt_path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Which validation images chose nothing in the training of a checkpoint
    (:func:`medssm_monai.data.held_out_part`); None where all did, or a federation's server sends the weights.

    Raises:
        ValueError: as :func:`read_model_settings` does.
    """
    return None if in_federation() else (_of_these_weights(ckpt_path) or {}).get(HELD_OUT)


def _plain(value: Any) -> Any:
    """As JSON gives it back: tuples are lists."""
    return json.loads(json.dumps(value))


def _defaults_of(path: Path) -> dict[str, Any]:
    """Settings and their defaults out of a bundle's file, or out of the one beside the config that is being run.

    Raises:
        FileNotFoundError: no such file.
    """
    beside = (root / "configs" / path.name for root in running_bundles())  # where --bundle_root names another folder
    file = path if path.is_file() else next((one for one in beside if one.is_file()), None)
    if file is None:
        raise FileNotFoundError(
            f"no {path}, which names a bundle's settings and their defaults. Restore it from the package's bundle."
        )
    return dict(yaml.safe_load(file.read_text(encoding="utf8")))


def _of_these_weights(ckpt_path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The settings file's content, once it fits the weights beside it.

    Raises:
        ValueError: it does not.
    """
    for left in reversed(range(TRIES)):
        settings = saved_settings(ckpt_path)
        wanted = None if settings is None else settings.get(WEIGHTS_SHA256)
        if wanted is None or not Path(ckpt_path).is_file():
            return settings
        found = file_sha256(ckpt_path)
        if found == wanted:
            return settings
        if left:
            time.sleep(PAUSE)
    path = settings_file(ckpt_path)
    raise ValueError(
        f"{os.fspath(ckpt_path)} and {path.name} do not belong together: the settings are of weights with the SHA-256 "
        f"{str(wanted)[:12]}…, the weights here have {found[:12]}…. Copy both files of one training; for weights that "
        f"you changed yourself, write their SHA-256 into {path.name} ({WEIGHTS_SHA256}) or remove that key."
    )
