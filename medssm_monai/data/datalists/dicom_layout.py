"""Layout of DICOM archives: images, in any nesting of folders, and the segmentations or structure sets that refer to
them."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...utils.shown_names import remember_called, shown_name
from ...utils.text_files import printable
from ..errors import DatalistError, Problem
from ..labels import LabelSet
from ..readers.files import DICOM, file_kind, natural_key
from ..readers.mask import Foreground
from ..readers.segment_labels import IGNORE, SegmentFiles
from ..readers.segments import SegmentFile
from ..studies.annotations import Annotation, class_numbers, find_annotations, plain_name
from ..studies.channels import channels_of
from ..studies.find import find_series
from ..studies.matching import MatchError, Target, match, targets_of, why_missing
from .segmentation_parts import Parts

__all__ = ["dicom_layout", "holds_dicom"]

logger = logging.getLogger(__name__)
SHOWN = 12
EVERY = "nonzero"


def holds_dicom(root: Path) -> bool:
    """Whether a folder and those below it hold DICOM files and no images of another kind."""
    found = False
    for place, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            kind = None if name.startswith(".") else file_kind(Path(place) / name)
            if kind not in (None, DICOM):
                return False
            found |= kind == DICOM
    return found


def dicom_layout(
    root: Path,
    labels: LabelSet,
    spatial_dims: int,
    foreground: Foreground = "auto",
    channel_names: Sequence[str] | None = None,
) -> Parts:
    """Images with their segmentations, all in the training part and without a rule: the parts are still to be drawn, by
    patients.

    A segment belongs to the class that is called like it, or like its coded property type, upper or lower case. One
    class by rule takes every segment, where all are called alike (``foreground="nonzero"``: whatever they are called).

    Args:
        root: folder.
        labels: the classes.
        spatial_dims: 2 for pictures, 3 for volumes.
        foreground: of one class by rule: ``"auto"`` or ``"nonzero"``.
        channel_names: of the images; several are series of one study on the same voxels, which are called so
            (:func:`~..studies.channels.channels_of`).

    Returns:
        items with ``image`` (sorted files of a volume, or a list of them, one for each channel; a file or the address
        of a frame), ``label``
        (:class:`~medssm_monai.data.readers.segment_labels.SegmentFiles`), ``name`` (UID) and ``group`` (the patient,
        by a digest); and what is wrong.

    Raises:
        ImportError: pydicom is not installed.
        DatalistError: no image at all.
        ValueError: another ``foreground``.
    """
    if labels.by_rule and foreground not in ("auto", EVERY):
        raise ValueError(
            f"foreground={foreground!r}: segments have names and no values; name them with labels, or say {EVERY!r}, "
            "which takes all of them."
        )
    found = find_series(root)
    targets = targets_of(found.series)
    if not targets:
        raise DatalistError(
            [Problem("no images", str(root), f"{len(found.set_aside)} files are no images of a series")]
        )
    annotations, broken = find_annotations(found.set_aside)
    parts = Parts(problems=[Problem("unreadable file", str(aside.path), aside.reason) for aside in broken])
    matched: dict[str, list[Annotation]] = {}
    for annotation in annotations:
        try:
            for target in match(annotation, targets, spatial_dims):
                matched.setdefault(target.name, []).append(annotation)
        except MatchError as error:
            why = why_missing(annotation, found.set_aside) if error.kind == "segmentation without image" else ""
            detail = "; ".join(filter(None, (str(error), why, annotation.uid)))
            parts.problems.append(Problem(error.kind, str(annotation.path), detail))
    if not annotations and not broken:
        raise DatalistError([Problem("no segmentations", str(root), f"{len(targets)} images")])
    sets: dict[str, list[Target]] = {}
    if spatial_dims == 3 and channel_names is not None and len(channel_names) > 1:
        matched, sets = _by_channels(matched, targets, channel_names, parts)
    used = {one.uid: one for own in matched.values() for one in own}
    numbers = _classes(list(used.values()), labels, foreground, parts, root)
    for target in sorted(targets, key=lambda one: natural_key(one.name)):
        if target.name in matched:
            _add(parts, sets.get(target.name, [target]), matched[target.name], numbers, labels)
    _tell(root, targets, matched, used, numbers, spatial_dims)
    return parts


def _by_channels(
    matched: Mapping[str, list[Annotation]], targets: Sequence[Target], names: Sequence[str], parts: Parts
) -> tuple[dict[str, list[Annotation]], dict[str, list[Target]]]:
    """Annotations by the first channel of the volume that they are about, and the channels of each."""
    volumes = [target for target in targets if target.series.spatial_dims == 3]
    found: dict[str, list[Annotation]] = {}
    sets: dict[str, list[Target]] = {}
    for target in (one for one in volumes if one.name in matched):
        try:
            channels = channels_of(target, volumes, names)
        except MatchError as error:
            parts.problems.append(Problem(error.kind, str(matched[target.name][0].path), str(error)))
            continue
        sets[channels[0].name] = channels
        found.setdefault(channels[0].name, []).extend(matched[target.name])
    return found, sets


def _classes(
    annotations: Sequence[Annotation], labels: LabelSet, foreground: Foreground, parts: Parts, root: Path
) -> dict[str, dict[str, tuple[int, ...]]]:
    """Of each object, by its UID, the numbers of the segments of each class."""
    names = (*labels.names, *([IGNORE] if labels.ignore is not None else []))
    numbers = {one.uid: class_numbers(one, names) for one in annotations}
    if labels.by_rule and not any(numbers.values()):
        kinds = sorted({plain_name(segment.label) for one in annotations for segment in one.segments})
        if len(kinds) > 1 and foreground != EVERY:
            parts.problems.append(Problem("segments of several names", str(root), ", ".join(kinds[:SHOWN])))
        every = {one.uid: tuple(segment.number for segment in one.segments) for one in annotations}
        numbers = {uid: {labels.names[0]: own} if own else {} for uid, own in every.items()}
    for one in annotations:
        if not numbers[one.uid]:
            called = ", ".join(segment.label for segment in one.segments) or "none"
            parts.problems.append(Problem("unknown segments", str(one.path), f"segments: {called}; {one.uid}"))
    absent = [name for name in labels.names if annotations and not any(name in own for own in numbers.values())]
    if absent and any(numbers.values()):
        there = sorted({segment.label for one in annotations for segment in one.segments})
        detail = f"no segment of {len(annotations)} objects; they have {', '.join(there[:SHOWN])}"
        parts.problems += [Problem("class without segments", name, detail) for name in absent]
    return numbers


def _add(
    parts: Parts,
    channels: Sequence[Target],
    annotations: Sequence[Annotation],
    numbers: Mapping[str, Mapping[str, tuple[int, ...]]],
    labels: LabelSet,
) -> None:
    """Append one image, of one channel or several, with its segments."""
    target, sources = channels[0], [channel.source for channel in channels]
    of_class: dict[str, list[Annotation]] = {}
    for one in annotations:
        for name in numbers[one.uid]:
            of_class.setdefault(name, []).append(one)
    twice = {name: own for name, own in of_class.items() if len(own) > 1}
    for name, several in twice.items():
        detail = f"{name} of {target.name}, as in {', '.join(str(one.path) for one in several[:-1])}"
        parts.problems.append(Problem("class in two segmentations", str(several[-1].path), detail))
    files = tuple(
        SegmentFile(one.path, one.uid, numbers[one.uid], one.contours) for one in annotations if numbers[one.uid]
    )
    if twice or not files:
        return
    remember_called(str(target.source), target.name)
    label = SegmentFiles(files, target.grid, labels)
    image = sources if len(sources) > 1 else sources[0]
    item: dict[str, Any] = {"image": image, "label": label, "name": target.name, "group": target.patient}
    parts.training.append(item)


def _tell(
    root: Path,
    targets: Sequence[Target],
    matched: Mapping[str, Sequence[Annotation]],
    used: Mapping[str, Annotation],
    numbers: Mapping[str, Mapping[str, tuple[int, ...]]],
    spatial_dims: int,
) -> None:
    """What is left out, and what is there in part."""
    where = printable(shown_name(root))
    left = sorted(
        {t.series.series_uid for t in targets if t.name not in matched and t.series.spatial_dims == spatial_dims}
    )
    if left:
        more = f" and {len(left) - SHOWN} more" if len(left) > SHOWN else ""
        logger.info("%s: %d series without segments left out: %s%s", where, len(left), ", ".join(left[:SHOWN]), more)
    has = Counter(name for own in numbers.values() for name in own)
    for name, count in has.items():
        if count < len(used):
            logger.info(
                "%s: %d of %d objects have %s, the others count as without", where, count, len(used), printable(name)
            )
    taken = {(uid, number) for uid, own in numbers.items() for listed in own.values() for number in listed}
    others = Counter(s.label for uid, one in used.items() for s in one.segments if (uid, s.number) not in taken)
    if others:
        named = ", ".join(f"{label} ({count})" for label, count in others.most_common(SHOWN))
        logger.warning("%s: segments of no class are background: %s", where, printable(named))
