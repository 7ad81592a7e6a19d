"""MedMNIST's ``.npz`` files, 2D and 3D, as labeled images with the official split."""

from __future__ import annotations

import hashlib
import logging
import re
from pathlib import Path

import numpy as np

from ...utils.shown_names import shown_name, shown_text
from ..errors import DatalistError, Problem
from ..readers.npz import NpzError, has_channels, npz_address, npz_array
from .medmnist_facts import MEDMNIST, MedMNISTFacts
from .samples import Item, Samples

__all__ = ["find_npz", "medmnist_samples"]

logger = logging.getLogger(__name__)
KEYS = {"training": "train", "validation": "val", "test": "test"}
FILE_NAME = re.compile(r"(?P<set>.+?)(_(?P<size>64|128|224))?", re.IGNORECASE)


def _facts(stem: str) -> tuple[MedMNISTFacts | None, int]:
    """Published facts for a file name without suffix, and the image size it stands for."""
    match = FILE_NAME.fullmatch(stem)
    assert match is not None  # the expression takes any name
    return MEDMNIST.get(match["set"].lower()), int(match["size"] or 28)


def find_npz(root: Path, subset: str | None) -> Path:
    """The ``.npz`` file meant by a file or a folder and the name of a MedMNIST set.

    Args:
        root: the file itself, or a folder of ``.npz`` files.
        subset: ``"breast"``, ``"BreastMNIST"`` or, where several sizes lie there, ``"breastmnist_224"``; None takes
            the only file.

    Raises:
        DatalistError: no such file, or several that fit.
    """
    if root.is_file():
        return root
    found = sorted(path for path in root.iterdir() if path.suffix.lower() == ".npz" and not path.name.startswith("."))
    fitting = found
    if subset is not None:
        wanted = subset.lower().removesuffix(".npz")
        fitting = [path for path in found if path.stem.lower() == wanted]  # one size by its name
        base = wanted if "mnist" in wanted else f"{wanted}mnist"
        names = {base, *(f"{base}_{size}" for size in (64, 128, 224))}
        fitting = fitting or [path for path in found if path.stem.lower() in names]
    if len(fitting) == 1:
        return fitting[0]
    names_found = [path.name for path in found]
    if subset is None:
        raise DatalistError(f"{root} holds {names_found}; say which one with subset, for example subset='breast'.")
    if not fitting:
        raise DatalistError(
            f"{root} holds no file of {subset!r}, only {names_found or 'no .npz files'}; put {base}.npz there ("
            "python -m medssm_monai.experiments.prepare_data) or choose another subset."
        )
    raise DatalistError(f"{root}: {[path.name for path in fitting]} fit {subset!r}; give the full name without suffix.")


def _check_md5(file: Path, strict: bool) -> None:
    facts, size = _facts(file.stem)
    published = ((facts.md5.get(size),) + (facts.earlier if size == 28 else ())) if facts else ()
    official = tuple(md5 for md5 in published if md5)
    if not official and not strict:
        logger.info("%s: no published MD5 is known for this name, not checked", shown_name(file))
        return
    with file.open("rb") as stream:
        digest = hashlib.md5(usedforsecurity=False)
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    if digest.hexdigest() in official:
        return
    message = (
        f"{file}: MD5 {digest.hexdigest()} is not the official file's ({' or '.join(official) or 'none published'}); "
        "figures may not compare with published ones. Fetch the official file for comparisons."
    )
    if strict:
        raise DatalistError([Problem("not the official file", str(file), message.partition(": ")[2])])
    logger.warning("%s", shown_text(message))


def _labels(file: Path, key: str, count: int, problems: list[Problem]) -> np.ndarray:
    """Labels ``(N,)`` int64 from an array ``(N,)`` or ``(N, 1)``; empty when they are unusable."""
    labels = npz_array(file, key)
    if labels.shape not in ((count,), (count, 1)):
        detail = f"{key} has shape {labels.shape}, expected ({count},) or ({count}, 1): one label for each image"
        problems.append(Problem("unusable labels", str(file), detail))
        return np.zeros(0, dtype=np.int64)
    labels = labels.reshape(-1)
    if labels.dtype.kind not in "biuf" or (labels.astype(np.float64) % 1 != 0).any():
        detail = f"{key} are {labels.dtype} and not whole numbers"
        problems.append(Problem("unusable labels", str(file), detail))
        return np.zeros(0, dtype=np.int64)
    return labels.astype(np.int64)


def _out_of_range(file: Path, key: str, labels: np.ndarray, classes: int) -> list[Problem]:
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    return [
        Problem("label outside the range", npz_address(file, key, int(i)), f"{labels[i]}, expected 0 to {classes - 1}")
        for i in wrong
    ]


def _read_part(file: Path, key: str, problems: list[Problem]) -> tuple[list[Item], np.ndarray]:
    """Items of one part, without labels, and the labels."""
    images_key, labels_key = f"{key}_images", f"{key}_labels"
    try:
        images = npz_array(file, images_key)
        dims = images.ndim - 1 - has_channels(images.shape)
        if images.dtype.kind not in "buif" or dims not in (2, 3):
            detail = f"{images_key} is {images.dtype} of shape {images.shape}"
            raise NpzError(f"{file}: {detail}; expected numbers (N, H, W), (N, H, W, channels) or (N, D, H, W).")
        labels = _labels(file, labels_key, len(images), problems)
    except NpzError as error:
        problems.append(Problem("unreadable array", str(file), str(error).removeprefix(f"{file}: ")))
        return [], np.zeros(0, dtype=np.int64)
    items = [{"image": npz_address(file, images_key, i), "name": f"{key}_{i:05d}"} for i in range(len(labels))]
    return items, labels


def medmnist_samples(file: Path, class_names: list[str] | None = None, strict: bool = False) -> Samples:
    """Images and labels of an ``.npz`` file with ``train_images``, ``train_labels``, ``val_...`` and ``test_...``.

    Images are ``(N, H, W)``, ``(N, H, W, 3 or 4)`` or, 3D, ``(N, D, H, W)``; labels ``(N,)`` or ``(N, 1)``. Pickled
    objects are never unpickled. Without given or published class names the classes are called by their numbers.

    Args:
        file: the ``.npz`` file; its name says which set and size it is.
        class_names: names in label order.
        strict: an MD5 other than the published ones is an error, not a warning.

    Raises:
        DatalistError: missing arrays, pickled objects, damaged files, an unofficial file under ``strict``.
    """
    facts, _ = _facts(file.stem)
    try:
        with np.load(file, allow_pickle=False) as content:
            present = content.files if isinstance(content, np.lib.npyio.NpzFile) else None
    except Exception as error:  # no zip archive, a truncated one, a pickle: NumPy raises many kinds
        raise DatalistError(
            [Problem("unreadable file", str(file), f"no .npz file or a damaged one: {error}")]
        ) from error
    expected = [f"{key}_{kind}" for key in KEYS.values() for kind in ("images", "labels")]
    missing = [key for key in expected if key not in (present or [])]
    if missing:
        detail = f"lacks {', '.join(missing)}; it has {', '.join(present or []) or 'nothing'}"
        raise DatalistError([Problem("missing arrays", str(file), detail)])
    _check_md5(file, strict)
    problems: list[Problem] = []
    parts = {part: _read_part(file, key, problems) for part, key in KEYS.items()}
    names = list(class_names or (facts.classes if facts else ()))
    if not names:
        names = [str(label) for label in range(max(int(labels.max(initial=-1)) for _, labels in parts.values()) + 1)]
    lists = {}
    for part, (items, labels) in parts.items():
        problems += _out_of_range(file, f"{KEYS[part]}_labels", labels, len(names))
        lists[part] = [{**item, "label": int(label)} for item, label in zip(items, labels, strict=True)]
    rule = "the official split of the .npz file"
    return Samples(names, lists["training"], lists["validation"], lists["test"], problems, rule)
