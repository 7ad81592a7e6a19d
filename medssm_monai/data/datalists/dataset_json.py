"""What the ``dataset.json`` of a folder says: classes, channels and files, in the forms of the Medical Segmentation
Decathlon and of nnU-Net, versions 1 and 2."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.config import PathLike

from ...utils.command_line import typed_option
from ...utils.shown_names import shown_name
from ...utils.text_files import printable
from ..errors import DatalistError
from ..labels import BACKGROUND, BY_RULE, IGNORE, LabelSet, wrong_labels
from ..readers.limits import check_text
from ..root import existing_path, is_demo, structures_demo

__all__ = [
    "DATASET_JSON",
    "DatasetJson",
    "dataset_channels",
    "dataset_labels",
    "find_dataset_json",
    "is_described",
    "read_dataset_json",
]

logger = logging.getLogger(__name__)
DATASET_JSON = "dataset.json"
ONE_CLASS = {"lesion": BY_RULE}
AUTO = "auto"
CHANNEL_KEYS = ("channel_names", "modality")
OURS = ("labels", *CHANNEL_KEYS, "training", "file_ending")


@dataclass(frozen=True)
class DatasetJson:
    """Facts of a ``dataset.json``.

    Attributes:
        path: the file.
        labels: names and values, as :meth:`~medssm_monai.data.LabelSet.of` takes them, without the background.
        channel_names: of the image, in order; equal ones are numbered (``MRI_0``, ``MRI_1``).
        pairs: names, image files (one, or one per channel) and label files of the training part, where they are listed.
        unlabeled: how many images are listed without labels.
        file_ending: of all files, ``".nii.gz"``; empty where nothing says so.
    """

    path: Path
    labels: dict[str, Any]
    channel_names: tuple[str, ...]
    pairs: tuple[tuple[tuple[Path, ...], Path], ...] = ()
    unlabeled: int = 0
    file_ending: str = ""


def find_dataset_json(root: Path) -> Path | None:
    """The ``dataset.json`` of a folder; None where there is none."""
    path = root / DATASET_JSON
    return path if path.is_file() else None


def _content(path: Path) -> dict[str, Any]:
    check_text(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DatalistError(f"{path} is not valid JSON ({error}); correct it, or write the file again.") from error
    if not isinstance(content, dict):
        raise DatalistError(f"{path} holds no JSON object; expected labels and channel_names (nnU-Net) or modality.")
    return content


def is_described(path: Path) -> bool:
    """Whether a ``dataset.json`` has a key of the forms read here; another program's has none.

    Raises:
        DatalistError: not JSON.
    """
    return any(key in _content(path) for key in OURS)


def read_dataset_json(path: PathLike) -> DatasetJson:
    """Read and check a ``dataset.json``.

    Decathlon and nnU-Net 1: ``{"modality": {"0": "FLAIR"}, "labels": {"0": "background", "1": "edema"}, "training":
    [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}], "test": [...]}``; nnU-Net 2:
    ``{"channel_names": {"0": "T2"}, "labels": {"background": 0, "whole": [1, 2], "core": 2}, "regions_class_order":
    [1, 2], "file_ending": ".nii.gz"}``.

    Args:
        path: the file.

    Raises:
        DatalistError: not JSON, missing keys, other types, labels that :func:`~..labels.wrong_labels` refuses, a
            ``regions_class_order`` that no label map can follow.
        TooLargeError: more than 256 MiB.
    """
    path = Path(path)
    content = _content(path)
    missing = [name for name in ("labels",) if name not in content]
    missing += [] if any(key in content for key in CHANNEL_KEYS) else ["channel_names (or modality)"]
    if missing:
        raise DatalistError(f"{path} lacks {' and '.join(missing)}; its keys are {', '.join(map(str, content))}.")
    pairs = _listed_pairs(content, path)
    test = content.get("test", [])
    ending = content.get("file_ending", "")
    if not isinstance(ending, str) or not isinstance(test, list):
        raise DatalistError(f"{path}: file_ending is a text (.nii.gz) and test a list; got {ending!r}, {test!r:.80}.")
    return DatasetJson(path, _labels(content, path), _channels(content, path), pairs, len(test), ending)


def _labels(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    given = content["labels"]
    if not isinstance(given, dict) or not given:
        raise DatalistError(
            f"{path}: labels are names and values ({{'background': 0, 'liver': 1}}), got {given!r:.80}."
        )
    if all(str(key).isdecimal() and isinstance(name, str) for key, name in given.items()):  # Decathlon: value to name
        names = [name for _, name in sorted(((int(key), name) for key, name in given.items()))]
        if len(set(names)) < len(names):
            raise DatalistError(f"{path}: two labels have one name ({', '.join(names)}); rename one.")
        given = {name: int(key) for key, name in given.items()}
        given = {BACKGROUND if value == 0 else name: value for name, value in given.items()}
    problem = wrong_labels(given)
    if problem is not None:
        raise DatalistError(f"{path}: {problem}.")
    labels = {name: value for name, value in given.items() if name != BACKGROUND}
    if "regions_class_order" in content and any(
        isinstance(value, list) and len(value) > 1 for value in labels.values()
    ):
        labels = _ordered(labels, content["regions_class_order"], path)
    return labels


def _ordered(labels: Mapping[str, Any], order: Any, path: Path) -> dict[str, Any]:
    """Labels whose regions have in a label map the values that ``regions_class_order`` gives them."""
    names = [name for name in labels if name != IGNORE]
    whole = isinstance(order, list) and all(isinstance(v, int) and not isinstance(v, bool) for v in order)
    if not whole or len(order) != len(names):
        raise DatalistError(
            f"{path}: regions_class_order needs one number for each of {', '.join(names)}, got {order!r}."
        )
    found = dict(labels)
    for name, wanted in zip(names, order, strict=True):
        values = labels[name] if isinstance(labels[name], list) else [labels[name]]
        found[name] = (
            [wanted, *(v for v in values if v != wanted)] if wanted in values and len(values) > 1 else labels[name]
        )
    written = dict(zip(names, LabelSet.of(found).written, strict=True))
    wrong = [f"{name} {wanted}" for name, wanted in zip(names, order, strict=True) if written[name] != wanted]
    if wrong:
        raise DatalistError(
            f"{path}: regions_class_order gives {', '.join(wrong)}, but a label map can show a region only by one of "
            "its own values that no region named after it has; name larger regions first and give each such a value."
        )
    return found


def _channels(content: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    key = next(key for key in CHANNEL_KEYS if key in content)
    given = content[key]
    numbers = [str(number) for number in range(len(given))] if isinstance(given, dict) else []
    if not numbers or sorted(given) != sorted(numbers) or not all(isinstance(n, str) and n for n in given.values()):
        raise DatalistError(f'{path}: {key} is {{"0": "T1", "1": "T2"}}, numbered from 0, got {given!r:.80}.')
    names = [given[number] for number in numbers]
    return tuple(f"{n}_{number}" if names.count(n) > 1 else n for number, n in enumerate(names))


def _listed_pairs(content: Mapping[str, Any], path: Path) -> tuple[tuple[tuple[Path, ...], Path], ...]:
    """Of Decathlon's ``training`` and of nnU-Net's ``dataset``."""
    training, named = content.get("training", []), content.get("dataset", {})
    shape = 'training is a list of {"image": file, "label": file}'
    if not isinstance(training, list) or not isinstance(named, dict):
        raise DatalistError(f"{path}: {shape}, and dataset an object of them; got {training!r:.80}.")
    entries = [*training, *named.values()]
    pairs = []
    for number, entry in enumerate(entries):
        images = entry.get("image", entry.get("images")) if isinstance(entry, dict) else None
        images = [images] if isinstance(images, str) else images
        label = entry.get("label") if isinstance(entry, dict) else None
        if not isinstance(label, str) or not isinstance(images, list) or not images:
            raise DatalistError(f"{path}: {shape}; entry {number} is {entry!r:.120}.")
        if not all(isinstance(image, str) for image in images):
            raise DatalistError(f"{path}: {shape}; entry {number} is {entry!r:.120}.")
        pairs.append((tuple(_file(path, image) for image in images), _file(path, label)))
    said = content.get("numTraining")
    if training and isinstance(said, int) and said != len(training):
        logger.warning("%s: numTraining is %d, training lists %d", printable(shown_name(path)), said, len(training))
    return tuple(pairs)


def _file(path: Path, name: str) -> Path:
    return path.parent / Path(name.replace("\\", "/"))


def _of_folder(dataset_dir: PathLike, what: str) -> DatasetJson | None:
    root = existing_path(dataset_dir)
    path = find_dataset_json(root) if root.is_dir() else None
    if path is None:
        return None
    if not is_described(path):
        logger.warning("%s is of another program and says nothing about %s", printable(shown_name(path)), what)
        return None
    return read_dataset_json(path)


def dataset_labels(
    dataset_dir: PathLike, labels: str | Mapping[str, Any] = AUTO, spatial_dims: int = 2
) -> dict[str, Any]:
    """Names and values of the classes of a data set, as :meth:`~medssm_monai.data.LabelSet.of` takes them.

    Args:
        dataset_dir: folder, or the word for a demo set.
        labels: names and values, which are checked and returned; ``"auto"`` takes those of the folder's
            ``dataset.json``, else (and without one) ``{"lesion": "foreground"}``.
        spatial_dims: 2 or 3, of the demo set.

    Raises:
        FileNotFoundError: no such folder.
        DatalistError: a broken ``dataset.json``.
        ValueError: labels that are none.
    """
    if isinstance(labels, str) and labels == AUTO:
        if structures_demo(dataset_dir, spatial_dims):
            from ..demo.structures import STRUCTURES_DEMO_LABELS

            return dict(STRUCTURES_DEMO_LABELS)
        facts = None if is_demo(dataset_dir) else _of_folder(dataset_dir, "classes")
        return dict(ONE_CLASS if facts is None else facts.labels)
    problem = wrong_labels(labels)
    if problem is not None:
        raise ValueError(f"{problem}, or {AUTO!r}; got {labels!r}.")
    return dict(labels)  # type: ignore[arg-type]  # wrong_labels has looked


def check_channel_names(channel_names: Any) -> list[str]:
    """Names of channels as a list.

    Raises:
        ValueError: no list of different texts.
    """
    listed = isinstance(channel_names, Sequence) and not isinstance(channel_names, str)
    names = list(channel_names) if listed else []
    good = bool(names) and all(isinstance(name, str) and name.strip() for name in names)
    if not good or len({name.lower() for name in names}) < len(names):
        raise ValueError(
            f"channel_names are different names in the order of the channels, [t1, t2]; got {channel_names!r}."
        )
    return names


def dataset_channels(
    dataset_dir: PathLike, channel_names: str | Sequence[str] | None = AUTO, spatial_dims: int = 2
) -> list[str] | None:
    """Names of the channels of a data set's images.

    Args:
        dataset_dir: folder, or the word for a demo set.
        channel_names: names, which are checked and returned; ``"auto"`` takes those of the folder's ``dataset.json``;
            None says nothing.
        spatial_dims: 2 or 3, of the demo set.

    Returns:
        the names; None where nothing says them.

    Raises:
        FileNotFoundError, DatalistError, ValueError: as :func:`dataset_labels`.
    """
    channel_names = typed_option(channel_names, "channel_names") if isinstance(channel_names, str) else channel_names
    if channel_names is None:
        return None
    if channel_names != AUTO:
        return check_channel_names(channel_names)
    if structures_demo(dataset_dir, spatial_dims):
        from ..demo.structures import CHANNELS

        return list(CHANNELS[spatial_dims])
    facts = None if is_demo(dataset_dir) else _of_folder(dataset_dir, "channels")
    return None if facts is None else list(facts.channel_names)
