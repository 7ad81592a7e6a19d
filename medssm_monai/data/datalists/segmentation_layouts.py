"""Public folder layouts of 2D segmentation data, one function each, as lists of image and mask pairs; those of volumes
and channel files are in :mod:`.case_layouts`."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from ...utils.shown_names import shown_name
from ..errors import DatalistError
from ..readers.files import natural_key
from .case_layouts import cases_layout, decathlon_layout, holds_cases, lists_pairs, named_pairs, nnunet_layout
from .dicom_layout import holds_dicom
from .folder_names import IMAGE_FOLDERS, MASK_FOLDERS, named_folder
from .segmentation_parts import Pairs, Parts
from .split_rules import every_tenth

__all__ = ["DICOM_LAYOUT", "LAYOUTS", "Parts", "detect_layout", "isic_layout", "plain_layout", "pranet_layout"]

logger = logging.getLogger(__name__)
ISIC_IMAGES = (
    r"ISIC-2017_{part}(_v2)?_Data(_\d+)?",
    r"ISIC[-_]?2018_Task1-2_{part}_Input(_\d+)?",
    r"ISBI2016_ISIC_Part1_{part}_Data(_\d+)?",
)
ISIC_MASKS = (
    r"ISIC-2017_{part}(_v2)?_Part1_GroundTruth(_\d+)?",
    r"ISIC[-_]?2018_Task1_{part}_GroundTruth(_\d+)?",
    r"ISBI2016_ISIC_Part1_{part}_GroundTruth(_\d+)?",
)


def _image_mask_folders(root: Path) -> tuple[Path, Path]:
    image_dir, mask_dir = named_folder(root, IMAGE_FOLDERS), named_folder(root, MASK_FOLDERS)
    if image_dir is None or mask_dir is None:
        present = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
        raise DatalistError(
            f"{root} needs one folder named {' or '.join(IMAGE_FOLDERS)} and one named {' or '.join(MASK_FOLDERS)}; "
            f"its subfolders are {present or 'none'}. Rename them or point dataset_dir elsewhere."
        )
    return image_dir, mask_dir


def plain_layout(root: Path, channel_names: Sequence[str] | None = None) -> Parts:
    """``images/`` and ``masks/`` (or ``labels/``) with equal stems, all in the training part and without a rule: the
    parts are still to be drawn. Files ``<name>_<channel>`` of several named channels belong together."""
    parts = Parts()
    folders = _image_mask_folders(root)
    if channel_names is not None and len(channel_names) > 1:
        named_pairs(parts, "training", *folders, channel_names)
    else:
        parts.add("training", *folders)
    return parts


def cut_pranet_validation(pairs: Pairs) -> tuple[Pairs, Pairs]:
    """Training and validation part of PraNet's training set, a tenth for validation.

    Names that are plain numbers are frames of the ClinicDB videos: their last tenth is cut as one block, so that
    neighboring frames stay on one side. Of the other names (Kvasir stills) every 10th in natural order is taken.
    """
    frames = [pair for pair in pairs if pair["name"].isdecimal()]
    stills = [pair for pair in pairs if not pair["name"].isdecimal()]
    cut = len(frames) - len(frames) // 10
    validation = every_tenth(stills)[1] + frames[cut:]
    chosen = {pair["name"] for pair in validation}
    return [pair for pair in pairs if pair["name"] not in chosen], validation


def pranet_layout(root: Path, channel_names: Sequence[str] | None = None) -> Parts:
    """PraNet's polyp layout: ``TrainDataset/{image,mask}`` and ``TestDataset/<name>/{images,masks}``.

    Test items carry ``"dataset"``: the name of their test set. Validation: see :func:`cut_pranet_validation`.
    """
    parts = Parts(rule="a tenth of TrainDataset for validation, TestDataset for test")
    train, test = named_folder(root, ("TrainDataset",)), named_folder(root, ("TestDataset",))
    if train is not None:
        parts.add("training", *_image_mask_folders(train))
        parts.training, parts.validation = cut_pranet_validation(parts.training)
    for folder in sorted(test.iterdir(), key=lambda path: natural_key(path.name)) if test is not None else ():
        if folder.is_dir() and not folder.name.startswith("."):
            parts.add("test", *_image_mask_folders(folder), dataset=folder.name)
    return parts


def _isic_folders(root: Path, part: str) -> tuple[Path | None, Path | None]:
    def find(patterns: tuple[str, ...]) -> Path | None:
        rules = [re.compile(pattern.format(part=part), re.IGNORECASE) for pattern in patterns]
        folders = sorted(path for path in root.iterdir() if path.is_dir())
        return next((folder for folder in folders if any(rule.fullmatch(folder.name) for rule in rules)), None)

    return find(ISIC_IMAGES), find(ISIC_MASKS)


def isic_layout(root: Path, channel_names: Sequence[str] | None = None) -> Parts:
    """ISIC 2016, 2017 and 2018 segmentation folders, as unpacked from the challenge archives.

    With one of the Validation and Test sets at hand, it is the test part, and every 10th training image in sorted
    order (the first included) is the validation part. With both at hand the official three parts are used.
    """
    parts = Parts()
    found = {}
    for part in ("Training", "Validation", "Test"):
        images, masks = _isic_folders(root, part)
        if images is not None and masks is not None:
            found[part] = (images, masks)
        elif images is not None:
            logger.info("%s: no ground truth beside it, left out", shown_name(images))
    if "Training" in found:
        parts.add("training", *found["Training"])
    if "Test" in found and "Validation" in found:
        parts.add("validation", *found["Validation"])
        parts.add("test", *found["Test"])
        parts.rule = "the official Training, Validation and Test sets"
        return parts
    parts.rule = "every 10th training image in sorted order for validation, the other official set for test"
    parts.training, parts.validation = every_tenth(parts.training)
    for part in ("Test", "Validation"):
        if part in found:
            parts.add("test", *found[part])
    return parts


DICOM_LAYOUT = "dicom"
"""Name of the layout of :mod:`.dicom_layout`, which needs to know more than a folder."""
LAYOUTS: dict[str, Callable[[Path, Sequence[str] | None], Parts]] = {
    "pranet": pranet_layout,
    "isic": isic_layout,
    "plain": plain_layout,
    "decathlon": decathlon_layout,
    "nnunet": nnunet_layout,
    "cases": cases_layout,
}
"""Name of a layout, and what makes parts of a folder and the names of channels, where these are known."""


def detect_layout(root: Path) -> str:
    """Name of the layout that a folder shows.

    Raises:
        DatalistError: none of the layouts is recognized.
    """
    if named_folder(root, ("TrainDataset", "TestDataset")) is not None:
        return "pranet"
    if any(None not in _isic_folders(root, part) for part in ("Training", "Validation", "Test")):
        return "isic"
    if named_folder(root, IMAGE_FOLDERS) is not None and named_folder(root, MASK_FOLDERS) is not None:
        return "plain"
    if lists_pairs(root):
        return "decathlon"
    if named_folder(root, ("imagesTr",)) is not None and named_folder(root, ("labelsTr",)) is not None:
        return "nnunet"
    if holds_cases(root):
        return "cases"
    if holds_dicom(root):
        return DICOM_LAYOUT
    present = sorted(path.name for path in root.iterdir())[:20]
    raise DatalistError(
        f"{root}: no known layout. Expected TrainDataset/ and TestDataset/ (PraNet), ISIC-2017_Training_Data/ and "
        "ISIC-2017_Training_Part1_GroundTruth/ or their 2018 names (ISIC), images/ and masks/ (plain), a dataset.json "
        "that lists pairs (Decathlon), imagesTr/ and labelsTr/ (nnU-Net), a folder for each case with NAME_seg "
        "in it (cases), or nothing but DICOM files (dicom); found "
        f"{present or 'an empty folder'}. Point dataset_dir at the folder that holds them."
    )
