"""Where a bundle's weights lie, which of them run when none are named, for what, and which others there are."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..utils.files import file_sha256
from ..utils.shown_names import full_names
from .callers import in_federation
from .registered import is_registered, registered_weights
from .settings import DOMAIN, TRAINED_ON, saved_settings
from .work_place import work_folder

__all__ = [
    "TRAINED",
    "bundle_weights",
    "choose_checkpoint",
    "describe_weights",
    "describe_weights_file",
    "find_weights",
    "named_by_its_card",
    "named_weights",
    "other_weights",
    "require_weights",
    "shown_classes",
    "weights_file",
    "weights_hint",
]

WEIGHTS = "model.pt"
TRAINED = "trained"
"""Folder within a bundle's ``models/`` that the user's trainings publish to."""
SHIPPED = "shipped"
TRACES = ("model.json", "model_*.pt")


def bundle_weights(bundle_root: str | os.PathLike[str]) -> str:
    """Path of the weights that a bundle runs with when none are named: :func:`choose_checkpoint` of its ``models/``,
    with the user's trainings where :func:`~.work_place.work_folder` has them."""
    return choose_checkpoint(Path(bundle_root) / "models", Path(work_folder(bundle_root)) / "models")


def choose_checkpoint(models_dir: str | os.PathLike[str], own_models_dir: str | os.PathLike[str] | None = None) -> str:
    """Path of the weights in a bundle's ``models/``: ``trained/model.pt`` of the user's last training, else
    ``model.pt``, which comes with the bundle and is the place where other hosts look.

    Shipped weights answer for classes of their own, so they never stand in for a user's: where a settings file without
    weights, or dated weights, tell of own trainings, the shipped ones must be named.

    Args:
        models_dir: of the bundle.
        own_models_dir: the folder whose ``trained/`` holds own trainings; default ``models_dir``.

    Returns:
        The path of ``trained/model.pt``, although there is none, when own trainings have left traces; that of
        ``model.pt`` when there is neither: whoever needs the weights then says what is missing and what else there is
        (:func:`~medssm_monai.bundle.require_weights`).
    """
    folder = Path(models_dir)
    own = Path(own_models_dir or folder) / TRAINED
    traces = (own / WEIGHTS).is_file() or any(next(own.glob(pattern), None) for pattern in TRACES)
    return os.fspath((own if traces else folder) / WEIGHTS)


def weights_file(
    ckpt_path: str | os.PathLike[str], bundle_root: str | os.PathLike[str], tracking_uri: str | None = None
) -> str:
    """The file that a config's ``ckpt_path`` stands for: of weights in an MLflow registry, ``models:/NAME@ALIAS``,
    their copy in the user's cache (:func:`~.registered.registered_weights`, which says what it raises); else the path
    as it is, whether the file is there or not."""
    if is_registered(ckpt_path) and not in_federation():
        return registered_weights(str(ckpt_path), bundle_root, tracking_uri)
    return os.fspath(ckpt_path)


def named_weights(
    bundle_root: str | os.PathLike[str], name: str | os.PathLike[str], tracking_uri: str | None = None
) -> str:
    """As :func:`find_weights`; a name that is neither comes back as it is, for whoever needs the file to say so."""
    try:
        return find_weights(bundle_root, name, tracking_uri)
    except FileNotFoundError:
        if is_registered(name):
            raise
        return os.fspath(name)


def find_weights(
    bundle_root: str | os.PathLike[str], name: str | os.PathLike[str], tracking_uri: str | None = None
) -> str:
    """A file of weights, by its path or by its name in the bundle's ``models/``, with or without ``.pt``; ``"shipped"``
    are those that come with the bundle, whatever was trained since; ``models:/NAME@ALIAS`` those of an MLflow registry
    (:func:`weights_file`).

    Raises:
        FileNotFoundError: no such file; the message lists those of the bundle.
    """
    if is_registered(name):
        return weights_file(name, bundle_root, tracking_uri)
    text, models = os.fspath(name), Path(bundle_root) / "models"
    if Path(text).is_file():
        return text
    text = "model" if text == SHIPPED else text
    inside = models / (text if text.endswith(".pt") else f"{text}.pt")
    if Path(text).name == text and inside.is_file():
        return os.fspath(inside)
    there = ", ".join(sorted(path.name for path in models.glob("*.pt"))) or "none"
    raise FileNotFoundError(
        f"no weights {text!r}: give a file, or one of those that come with {Path(bundle_root).name} ({there})."
    )


OWN_NAME = re.compile(r"model(_\d{8}-\d{6}(_\d+)?)?\.pt")
REMEDY = "Train first (run training), or name a checkpoint with --ckpt_path FILE."
MANY, SHOWN, DIGITS = 6, 4, 12


def describe_weights(ckpt_path: str | os.PathLike[str], name: str | None = None) -> str:
    """:func:`describe_weights_file`, for the configs. In a federation the network's weights are those that its server
    sends, whatever file the config names, and the answer says so."""
    return "sent by the federation's server" if in_federation() else describe_weights_file(ckpt_path, name)


def describe_weights_file(ckpt_path: str | os.PathLike[str], name: str | None = None) -> str:
    """One line about weights: file, whether they are your own or come with the bundle (a model card beside them states
    their SHA-256), what they were trained on, classes or sources, size of the images, what they are for (the text of
    their domain), start of the file's SHA-256.

    What the settings beside them do not say is left out; a file that is not there is said to be missing.

    Args:
        ckpt_path: the weights.
        name: what to call the file, for its user; default its folder and name, ``models/model.pt``, for outputs (with
            ``MEDSSM_FULL_NAMES=1`` the path as given).
    """
    path = Path(ckpt_path)
    name = name or (str(path) if full_names() else "/".join(path.absolute().parts[-2:]))
    if not path.is_file():
        return f"{name} (missing)"
    settings = _settings(path)
    facts = [_origin(path, settings), *_facts(settings), f"SHA-256 {file_sha256(path)[:DIGITS]}"]
    return f"{name} ({'; '.join(facts)})"


def _settings(path: Path) -> Mapping[str, Any]:
    try:
        return saved_settings(path) or {}
    except ValueError:  # whoever uses the settings says so
        return {}


def _origin(path: Path, settings: Mapping[str, Any]) -> str:
    trained_on = settings.get(TRAINED_ON)
    data = f"trained on {trained_on}" if trained_on else "training data not recorded"
    if named_by_its_card(path):
        return f"come with the bundle, {data}"
    return f"your own training, {data}" if OWN_NAME.fullmatch(path.name) else data


def named_by_its_card(path: Path) -> bool:
    """Whether a model card beside weights (``.md``) states their SHA-256, as that of shipped weights does."""
    card = path.with_suffix(".md")
    return card.is_file() and file_sha256(path) in card.read_text(encoding="utf8", errors="replace")


def _facts(settings: Mapping[str, Any]) -> list[str]:
    facts = []
    classes = settings.get("class_names")
    if isinstance(classes, list) and classes:
        facts.append(f"{len(classes)} classes: {shown_classes(classes)}")
    sources = settings.get("sources")
    if isinstance(sources, list):
        facts.append(f"sources: {', '.join(map(str, sources))}")
    if "spatial_dims" in settings:
        facts.append(f"{settings['spatial_dims']}D")
    if "in_channels" in settings:
        facts.append(f"{settings['in_channels']} channel{'' if settings['in_channels'] == 1 else 's'}")
    size = settings.get("image_size")
    if isinstance(size, list):
        facts.append(f"images of {' x '.join(map(str, size))}")
    domain = settings.get(DOMAIN)
    return [*facts, f"for {domain['text']}"] if domain else facts


def other_weights(ckpt_path: str | os.PathLike[str]) -> list[str]:
    """The other weights in the folder of a checkpoint, own trainings and shipped ones beside it included, the newest
    first, each with what it was trained on."""
    path = Path(ckpt_path)
    place = path.parent.parent if path.parent.name == TRAINED else path.parent
    found = [*path.parent.glob("*.pt"), *place.glob("*.pt"), *place.glob(f"{TRAINED}/*.pt")]
    beside = [one for one in dict.fromkeys(found) if one != path and not one.name.startswith(".")]
    files = sorted((one for one in beside if one.is_file()), key=lambda one: (-one.stat().st_mtime, one.name))
    return [f"{os.path.relpath(one, path.parent)} ({_origin(one, _settings(one))})" for one in files]


def _listed(ckpt_path: str | os.PathLike[str]) -> str:
    others = other_weights(ckpt_path)
    more = f" and {len(others) - SHOWN} more" if len(others) > SHOWN else ""
    return f"{', '.join(others[:SHOWN])}{more}" if others else ""


def weights_hint(ckpt_path: str | os.PathLike[str]) -> str:
    """For the end of an error: which weights were taken, and which others there are."""
    there = _listed(ckpt_path)
    choose = f" Others there: {there}; choose with --ckpt_path FILE." if there else ""
    return f"The weights are {describe_weights_file(ckpt_path, os.fspath(ckpt_path))}.{choose}"


def require_weights(
    ckpt_path: str | os.PathLike[str] | None, what: str = "trained weights", remedy: str = REMEDY
) -> str:
    """The path when weights lie there.

    Raises:
        FileNotFoundError: there are none; the message names the others in that folder, dated and shipped ones, and a
            settings file that was left alone.
    """
    if ckpt_path is not None and Path(ckpt_path).is_file():
        return os.fspath(ckpt_path)
    message = f"{what} not found: {ckpt_path}. {remedy}"
    if ckpt_path is not None:
        lone = Path(ckpt_path).with_suffix(".json")
        there = _listed(ckpt_path)
        if lone.is_file():
            message += f" {lone.name} is there without its weights."
        if there:
            message += f" Others there: {there}."
    raise FileNotFoundError(message)


def shown_classes(names: Sequence[Any]) -> str:
    """Names of classes in a message, in quotation marks where one holds a comma; of many the first ones alone."""
    more = f" and {len(names) - MANY} more" if len(names) > MANY else ""
    return ", ".join(repr(str(name)) if "," in str(name) else str(name) for name in names[:MANY]) + more
