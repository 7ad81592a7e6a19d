"""Check of a datalist before a run: every offender is found first, then reported at once."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...utils.shown_names import shown_name
from ..errors import DatalistError, Problem
from ..readers.image import read_pixels
from ..readers.limits import TooLargeError
from ..readers.mask import Foreground, MaskFacts, check_foreground, data_set_problems, read_mask
from ..readers.series_files import SeriesFiles
from ..readers.volume import check_volume
from .picture_headers import open_image
from .volume_checks import wrong_kind

__all__ = ["check_pairs", "file_problem", "image_problem", "raise_for", "tell", "tell_turned"]

logger = logging.getLogger(__name__)


@dataclass
class _Finding:
    problems: list[Problem]
    mask: MaskFacts | None = None  # None: not looked at
    largest: float = 0.0
    turned: bool = False


def file_problem(error: Exception, path: str) -> Problem:
    """What an error of reading a file is called in a data set."""
    if isinstance(error, FileNotFoundError):
        return Problem("file not found", path)
    if isinstance(error, TooLargeError):
        return Problem("too large", path, _reason(error, path))
    if isinstance(error, PermissionError):
        return Problem("unreadable file", path, "permission denied")
    if isinstance(error, OSError):
        return Problem("unreadable file", path, _reason(error, path))
    return Problem("NaN or infinite values", path)


def _reason(error: Exception, path: str) -> str:
    return str(error).replace(f"{path}: ", "").splitlines()[0] if str(error) else type(error).__name__


def image_problem(path: str | SeriesFiles, full: bool, volume: bool = False) -> Problem | None:
    """What is wrong with one image file; None when it can be read.

    Args:
        path: the file, or the sorted files of a DICOM series.
        full: decode every byte, else read the size only.
        volume: a volume is expected; raster files are refused.
    """
    try:
        if volume or isinstance(path, SeriesFiles):
            check_volume(path)
        else:
            open_image(Path(path), full)
    except DatalistError as error:  # a folder of several DICOM series, or of none
        return error.problems[0]
    except (OSError, ValueError) as error:
        return file_problem(error, str(path))
    return None


def _check_pair(pair: Mapping[str, str], full: bool, foreground: Foreground) -> _Finding:
    finding = _Finding([])
    shapes = {}
    for key in ("image", "label"):
        path = pair[key]
        try:
            if key == "image":
                shapes[key], finding.turned = open_image(Path(path), full)
            elif not full:
                shapes[key], _ = open_image(Path(path), full)
            else:
                pixels = read_pixels(path)
                if not np.isfinite(pixels.values).all():
                    raise ValueError("NaN or infinite values")
                shapes[key] = pixels.values.shape[:2]
                finding.mask = read_mask(pixels, foreground)
                finding.largest = float(pixels.values.max())
        except (OSError, ValueError) as error:
            finding.problems.append(wrong_kind(path, 2) or file_problem(error, path))
    if len(shapes) == 2 and shapes["image"] != shapes["label"]:
        sizes = "image {} x {}, mask {} x {} (rows x columns)".format(*shapes["image"], *shapes["label"])
        hint = "; the image carries an EXIF rotation, which is not applied" if finding.turned else ""
        finding.problems.append(Problem("unequal sizes", pair["image"], f"{sizes}, mask {pair['label']}{hint}"))
    return finding


def check_pairs(
    parts: Mapping[str, Sequence[Mapping[str, str]]], level: str = "full", foreground: Foreground = "auto"
) -> list[Problem]:
    """Problems of all pairs of all parts: unreadable files, NaN, unequal sizes, masks whose values do not say what is
    foreground or that differ in it (one rule for the data set), parts whose masks are all empty.

    Args:
        parts: part name to items with ``"image"`` and ``"label"``.
        level: ``"full"`` decodes every file; ``"header"`` reads sizes only (no truncation, nothing of the masks is
            noticed).
        foreground: see :func:`~medssm_monai.data.readers.mask.read_mask`.

    Returns:
        every problem found, in the order of the items; empty when all is well.
    """
    if level not in ("full", "header"):
        raise ValueError(f"check must be 'full', 'header', True or False, got {level!r}.")
    foreground = check_foreground(foreground)
    problems: list[Problem] = []
    turned: list[str] = []
    masks: list[tuple[str, MaskFacts]] = []
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for part, pairs in parts.items():
            findings = list(pool.map(lambda pair: _check_pair(pair, level == "full", foreground), pairs))
            problems.extend(problem for finding in findings for problem in finding.problems)
            turned.extend(pair["image"] for pair, finding in zip(pairs, findings, strict=True) if finding.turned)
            found = [(pair["label"], f.mask) for pair, f in zip(pairs, findings, strict=True) if f.mask is not None]
            masks += found
            empty = not any(facts.mask.any() or facts.unclear for _, facts in found)
            if pairs and level == "full" and empty and not any(finding.problems for finding in findings):
                largest = max(finding.largest for finding in findings)
                where = str(Path(pairs[0]["label"]).parent)
                detail = f"{part} part, {len(pairs)} masks, largest value {largest:g}"
                problems.append(Problem("all masks empty", where, detail))
    problems += data_set_problems(masks)
    tell(masks)
    tell_turned(turned)
    return problems


def tell_turned(turned: Sequence[str]) -> None:
    """Warn of images that viewers turn and this program does not."""
    if turned:
        logger.warning(
            "EXIF orientation of %d image(s) is not applied: %s", len(turned), ", ".join(map(shown_name, turned))
        )


def tell(masks: Sequence[tuple[str, MaskFacts]]) -> None:
    """What was assumed about masks."""
    alpha = [path for path, facts in masks if facts.from_alpha]
    if alpha:
        logger.warning(
            "%d mask(s) of one color are read from their alpha channel, such as %s", len(alpha), shown_name(alpha[0])
        )
    faint = [(path, facts.faintest) for path, facts in masks if facts.faint]
    if faint:
        logger.warning(
            "%d mask(s) hold even areas of nearly black gray, up to %d of 255, taken as background (such as %s); if "
            "they are labels, say so with foreground",
            len(faint),
            max(gray for _, gray in faint),
            shown_name(faint[0][0]),
        )


def raise_for(problems: Sequence[Problem]) -> None:
    """Raise one :class:`DatalistError` with all problems, if there is any."""
    if problems:
        raise DatalistError(problems)
