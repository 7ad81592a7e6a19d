"""Finding image files and matching images with masks by name."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path

from .errors import DatalistError, Problem

__all__ = ["DICOM", "NIFTI", "RASTER", "file_kind", "file_stem", "list_images", "match_pairs", "natural_key"]

RASTER, NIFTI, DICOM = "raster", "nifti", "dicom"
SUFFIXES = {
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"), RASTER),
    **dict.fromkeys((".nii", ".nii.gz"), NIFTI),
    **dict.fromkeys((".dcm", ".dicom", ".ima"), DICOM),
}
MASK_ENDINGS = ("_segmentation", "_mask")
NOT_IMAGES = ("_superpixels",)  # ISIC 2017 ships these beside the images


def _suffix(path: Path) -> str:
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def file_kind(path: Path) -> str | None:
    """``"raster"``, ``"nifti"``, ``"dicom"``, or None for a file that is no image.

    By suffix, upper or lower case; a file without a known suffix is DICOM when it carries the ``DICM`` mark.
    """
    kind = SUFFIXES.get(_suffix(path))
    if kind is None and path.is_file() and (not path.suffix or path.suffix[1:].isdigit()):
        with path.open("rb") as file:
            head = file.read(132)
        kind = DICOM if head[128:] == b"DICM" else None
    return kind


def file_stem(path: Path) -> str:
    """File name without its image suffix (``.nii.gz`` counts as one suffix)."""
    suffix = _suffix(path)
    return path.name[: -len(suffix)] if suffix in SUFFIXES else path.name


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorting key with numbers by value: ``frame2`` before ``frame10``."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts if part]


def list_images(folder: Path) -> list[Path]:
    """Image files of a folder in natural order; hidden files, ``Thumbs.db`` and other non-images are passed over."""
    found = [
        path
        for path in folder.iterdir()
        if not path.name.startswith(".")
        and path.is_file()
        and file_kind(path) is not None
        and not file_stem(path).lower().endswith(NOT_IMAGES)
    ]
    return sorted(found, key=lambda path: natural_key(path.name))


def _bare(stem: str) -> str:
    for ending in MASK_ENDINGS:
        if stem.lower().endswith(ending) and len(stem) > len(ending):
            return stem[: -len(ending)]
    return stem


def _by_stem(paths: Iterable[Path], problems: list[Problem], known: Collection[str] = ()) -> dict[str, Path]:
    """Stem to path; with ``known`` image stems given, a mask ending is taken off stems that are not among them."""
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
    images = _by_stem(list_images(image_dir), problems)
    masks = _by_stem(list_images(mask_dir), problems, known=images.keys())
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
