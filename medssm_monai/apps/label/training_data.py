"""From images and saved labels to a data folder that the bundles' training reads, with a split file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ...data.readers.files import natural_key
from ...transforms import LoadImage2D
from .formats import CLASS_SUFFIX, IMAGE_SUFFIXES, image_kind, provide
from .requests import config_text

__all__ = ["class_of", "unusable", "write_classes", "write_masks", "write_pairs"]

PARTS = ("training", "validation")


def class_of(label: Path) -> str:
    """Class in a label file, ``{"class": "pneumonia"}``.

    Raises:
        ValueError: another content.
    """
    try:
        content = json.loads(label.read_text(encoding="utf8"))
    except (ValueError, OSError) as error:
        raise ValueError(f"label {label.name}: no JSON ({error}); expected {{'class': NAME}}.") from error
    name = content.get("class") if isinstance(content, Mapping) else None
    if not isinstance(name, str) or not name.strip() or name[0] == "." or set(name) & set("/\\") or config_text(name):
        raise ValueError(
            f"label {label.name}: expected {{'class': NAME}}, a name without slashes that starts with none of . $ @ %, "
            f"got {content}."
        )
    return name


def unusable(kind: str, labels: Mapping[str, Path]) -> dict[str, str]:
    """Labels that a training cannot take, by image, with the reason.

    Args:
        kind: ``"segmentation"`` takes masks, ``"classification"`` JSON files.
        labels: image id to the file of its label.
    """
    reasons = {}
    for name, label in labels.items():
        if kind == "classification" and label.suffix.lower() != CLASS_SUFFIX:
            reasons[name] = f"{label.suffix or 'a file without suffix'} names no class, a {CLASS_SUFFIX} file does"
        elif kind == "segmentation" and image_kind(label) is None:
            known = ", ".join(sorted(IMAGE_SUFFIXES))
            reasons[name] = f"{label.suffix or 'a file without suffix'} is no mask; masks are {known}"
    return reasons


def _split(names: Sequence[str], share: float, what: str) -> dict[str, list[str]]:
    """Every n-th name in natural order for validation, at least one in each part."""
    if not 0 < share < 1:
        raise ValueError(f"val_split must lie between 0 and 1, got {share}.")
    if len(names) < 2:
        raise ValueError(f"{len(names)} {what}; training needs two or more, one of them for validation.")
    ordered = sorted(names, key=natural_key)
    step = min(max(round(1 / share), 2), len(ordered))
    validation = ordered[step - 1 :: step]
    return {"training": [name for name in ordered if name not in set(validation)], "validation": validation}


def _write_split(folder: Path, parts: Mapping[str, Sequence[str]]) -> Path:
    path = folder.parent / "split.json"
    path.write_text(json.dumps({part: list(parts[part]) for part in PARTS}, indent=1), encoding="utf8")
    return path


def write_masks(folder: Path, labeled: Mapping[str, tuple[Path, Path]], share: float) -> Path:
    """``images/`` and ``masks/`` of labeled images; returns the split file.

    Clients save 0/1 and 0/255, NIfTI, NRRD and PNG beside each other: each mask is read by itself
    (:class:`~medssm_monai.transforms.LoadImage2D`) and written with 0 and 255.

    Args:
        folder: data folder, new.
        labeled: image id to the files of image and mask.
        share: part of the images for validation.

    Raises:
        ValueError: fewer than two images, a mask whose values do not say what is foreground.
        ImageReadError: a mask that cannot be read.
    """
    parts = _split(list(labeled), share, "image(s) with a saved mask")
    load = LoadImage2D(kind="mask")
    (folder / "masks").mkdir(parents=True, exist_ok=True)
    for name, (image, mask) in labeled.items():
        provide(image, folder / "images", name)
        values = load(provide(mask, folder / "as_saved", name)).numpy()[0]
        Image.fromarray((values * 255).astype(np.uint8)).save(folder / "masks" / f"{name}.png")
    return _write_split(folder, parts)


def write_classes(
    folder: Path, labeled: Mapping[str, tuple[Path, str]], known: Sequence[str], share: float
) -> tuple[Path, list[str]]:
    """One folder per class; every class is split for itself.

    Args:
        folder: data folder, new.
        labeled: image id to the image file and its class.
        known: classes of the weights that the training starts from; they stay when all labels are among them.
        share: part of the images of each class for validation.

    Returns:
        The split file, and the classes in label order.

    Raises:
        ValueError: fewer than two classes, or fewer than two images of a class.
    """
    by_class: dict[str, list[str]] = {}
    for name, (_, label) in labeled.items():
        by_class.setdefault(label, []).append(f"{label}/{name}")  # names of the folder layout
    classes = list(known) if set(by_class) <= set(known) else sorted(by_class)
    if len(classes) < 2:
        raise ValueError(f"labels of {sorted(by_class)} only; training needs two classes or more.")
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    for label in classes:
        split = _split(by_class.get(label, []), share, f"image(s) labeled {label!r}")
        for part in PARTS:
            parts[part] += split[part]
    for name, (image, label) in labeled.items():
        provide(image, folder / label, name)
    return _write_split(folder, parts), classes


def write_pairs(folder: Path, pairs: Mapping[str, tuple[Path, Path]], endings: tuple[str, str], share: float) -> Path:
    """Pairs of a fusion side by side; returns the split file.

    Args:
        folder: data folder, new.
        pairs: name of the pair, without ending, to the files of source A and B.
        endings: of the names of source A and B.
        share: part of the pairs for validation.

    Raises:
        ValueError: fewer than two pairs.
    """
    parts = _split(list(pairs), share, "complete pair(s) of images")
    for name, files in pairs.items():
        for file, ending in zip(files, endings, strict=True):
            provide(file, folder, name + ending)
    return _write_split(folder, parts)
