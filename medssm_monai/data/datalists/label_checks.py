"""Check of a data set of volumes, of several classes or of channel files: every offender is found, then reported at
once."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...utils.shown_names import shown_name
from ...utils.text_files import printable
from ..errors import ImageReadError, Problem
from ..labels import LARGEST, LabelSet
from ..readers.image import read_pixels
from ..readers.label_indices import read_label_indices
from ..readers.label_map import read_label_map
from ..readers.mask import Foreground, MaskFacts, MaskValuesError, check_foreground, data_set_problems, read_mask
from ..readers.segment_labels import SegmentFiles
from ..readers.segments import SegmentsError
from ..readers.series_files import SeriesFiles
from .checks import file_problem, tell, tell_turned
from .segmentation_parts import image_files
from .volume_checks import FileFacts, case_problems, look, wrong_kind

__all__ = ["check_cases"]

logger = logging.getLogger(__name__)
Items = Sequence[Mapping[str, Any]]
WORKERS = {2: 8, 3: 4}  # a volume lies in memory whole
COLOR_CHANNELS = (1, 3)  # a picture is read as gray or as color, whatever its file has


@dataclass
class _Finding:
    problems: list[Problem] = field(default_factory=list)
    channels: int = 0  # 0: not known
    unplaced: list[str] = field(default_factory=list)
    turned: list[str] = field(default_factory=list)
    mask: MaskFacts | None = None  # of one class by rule in pictures
    values: set[int] | None = None  # of others, 0 and 1 of one class by rule; None: not looked at
    label: int = 0  # the foreground's value in a volume of one class by rule; 0: none, or said
    largest: float = 0.0


def check_cases(
    parts: Mapping[str, Items],
    labels: LabelSet,
    spatial_dims: int,
    channel_names: Sequence[str] | None = None,
    level: str = "full",
    foreground: Foreground = "auto",
) -> list[Problem]:
    """Problems of all items of all parts: unreadable files, pictures among volumes and the other way round, NaN, other
    numbers of channels, unequal shapes and places, no spacing, values that ``labels`` do not name, labels of which
    nothing is labeled, parts whose labels are all empty. Classes that no training label has are warned of.

    Args:
        parts: part name to items with ``"image"`` (a file or a list of them) and ``"label"``.
        labels: what the values of labels mean.
        spatial_dims: 2 or 3.
        channel_names: of the images; None: all have the same number.
        level: ``"full"`` decodes every file, ``"header"`` reads headers only.
        foreground: of one class by rule, see :func:`~medssm_monai.data.readers.mask.read_mask`.

    Returns:
        every problem found, in the order of the items; empty when all is well.
    """
    if level not in ("full", "header"):
        raise ValueError(f"check must be 'full', 'header', True or False, got {level!r}.")
    foreground, full = check_foreground(foreground), level == "full"
    problems: list[Problem] = []
    found: dict[str, list[_Finding]] = {}
    workers = min(WORKERS[spatial_dims], os.cpu_count() or 1)
    with ThreadPoolExecutor(max_workers=workers) as pool:
        for part, items in parts.items():
            check = lambda item: _check(item, labels, spatial_dims, full, foreground)  # noqa: E731
            found[part] = list(pool.map(check, items))
            problems += [problem for finding in found[part] for problem in finding.problems]
            if items and full and not any(finding.problems for finding in found[part]):
                problems += _empty(part, items, found[part], labels)
    every = [(item, f) for part, items in parts.items() for item, f in zip(items, found[part], strict=True)]
    problems += _channel_problems(every, channel_names, spatial_dims)
    masks = [(item["label"], finding.mask) for item, finding in every if finding.mask is not None]
    problems += data_set_problems(masks) + _several_values(every)
    tell(masks)
    _warn(every, found.get("training", []), labels)
    return problems


def _check(
    item: Mapping[str, Any], labels: LabelSet, spatial_dims: int, full: bool, foreground: Foreground
) -> _Finding:
    finding = _Finding()
    images: list[FileFacts] = []
    image = item["image"]
    for path in image if isinstance(image, (list, tuple)) else [image]:
        facts = _looked_at(path if isinstance(path, SeriesFiles) else str(path), spatial_dims, full, finding)
        images += [facts] if facts is not None else []
    path = item["label"]
    label = (
        _label(path, labels, spatial_dims, foreground, finding)
        if full
        else _looked_at(path, spatial_dims, False, finding)
    )
    if len(images) == len(image_files(item)):
        finding.channels = sum(f.channels for f in images) if all(f.channels for f in images) else 0
        finding.problems += case_problems(item, images, label, str(path))
        finding.unplaced = [path for path, facts in zip(image_files(item), images, strict=True) if facts.unplaced]
        finding.turned = [path for path, facts in zip(image_files(item), images, strict=True) if facts.turned]
    return finding


def _looked_at(
    path: str | SeriesFiles | SegmentFiles, spatial_dims: int, full: bool, finding: _Finding
) -> FileFacts | None:
    if isinstance(path, SegmentFiles):
        return FileFacts(path.grid.shape, 1, path.grid.affine if spatial_dims == 3 else None)
    problem = wrong_kind(path, spatial_dims) if isinstance(path, str) else None
    if problem is None:
        try:
            return look(path, spatial_dims, full)
        except (OSError, ValueError) as error:
            problem = file_problem(error, str(path))
    finding.problems.append(problem)
    return None


def _label(
    path: str | SegmentFiles, labels: LabelSet, spatial_dims: int, foreground: Foreground, finding: _Finding
) -> FileFacts | None:
    """Facts of a label file; what it holds goes into the finding."""
    header = _looked_at(path, spatial_dims, False, finding)
    if header is None:
        return None
    name = str(path)
    try:
        if labels.by_rule and spatial_dims == 2 and not isinstance(path, SegmentFiles):
            pixels = read_pixels(path)
            if not np.isfinite(pixels.values).all():
                raise ImageReadError(f"{path}: NaN or infinite values; repair the file or leave it out")
            finding.mask = read_mask(pixels, foreground)
            finding.largest = float(pixels.values.max())
            return header
        values, _ = read_label_map(path, spatial_dims)
    except OSError as error:
        finding.problems.append(file_problem(error, name))
        return None
    except SegmentsError as error:
        finding.problems.append(Problem(error.kind, name, _short(error, name)))
        return header
    except ValueError as error:
        finding.problems.append(Problem("no label map", name, _short(error, name)))
        return header
    finding.values, finding.largest = _values(values), float(values.max())
    if labels.by_rule and isinstance(path, SegmentFiles):
        return header
    if labels.by_rule:
        _by_rule(values, name, labels, foreground, finding)
    elif not finding.values <= set(labels.known):
        try:
            labels.to_indices(torch.from_numpy(values), name)
        except ValueError as error:
            finding.problems.append(Problem("unknown labels", name, _short(error, name)))
    elif finding.values == {labels.ignore}:
        finding.problems.append(Problem("nothing labeled", name, f"every value is {labels.ignore} (ignore)"))
    return header


def _by_rule(values: np.ndarray, path: str, labels: LabelSet, foreground: Foreground, finding: _Finding) -> None:
    """One class of a volume, as the loader of labels tells it."""
    try:
        indices, _ = read_label_indices(values, labels, 3, foreground)
    except MaskValuesError as error:
        finding.problems.append(Problem("unclear mask", path, str(error).partition(": ")[2].partition(";")[0]))
        return
    finding.label = int(values.max()) if foreground == "auto" and indices.any() else 0
    finding.values = {0, 1} if indices.any() else {0}


def _several_values(every: Sequence[tuple[Mapping[str, Any], _Finding]]) -> list[Problem]:
    """Volumes of one class by rule, which is one value in some masks and another in others."""
    paths: dict[int, list[str]] = {}
    for item, finding in every:
        if finding.label:
            paths.setdefault(finding.label, []).append(item["label"])
    if len(paths) < 2:
        return []
    more = {value: f"; and {len(own) - 1} more mask(s) like it" * (len(own) > 1) for value, own in paths.items()}
    return [
        Problem("labels of several values", own[0], f"foreground {value}{more[value]}") for value, own in paths.items()
    ]


def _short(error: Exception, path: str) -> str:
    return str(error).replace(f"{path}: ", "").rstrip(".")


def _values(values: np.ndarray) -> set[int]:
    """Values of a label map, slab by slab."""
    found: set[int] = set()
    for slab in values:
        small = slab.size and slab.min() >= 0 and slab.max() <= LARGEST
        found.update((np.flatnonzero(np.bincount(slab.ravel())) if small else np.unique(slab)).tolist())
    return found


def _empty(part: str, items: Items, found: Sequence[_Finding], labels: LabelSet) -> list[Problem]:
    classes = set(labels.known[1:]) - {labels.ignore}
    for finding in found:
        if finding.mask is not None and (finding.mask.mask.any() or finding.mask.unclear):
            return []
        if finding.values is not None and finding.values & classes:
            return []
    detail = f"{part} part, {len(items)} masks, largest value {max(finding.largest for finding in found):g}"
    return [Problem("all masks empty", str(Path(str(items[0]["label"])).parent), detail)]


def _channel_problems(
    every: Sequence[tuple[Mapping[str, Any], _Finding]], channel_names: Sequence[str] | None, spatial_dims: int
) -> list[Problem]:
    """Images with other numbers of channels than named, or than most have."""
    known = [(item, finding.channels) for item, finding in every if finding.channels]
    if not known:
        return []
    counts = Counter(count for _, count in known)
    usual = len(channel_names) if channel_names is not None else counts.most_common(1)[0][0]
    named = (
        f" ({', '.join(channel_names)})" if channel_names is not None else f", as {counts[usual]} of the images have"
    )
    problems = []
    for item, count in known:
        color = spatial_dims == 2 and len(image_files(item)) == 1 and {count, usual} <= set(COLOR_CHANNELS)
        if count != usual and not color:
            detail = f"{count} channel{'s' * (count > 1)}, expected {usual}{named}"
            problems.append(Problem("unequal channels", image_files(item)[0], detail))
    return problems


def _warn(every: Sequence[tuple[Mapping[str, Any], _Finding]], training: Sequence[_Finding], labels: LabelSet) -> None:
    unplaced = [path for _, finding in every for path in finding.unplaced]
    if unplaced:
        logger.warning(
            "%d NIfTI file(s) say their spacing and not their place (the codes of qform and sform are 0), such as %s; "
            "the spacing of the header is used, and the axes as stored",
            len(unplaced),
            printable(shown_name(unplaced[0])),
        )
    tell_turned([path for _, finding in every for path in finding.turned])
    looked = [finding.values for finding in training if finding.values is not None]
    seen = set().union(*looked)
    absent = [name for name, values in zip(labels.names, labels.values, strict=True) if not seen & set(values)]
    if looked and absent and not labels.by_rule:
        logger.warning("no label of the training part has %s; it cannot be learned", printable(", ".join(absent)))
