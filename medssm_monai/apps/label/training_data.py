"""From images and saved labels to a data folder that the bundles' training reads, with a split file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.utils import optional_import
from PIL import Image

from ...data.labels import BACKGROUND, LabelSet
from ...data.readers.files import natural_key
from ...data.readers.label_map import read_label_map
from ...transforms import LoadImage2D
from .formats import CLASS_SUFFIX, IMAGE_SUFFIXES, channels_held, image_kind, is_volume, provide
from .requests import config_text

__all__ = ["class_of", "other_channels", "unusable", "write_classes", "write_masks", "write_pairs", "write_volumes"]

nib, _ = optional_import("nibabel")

PARTS = ("training", "validation")
RGB = ("R", "G", "B")


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


def unusable(kind: str, labels: Mapping[str, Path], volumes: bool = False) -> dict[str, str]:
    """Labels that a training cannot take, by image, with the reason.

    Args:
        kind: ``"segmentation"`` takes masks, ``"classification"`` JSON files.
        labels: image id to the file of its label.
        volumes: whether the model takes volumes.

    Raises:
        ImageReadError, ValueError: a damaged label of a volume.
    """
    reasons = {}
    for name, label in labels.items():
        if kind == "classification" and label.suffix.lower() != CLASS_SUFFIX:
            reasons[name] = f"{label.suffix or 'a file without suffix'} names no class, a {CLASS_SUFFIX} file does"
        elif kind == "segmentation" and image_kind(label) is None:
            known = ", ".join(sorted(IMAGE_SUFFIXES))
            reasons[name] = f"{label.suffix or 'a file without suffix'} is no mask; masks are {known}"
        elif kind == "segmentation" and volumes and not is_volume(label):
            reasons[name] = "the label of a picture; the model takes volumes"
        elif kind == "segmentation" and not volumes and _surely_volume(label):
            reasons[name] = "the label of a volume; the model takes pictures and slices"
    return reasons


def _surely_volume(label: Path) -> bool:
    try:
        return is_volume(label)
    except (OSError, ValueError):  # a damaged one, which its reader names
        return False


def other_channels(images: Mapping[str, Path], count: int) -> dict[str, str]:
    """Volumes that hold another number of channels than a model takes, with the reason; a file that does not say how
    many is not among them.

    Args:
        images: image id to the file that holds all its channels.
        count: channels of the model.
    """
    held = {name: channels_held(file) for name, file in images.items()}
    wrong = {name: found for name, found in held.items() if found not in (None, count)}
    return {name: f"an image of {found} channel(s); the model takes {count}" for name, found in wrong.items()}


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


def write_masks(
    folder: Path,
    labeled: Mapping[str, tuple[Path, Path]],
    share: float,
    labels: LabelSet | None = None,
    channels: Sequence[str] = RGB,
) -> Path:
    """``images/`` and ``masks/`` of labeled images; returns the split file.

    Clients save 0/1 and 0/255, NIfTI, NRRD and PNG beside each other: each mask is read by itself
    (:class:`~medssm_monai.transforms.LoadImage2D`) and written with 0 and 255. Label maps of classes keep their
    numbers, and ``dataset.json`` names them.

    Args:
        folder: data folder, new.
        labeled: image id to the files of image and mask.
        share: part of the images for validation.
        labels: the classes; None, or one class by rule, for masks.
        channels: names of the channels, for ``dataset.json``.

    Raises:
        ValueError: fewer than two images, a mask whose values do not say what is foreground, values that no class has.
        ImageReadError: a mask that cannot be read.
    """
    parts = _split(list(labeled), share, "image(s) with a saved mask")
    load = LoadImage2D(kind="mask")
    classes = None if labels is None or labels.by_rule else labels
    (folder / "masks").mkdir(parents=True, exist_ok=True)
    wrong = []
    for name, (image, mask) in labeled.items():
        provide(image, folder / "images", name)
        saved = provide(mask, folder / "as_saved", name)
        if classes is None:
            values = (load(saved).numpy()[0] * 255).astype(np.uint8)
        else:
            values, _ = read_label_map(saved, 2)
            wrong += _unknown(classes, values, name)
            values = values.astype(np.uint8 if values.max(initial=0) <= 255 else np.uint16)
        Image.fromarray(values).save(folder / "masks" / f"{name}.png")
    _raise_unknown(wrong)
    if classes is not None:
        _write_facts(folder, classes.labels, channels, len(labeled), ".png")
    return _write_split(folder, parts)


def write_volumes(
    folder: Path,
    labeled: Mapping[str, tuple[Sequence[Path], Path]],
    share: float,
    labels: LabelSet,
    channels: Sequence[str],
) -> Path:
    """``imagesTr/``, ``labelsTr/`` and ``dataset.json`` of labeled volumes, as nnU-Net lays them out, all of it
    ``.nii.gz``; returns the split file.

    Args:
        folder: data folder, new.
        labeled: name of the case to the files of its channels, or the one that holds them all, and the file of its
            label map.
        share: part of the cases for validation.
        labels: the classes.
        channels: names of the channels.

    Raises:
        ValueError: fewer than two cases, another number of channels, values that no class has.
        ImageReadError: a label map that cannot be read.
    """
    parts = _split(list(labeled), share, "volume(s) with a saved label map")
    wrong = []
    for name, (files, mask) in labeled.items():
        volumes = [_compressed(file, folder / "as_saved", f"{name}_{number:04d}") for number, file in enumerate(files)]
        if len(volumes) == 1 and len(channels) > 1:
            volumes = _split_channels(volumes[0], len(channels), name)
        if len(volumes) != len(channels):
            raise ValueError(f"{name}: {len(volumes)} channels, expected {len(channels)}: {', '.join(channels)}.")
        for number, volume in enumerate(volumes):
            _moved(volume, folder / "imagesTr" / f"{name}_{number:04d}.nii.gz")
        saved = _moved(_compressed(mask, folder / "as_saved", name), folder / "labelsTr" / f"{name}.nii.gz")
        if not labels.by_rule:
            wrong += _unknown(labels, read_label_map(saved, 3)[0], name)
    _raise_unknown(wrong)
    values = dict(zip(labels.names, labels.written, strict=True)) if labels.by_rule else labels.labels
    _write_facts(folder, values, channels, len(labeled), ".nii.gz")
    return _write_split(folder, parts)


def _write_facts(folder: Path, values: Mapping[str, Any], channels: Sequence[str], count: int, ending: str) -> None:
    """``dataset.json`` as nnU-Net has it."""
    facts = {
        "channel_names": {str(number): name for number, name in enumerate(channels)},
        "labels": {BACKGROUND: 0, **values},
        "numTraining": count,
        "file_ending": ending,
    }
    (folder / "dataset.json").write_text(json.dumps(facts, indent=1), encoding="utf8")


def _unknown(labels: LabelSet, values: np.ndarray, name: str) -> list[str]:
    try:
        labels.to_indices(torch.from_numpy(values), f"label of {name}")
    except ValueError as error:
        return [str(error)]
    return []


def _raise_unknown(wrong: Sequence[str]) -> None:
    if wrong:
        raise ValueError(" ".join(wrong) + " Correct these labels, or save them with the numbers that the model names.")


def _compressed(source: Path, folder: Path, name: str) -> Path:
    """``<name>.nii.gz`` in ``folder``: a link where the file is one already."""
    made = provide(source, folder, name)
    if made.name.lower().endswith(".nii.gz"):
        return made
    target = folder / f"{name}.nii.gz"
    nib.save(nib.load(made), target)
    return target


def _moved(made: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    return made.rename(target)


def _split_channels(volume: Path, count: int, name: str) -> list[Path]:
    image = nib.load(volume)
    if len(image.shape) != 4 or image.shape[3] != count:
        raise ValueError(
            f"{name}: an image of shape {image.shape}; expected (X, Y, Z, {count}), or a file per channel."
        )
    targets = [volume.with_name(f"{name}_channel_{number}.nii.gz") for number in range(count)]
    for one, target in zip(nib.funcs.four_to_three(image), targets, strict=True):
        nib.save(one, target)
    return targets


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
