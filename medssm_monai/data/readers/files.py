"""Finding image files and matching images with masks by name."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path

from ...utils.shown_names import shown_name
from ...utils.text_files import printable
from ..errors import DatalistError, Problem
from .dicom_headers import is_dicom, object_without_pixels

__all__ = [
    "DICOM",
    "NIFTI",
    "RASTER",
    "file_kind",
    "file_kind_by_suffix",
    "file_stem",
    "list_images",
    "match_pairs",
    "match_stems",
    "natural_key",
]

logger = logging.getLogger(__name__)
RASTER, NIFTI, DICOM = "raster", "nifti", "dicom"
SUFFIXES = {
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".gif", ".webp"), RASTER),
    **dict.fromkeys((".nii", ".nii.gz"), NIFTI),
    **dict.fromkeys((".dcm", ".dicom", ".ima"), DICOM),
}
MASK_ENDINGS = ("_segmentation", "_mask")
NOT_IMAGES = ("_superpixels",)  # ISIC 2017 ships these beside the images
SYSTEM_FILES = ("thumbs.db", "ehthumbs.db", "desktop.ini")  # Windows puts them into folders
NOTES = (".txt", ".md", ".csv", ".tsv", ".json", ".xml", ".yaml", ".yml", ".html", ".htm", ".pdf", ".log", ".ini")


def _suffix(path: Path) -> str:
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def file_kind_by_suffix(path: Path) -> str | None:
    """``"raster"``, ``"nifti"``, ``"dicom"`` or None by the suffix alone, upper or lower case."""
    return SUFFIXES.get(_suffix(path))


def file_kind(path: Path) -> str | None:
    """``"raster"``, ``"nifti"``, ``"dicom"``, or None for a file that is no image.

    By suffix, upper or lower case; a file without a known suffix is DICOM when it carries the ``DICM`` mark. A
    ``DICOMDIR`` is the index of a medium and no image.
    """
    kind = file_kind_by_suffix(path)
    if kind is None and path.is_file() and (not path.suffix or path.suffix[1:].isdigit()):
        kind = DICOM if path.name.upper() != "DICOMDIR" and is_dicom(path) else None
    return kind


def file_stem(path: Path) -> str:
    """File name without its image suffix (``.nii.gz`` counts as one suffix)."""
    suffix = _suffix(path)
    return path.name[: -len(suffix)] if suffix in SUFFIXES else path.name


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorting key with numbers by value: ``frame2`` before ``frame10``."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts if part]


def _set_aside(path: Path, kind: str | None) -> str | None:
    """Why a file of a folder is no image to be used, as it is counted; None for one that is."""
    if path.name.upper() == "DICOMDIR":
        return object_without_pixels(path)
    if kind is None:
        return _suffix(path) or "no suffix"
    if file_stem(path).lower().endswith(NOT_IMAGES):
        return next(ending for ending in NOT_IMAGES if file_stem(path).lower().endswith(ending))
    return object_without_pixels(path) if kind == DICOM else None


def _report(folder: Path, reasons: Counter[str]) -> None:
    """One line for all files of a folder that were passed over, loud where images may be among them."""
    if reasons:
        expected = {*NOTES, *NOT_IMAGES, *SYSTEM_FILES}
        level = logging.INFO if reasons.keys() <= expected else logging.WARNING
        kinds = ", ".join(f"{reason} ({count})" for reason, count in sorted(reasons.items()))
        total = sum(reasons.values())
        logger.log(
            level, "%s: %d file%s passed over: %s", printable(shown_name(folder)), total, "s" * (total > 1), kinds
        )


def list_images(folder: Path, report: bool = True) -> list[Path]:
    """Image files of a folder in natural order.

    Everything else is passed over: hidden files, ``Thumbs.db`` and the like without a word, the rest counted by suffix
    in one line of the log, DICOM objects without pixels (``DICOMDIR``, reports, presentation states, structure sets)
    by what they are.

    Args:
        folder: the folder; its subfolders are not looked at.
        report: False says nothing, for callers that only look.

    Raises:
        DatalistError: links that lead nowhere and are named like images: the data are not there.
    """
    found: list[Path] = []
    dead: list[Path] = []
    reasons: Counter[str] = Counter()
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_symlink() and not path.exists():
            if file_kind_by_suffix(path) is not None or not path.suffix or path.suffix[1:].isdigit():
                dead.append(path)
            else:
                reasons[_suffix(path)] += 1
        elif path.is_file():
            reason = path.name.lower() if path.name.lower() in SYSTEM_FILES else _set_aside(path, file_kind(path))
            if reason is None:
                found.append(path)
            elif reason not in SYSTEM_FILES:
                reasons[reason] += 1
    if dead:
        example = min(dead, key=lambda path: natural_key(path.name))
        number = "1 link leads" if len(dead) == 1 else f"{len(dead)} links lead"
        detail = f"{number} nowhere, for example {example.name}"
        raise DatalistError([Problem("dead links", str(folder), detail)])
    if report:
        _report(folder, reasons)
    return sorted(found, key=lambda path: natural_key(path.name))


def _bare(stem: str) -> str:
    for ending in MASK_ENDINGS:
        if stem.lower().endswith(ending) and len(stem) > len(ending):
            return stem[: -len(ending)]
    return stem


def match_stems(paths: Iterable[Path], problems: list[Problem], known: Collection[str] = ()) -> dict[str, Path]:
    """Stem to path, two of one stem being a problem; with ``known`` image stems given, a mask ending is taken off stems
    that are not among them."""
    found: dict[str, Path] = {}
    for path in paths:
        stem = file_stem(path)
        stem = _bare(stem) if known and stem not in known else stem
        if stem in found:
            problems.append(Problem("two files with one name", str(path), f"also {found[stem].name}"))
        else:
            found[stem] = path
    return found


def match_pairs(image_dir: Path, mask_dir: Path) -> tuple[list[dict[str, str]], list[Problem]]:
    """Pair the images of one folder with the masks of another by equal stem.

    A mask's stem may end in ``_segmentation`` or ``_mask``; suffixes may differ. Returns the pairs in natural order
    and the problems found (images without mask, masks without image, two files with one stem).

    Raises:
        DatalistError: a folder without any image or mask file.
    """
    problems: list[Problem] = []
    images = match_stems(list_images(image_dir), problems)
    masks = match_stems(list_images(mask_dir), problems, known=images.keys())
    for folder, found in ((image_dir, images), (mask_dir, masks)):
        if not found:
            raise DatalistError([Problem("no images", str(folder))])
    for stem in images.keys() - masks.keys():
        problems.append(Problem("image without mask", str(images[stem])))
    for stem in masks.keys() - images.keys():
        problems.append(Problem("mask without image", str(masks[stem])))
    pairs = [
        {"image": str(images[stem]), "label": str(masks[stem]), "name": stem}
        for stem in sorted(images.keys() & masks.keys(), key=natural_key)
    ]
    return pairs, sorted(problems, key=lambda problem: natural_key(problem.path))
