"""Folder layouts of volumes, and of images whose channels have files of their own: the Decathlon's, nnU-Net's, and one
folder for each case as BraTS has them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...utils.shown_names import shown_name
from ...utils.text_files import printable
from ..errors import DatalistError, Problem
from ..readers.files import file_kind_by_suffix, file_stem, list_images, match_stems
from .channel_files import Cases, channel_of, named_cases, numbered_cases, single_cases
from .dataset_json import DatasetJson, find_dataset_json, is_described, read_dataset_json
from .folder_names import named_folder, visible_folders
from .segmentation_parts import Parts

__all__ = [
    "cases_layout",
    "decathlon_layout",
    "folder_cases",
    "holds_cases",
    "lists_pairs",
    "named_pairs",
    "nnunet_layout",
]

logger = logging.getLogger(__name__)
MASK = "seg"


def _described(root: Path) -> DatasetJson | None:
    path = find_dataset_json(root)
    return read_dataset_json(path) if path is not None and is_described(path) else None


def lists_pairs(root: Path) -> bool:
    """Whether the ``dataset.json`` of a folder lists pairs of files that lie there under these names; nnU-Net 1 lists
    them without the numbers of their channels.

    Raises:
        DatalistError: a broken ``dataset.json``.
    """
    facts = _described(root)
    return facts is not None and any(file.exists() for images, _ in facts.pairs for file in images)


def decathlon_layout(root: Path, channel_names: Sequence[str] | None = None) -> Parts:
    """The pairs that ``dataset.json`` lists as ``training``; images that it lists as ``test`` have no labels and are
    left out.

    Raises:
        DatalistError: no ``dataset.json`` with pairs.
    """
    facts = _described(root)
    if facts is None or not facts.pairs:
        raise DatalistError(f"{root}: no dataset.json that lists training pairs; the decathlon layout has one.")
    parts = Parts()
    names: dict[str, Path] = {}
    for images, label in facts.pairs:
        name = file_stem(label)
        missing = [file for file in (*images, label) if not file.is_file()]
        parts.problems += [Problem("file not found", str(file), f"listed in {facts.path.name}") for file in missing]
        if name in names:
            parts.problems.append(Problem("two files with one name", str(label), f"also {names[name]}"))
        elif not missing:
            parts.add_cases("training", {name: list(images)}, {name: label})
        names.setdefault(name, label)
    if facts.unlabeled:
        logger.info("%s: %d test image(s) without labels left out", printable(shown_name(root)), facts.unlabeled)
    return parts


def _with_ending(folder: Path, ending: str) -> list[Path]:
    """Image files of a folder that have the ending of the data set."""
    files = list_images(folder)
    kept = [path for path in files if path.name.lower().endswith(ending.lower())]
    if len(kept) < len(files):
        left = next(path for path in files if path not in kept)
        logger.warning(
            "%s: %d file(s) that do not end in %s are left out, such as %s",
            printable(shown_name(folder)),
            len(files) - len(kept),
            ending,
            printable(left.name),
        )
    if not kept:
        raise DatalistError([Problem("no images", str(folder), f"none that ends in {ending}" if ending else "")])
    return kept


def nnunet_layout(root: Path, channel_names: Sequence[str] | None = None) -> Parts:
    """nnU-Net's raw data: ``imagesTr/<case>_0000.nii.gz`` (``_0001``: the second channel), ``labelsTr/<case>.nii.gz``;
    ``imagesTs`` is the test part where there is a ``labelsTs``. Any format that is read here; ``file_ending`` of
    ``dataset.json`` counts.

    Raises:
        DatalistError: folders that are missing or empty, a ``file_ending`` that is not read.
    """
    folders = {name: named_folder(root, (name,)) for name in ("imagesTr", "labelsTr", "imagesTs", "labelsTs")}
    images, labels = folders["imagesTr"], folders["labelsTr"]
    if images is None or labels is None:
        raise DatalistError(f"{root}: the nnunet layout needs imagesTr/ and labelsTr/; found {_present(root)}.")
    facts = _described(root)
    ending = facts.file_ending if facts is not None else ""
    if ending and file_kind_by_suffix(Path(f"x{ending}")) is None:
        raise DatalistError(
            f"{root}: files ending in {ending} are not read here; convert them to .nii.gz (volumes) or .png "
            "(pictures), and say so as file_ending in dataset.json."
        )
    channels = facts.channel_names if channel_names is None and facts is not None else channel_names
    parts = Parts()
    _add_numbered(parts, "training", images, labels, ending, channels)
    if folders["imagesTs"] is not None and folders["labelsTs"] is not None:
        _add_numbered(parts, "test", folders["imagesTs"], folders["labelsTs"], ending, channels)
    elif folders["imagesTs"] is not None:
        logger.info("%s: no labelsTs beside it, left out", printable(shown_name(folders["imagesTs"])))
    return parts


def _present(root: Path) -> str:
    return ", ".join(sorted(path.name for path in root.iterdir())[:20]) or "an empty folder"


def _add_numbered(
    parts: Parts, part: str, image_dir: Path, label_dir: Path, ending: str, channels: Sequence[str] | None
) -> None:
    problems: list[Problem] = []
    cases = numbered_cases(_with_ending(image_dir, ending), channels, problems, image_dir)
    labels = {name: files[0] for name, files in single_cases(_with_ending(label_dir, ending), problems).items()}
    parts.problems += problems
    parts.add_cases(part, cases, labels, {Path(problem.path).name for problem in problems})


def named_pairs(parts: Parts, part: str, image_dir: Path, mask_dir: Path, channel_names: Sequence[str]) -> None:
    """Append images of ``<name>_<channel>`` files, or of one file each, with the masks of their names."""
    problems: list[Problem] = []
    cases = named_cases(list_images(image_dir), channel_names, problems, image_dir, optional=True)
    told = {Path(problem.path).name for problem in problems}
    masks = match_stems(list_images(mask_dir), problems, known=[*cases, *told])
    for folder, found in ((image_dir, cases or told), (mask_dir, masks)):
        if not found:
            problems.append(Problem("no images", str(folder)))
    parts.problems += problems
    parts.add_cases(part, cases, masks, told)


def holds_cases(root: Path) -> bool:
    """Whether a subfolder holds an image file that ends in ``_seg`` or ``-seg``."""
    return any(
        file_kind_by_suffix(path) is not None and channel_of(file_stem(path), [MASK]) is not None
        for folder in visible_folders(root)
        for path in sorted(folder.iterdir())
    )


def folder_cases(
    root: Path, channel_names: Sequence[str], problems: list[Problem]
) -> tuple[Cases, dict[str, list[Path]]]:
    """Images of which each has a folder with one file per channel, and the mask files of each folder."""
    cases: Cases = {}
    masks: dict[str, list[Path]] = {}
    for folder in visible_folders(root):
        files = list_images(folder, report=False)
        told = {path: channel_of(file_stem(path), [*channel_names, MASK]) for path in files}
        masks[folder.name] = [path for path, channel in told.items() if channel is not None and channel[1] == MASK]
        found = [_of_channel(told, name, folder.name) for name in channel_names]
        missing = [name for name, paths in zip(channel_names, found, strict=True) if not paths]
        several = [path for paths in found for path in paths[1:]]
        problems += [Problem("two files with one name", str(path), "one file per channel") for path in several]
        if missing and files:
            problems.append(Problem("missing channels", str(folder), f"no {', '.join(missing)}"))
        elif not missing and not several:
            cases[folder.name] = [paths[0] for paths in found]
    return cases, masks


def _of_channel(told: Mapping[Path, tuple[str, str] | None], name: str, case: str) -> list[Path]:
    """Files of a channel: those called after the folder, where there are such (``a_t1`` in ``a``, not ``a_ce_t1``)."""
    found = [(path, own[0]) for path, own in told.items() if own is not None and own[1] == name]
    exact = [path for path, before in found if before == case]
    return exact or [path for path, _ in found]


def cases_layout(root: Path, channel_names: Sequence[str] | None = None) -> Parts:
    """One folder for each case, as BraTS has them: a file for each channel, its name ending in ``_<channel>`` (or
    ``-<channel>``), and the mask in ``_seg``. Other files beside them are left out.

    Raises:
        DatalistError: no names of channels, and none in a ``dataset.json``.
    """
    facts = _described(root) if channel_names is None else None
    names = facts.channel_names if facts is not None else channel_names
    if not names:
        raise DatalistError(
            f'{root}: a folder for each case needs the names of the channels, --channel_names "[t1,t2]"; the files '
            f"there end in {', '.join(_endings(root)) or 'nothing known'}."
        )
    parts = Parts()
    problems: list[Problem] = []
    cases, masks = folder_cases(root, names, problems)
    problems += [
        Problem("two files with one name", str(path), f"also {paths[0].name}")
        for paths in masks.values()
        for path in paths[1:]
    ]
    told = {Path(problem.path).name for problem in problems}
    parts.problems += problems
    parts.add_cases("training", cases, {name: paths[0] for name, paths in masks.items() if paths}, told)
    return parts


def _endings(root: Path) -> list[str]:
    """What the names of files end in after their last underscore or hyphen."""
    stems = (file_stem(path) for folder in visible_folders(root)[:50] for path in list_images(folder, report=False))
    return sorted({stem.replace("-", "_").rpartition("_")[2] for stem in stems})[:12]
