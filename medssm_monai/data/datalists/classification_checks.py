"""Check of labeled images before a run: unreadable files, classes that are missing, images in two parts."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ...utils.shown_names import shown_text
from ...utils.text_files import printable
from ..errors import DatalistError, Problem
from ..readers.npz import npz_array, parse_npz_address
from ..readers.series_files import SeriesFiles
from .checks import image_problem
from .samples import Item
from .split_files import PARTS

__all__ = ["class_problems", "find_duplicates", "unreadable_images"]

logger = logging.getLogger(__name__)
Lists = dict[str, list[Item]]


def class_problems(lists: Mapping[str, Sequence[Item]], class_names: Sequence[str]) -> list[Problem]:
    """A data set of one class only, and classes without training image; other parts without a class only warn."""
    if len(class_names) < 2:
        return [Problem("one class only", ", ".join(class_names) or "no class")]
    problems = []
    for part in PARTS:
        labels = {item["label"] for item in lists[part]}
        missing = [label for label in range(len(class_names)) if label not in labels]
        if missing and lists[part] and part == "training":
            problems += [Problem("class without training image", class_names[label]) for label in missing]
        elif missing and lists[part]:
            counts = Counter(item["label"] for items in lists.values() for item in items)
            named = ", ".join(f"{class_names[label]} ({counts[label]} in all parts)" for label in missing)
            logger.warning(
                "%s part: no image of %s; some metrics are undefined there, others are means without it. More images, "
                "or a split file, would give it some.",
                part,
                printable(named),
            )
    return problems


def unreadable_images(lists: Mapping[str, Sequence[Item]], level: str, volumes: bool = False) -> list[Problem]:
    """Problems of all image files; ``level`` ``"full"`` decodes every byte, ``"header"`` reads sizes only.

    Images inside ``.npz`` files have been read with their array and are looked at for NaN only.
    """
    if level not in ("full", "header"):
        raise ValueError(f"check must be 'full', 'header', True or False, got {level!r}.")
    items = [item for part in PARTS for item in lists[part]]
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        found = pool.map(lambda item: _problem(item["image"], level == "full", volumes), items)
        return [problem for problem in found if problem is not None]


def _problem(image: str | SeriesFiles, full: bool, volumes: bool) -> Problem | None:
    address = None if isinstance(image, SeriesFiles) else parse_npz_address(image)
    if address is None:
        return image_problem(image, full, volumes)
    file, key, index = address
    if np.isfinite(npz_array(file, key)[index]).all():
        return None
    return Problem("NaN or infinite values", str(image))


def _digest(image: str | SeriesFiles) -> str:
    """SHA-256 of a file's bytes (of a series, of all its files), or of the values of an image in an ``.npz`` file."""
    if isinstance(image, SeriesFiles):
        return hashlib.sha256("".join(_digest(str(file)) for file in image.files).encode()).hexdigest()
    address = parse_npz_address(image)
    if address is not None:
        file, key, index = address
        return hashlib.sha256(np.ascontiguousarray(npz_array(file, key)[index]).data).hexdigest()
    try:
        with open(image, "rb") as stream:
            return hashlib.sha256(stream.read()).hexdigest()
    except OSError:  # reported as unreadable
        return image


def _size(image: str | SeriesFiles) -> int:
    if isinstance(image, SeriesFiles):
        return sum(_size(str(file)) for file in image.files)
    try:
        return 0 if parse_npz_address(image) else Path(image).stat().st_size
    except OSError:
        return -1


def find_duplicates(lists: Mapping[str, Sequence[Item]]) -> list[list[tuple[str, Item]]]:
    """Groups of images with equal content that lie in more than one part, as (part, item), training first.

    Equal content means equal bytes of the file, or equal values in an ``.npz`` file; only files of one length are read.
    """
    by_size: dict[int, list[tuple[str, Item]]] = defaultdict(list)
    for part in PARTS:
        for item in lists[part]:
            by_size[_size(item["image"])].append((part, item))
    groups: dict[str, list[tuple[str, Item]]] = defaultdict(list)
    for size, members in by_size.items():
        if size >= 0 and len({part for part, _ in members}) > 1:
            for member in members:
                groups[_digest(member[1]["image"])].append(member)
    return [members for members in groups.values() if len({part for part, _ in members}) > 1]


def treat_duplicates(lists: Lists, mode: str) -> Lists:
    """Images with equal content in two parts: reported (``"warn"``), taken out of the earlier part (``"drop"``: test
    stays whole, validation yields to it, training to both), an error (``"error"``), or not looked for (``"ignore"``).

    Raises:
        DatalistError: ``"error"``, all groups at once.
        ValueError: unknown mode.
    """
    if mode not in ("warn", "drop", "error", "ignore"):
        raise ValueError(f"duplicates must be 'warn', 'drop', 'error' or 'ignore', got {mode!r}.")
    groups = find_duplicates(lists) if mode != "ignore" else []
    if not groups:
        return lists
    lines = [" = ".join(f"{item['image']} ({part})" for part, item in members) for members in groups]
    if mode == "error":
        raise DatalistError([Problem("same image in two parts", line) for line in lines])
    removed = "; those of the earlier part are left out" if mode == "drop" else ""
    listed = printable(shown_text("\n  ".join(lines)))
    logger.warning("%d image(s) lie in more than one part%s:\n  %s", len(groups), removed, listed)
    if mode == "warn":
        return lists
    dropped = set()
    for members in groups:
        last = max(PARTS.index(part) for part, _ in members)
        dropped |= {item["name"] for part, item in members if PARTS.index(part) < last}
    return {part: [item for item in lists[part] if item["name"] not in dropped] for part in PARTS}
