"""Datalists for segmentation: from a dataset folder (or a demo set) to MONAI's list of dicts."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.config import PathLike

from ...utils.command_line import typed_option
from ...utils.shown_names import shown_name
from ...utils.text_files import printable
from ..demo.segmentation import DEMO_COUNTS, DEMO_SIZE, prepare_demo
from ..errors import DatalistError, Problem
from ..labels import LabelSet
from ..readers.mask import Foreground
from ..root import existing_folder, is_demo, structures_demo
from .checks import check_pairs, raise_for
from .classification_split_rules import torn_groups
from .dataset_json import ONE_CLASS, check_channel_names
from .dicom_layout import dicom_layout
from .groups import add_groups
from .label_checks import check_cases
from .segmentation_layouts import DICOM_LAYOUT, LAYOUTS, detect_layout
from .segmentation_parts import Parts, channel_files_of_pictures, image_files
from .split_files import PARTS, apply_split, read_split
from .split_rules import FRACTIONS, SPLITS, check_fractions, draw_parts

__all__ = ["segmentation_datalists"]

logger = logging.getLogger(__name__)
Datalists = dict[str, list[dict[str, Any]]]


def _split_parts(parts: Parts, split_file: PathLike) -> Parts:
    """Parts by split file; named test sets stay the test part unless the split names a test part itself."""
    split = read_split(split_file)
    named = [] if split["test"] else [pair for pair in parts.test if "dataset" in pair]
    pool = parts.training + parts.validation + [pair for pair in parts.test if "dataset" not in pair]
    parts.problems += _repeated_names(pool)
    try:
        lists = apply_split(pool, split, str(split_file))
    except DatalistError as error:  # a name may be missing because its mask is: say both
        raise DatalistError(parts.problems + error.problems) from error
    return Parts(
        lists["training"], lists["validation"], lists["test"] + named, parts.problems, f"by {shown_name(split_file)}"
    )


def _repeated_names(pool: Sequence[Mapping[str, Any]]) -> list[Problem]:
    """Names that a split file could not tell apart."""
    first: dict[str, str] = {}
    files = [(pair["name"], image_files(pair)[0]) for pair in pool]
    return [
        Problem("two files with one name", file, f"also {first[name]}")
        for name, file in files
        if first.setdefault(name, file) != file
    ]


def _demo(
    demo_dir: PathLike | None, size: int, counts: Sequence[int], spatial_dims: int, structures: bool
) -> tuple[Path, str]:
    """Folder of the demo set that is asked for, and its layout."""
    if not structures:
        return prepare_demo(demo_dir, size, counts), "plain"
    from ..demo.structures import prepare_structures_demo

    own = None if tuple(counts) == DEMO_COUNTS else counts
    return prepare_structures_demo(demo_dir, spatial_dims, own), "nnunet"


def _of_dicom(
    root: Path,
    labels: LabelSet,
    spatial_dims: int,
    foreground: Foreground,
    channel_names: Sequence[str] | None,
    check: bool | str,
    group_column: str | None,
) -> Parts:
    """Labeled images of a DICOM archive; where one has a problem, the others are looked at before all are said."""
    if group_column is not None:
        raise ValueError(
            f"group_column={group_column!r}: the dicom layout keeps patients together by itself; leave it out."
        )
    parts = dicom_layout(root, labels, spatial_dims, foreground, channel_names)
    if parts.problems and check and parts.training:
        level = "full" if check is True else check
        parts.problems += check_cases(
            {"training": parts.training}, labels, spatial_dims, channel_names, str(level), foreground
        )
    raise_for(parts.problems)
    return parts


def _drawn(parts: Parts, split: str, fractions: Sequence[float], seed: int, where: str) -> Parts:
    """Parts of what the layout leaves to be split; an official test part stays as it is."""
    if not parts.test:
        drawn, rule = draw_parts(parts.training, split, fractions, seed, where)
        return Parts(drawn["training"], drawn["validation"], drawn["test"], parts.problems, rule)
    check_fractions(fractions)
    shares = (1 - fractions[1], fractions[1], 0.0)
    drawn, rule = draw_parts(parts.training, split, shares, seed, where)
    rule = f"the official test part; the rest {rule}"
    return Parts(drawn["training"], drawn["validation"], parts.test, parts.problems, rule)


def _without_orphans(parts: Parts) -> list[Problem]:
    """Problems of the layout; masks without image are warned of, and only listed beside other problems."""
    orphans = [problem for problem in parts.problems if problem.kind == "mask without image"]
    if len(orphans) < len(parts.problems) or not (parts.training or parts.validation or parts.test):
        return list(parts.problems)
    if orphans:
        named = printable(", ".join(shown_name(problem.path) for problem in orphans))
        logger.warning("%d mask(s) without image left out: %s", len(orphans), named)
    return []


def segmentation_datalists(
    dataset_dir: PathLike,
    layout: str = "auto",
    split_file: PathLike | None = None,
    split: str = "auto",
    fractions: Sequence[float] = FRACTIONS,
    seed: int = 0,
    group_column: str | None = None,
    metadata_file: PathLike | None = None,
    demo_dir: PathLike | None = None,
    demo_size: int = DEMO_SIZE,
    demo_counts: Sequence[int] = DEMO_COUNTS,
    check: bool | str = True,
    require: Sequence[str] = ("training", "validation"),
    foreground: Foreground = "auto",
    spatial_dims: int = 2,
    labels: Mapping[str, Any] | None = None,
    channel_names: Sequence[str] | None = None,
) -> Datalists:
    """Datalists of a segmentation dataset, checked.

    Args:
        dataset_dir: folder in one of the known layouts, or ``"demo"`` for the embedded synthetic demo set (with
            ``spatial_dims`` 3 that of several classes, which ``"demo_structures"`` asks for). Anything else is an
            error; there is no fallback. (For a folder that is itself called demo write ``"./demo"``.)
        layout: ``"pranet"``, ``"isic"``, ``"plain"``, ``"decathlon"``, ``"nnunet"``, ``"cases"``, ``"dicom"`` (series
            and the SEG or RTSTRUCT objects that refer to them), or ``"auto"`` to recognize it.
        split_file: JSON of names per part (:func:`~medssm_monai.data.read_split`); replaces the layout's own split.
        split: how a folder without parts of its own (``"plain"``) is split: ``"auto"``, ``"random"`` or ``"by_name"``
            (:func:`~.split_rules.draw_parts`). Of volumes ``"auto"`` is ``"random"``; DICOM is drawn by patients.
        fractions: shares of training, validation and test there.
        seed: of the draw.
        group_column: column of a table whose equal values (a patient, a video) must stay in one part.
        metadata_file: that table; None looks for one in the folder.
        demo_dir: where the demo set is kept; None is a cache folder in the user's home.
        demo_size: side of the square demo images in pixels.
        demo_counts: demo images for training, validation and test.
        check: True or ``"full"`` decodes every file; ``"header"`` compares sizes only; False trusts the data.
        require: parts that must not be empty.
        foreground: which values of the masks are foreground, one rule for all of them: ``"auto"``, ``"nonzero"``,
            ``"half"`` or values (:func:`~medssm_monai.data.readers.mask.read_mask`); give the same to ``LoadImage2Dd``.
            Of one class by rule alone.
        spatial_dims: 2 for pictures and slices, 3 for volumes.
        labels: names and values of the classes (:func:`~medssm_monai.data.dataset_labels`); None is one class by rule.
        channel_names: of the images, in order (:func:`~medssm_monai.data.dataset_channels`); None takes what is there,
            equal for all images.

    Returns:
        ``{"training": [...], "validation": [...], "test": [...]}``; each item has ``image`` (a path, or a list of one
        per channel), ``label`` (a path), ``name`` (stem), and ``dataset`` in the test sets of the PraNet layout; of
        DICOM see :func:`~.dicom_layout.dicom_layout`.

    Raises:
        FileNotFoundError, NotADirectoryError: ``dataset_dir`` or ``split_file`` does not exist.
        DatalistError: everything wrong with the data, all offenders at once. Masks without an image alone are no
            error: they are left out with a warning.
        ValueError: unknown layout, part name or ``split``; fewer groups than parts; labels or names of channels that
            are none.
    """
    unknown = [part for part in require if part not in PARTS]
    if unknown:
        raise ValueError(f"require names unknown parts {unknown}; the parts are {', '.join(PARTS)}.")
    if spatial_dims not in (2, 3):
        raise ValueError(f"spatial_dims must be 2 or 3, got {spatial_dims!r}.")
    label_set = LabelSet.of(ONE_CLASS if labels is None else labels)
    names = None if channel_names is None else check_channel_names(channel_names)
    if is_demo(dataset_dir):
        word = typed_option(dataset_dir, "dataset_dir")
        logger.warning("dataset_dir is %r: synthetic demo images, not real data", word)
        structures = structures_demo(dataset_dir, spatial_dims)
        root, layout = _demo(demo_dir, demo_size, demo_counts, spatial_dims, structures)
        split_file = split_file or root / "split.json"
        check = False if check is True else check  # just generated, or complete by its manifest
    else:
        root = existing_folder(dataset_dir)
    if layout not in (*LAYOUTS, DICOM_LAYOUT, "auto"):
        raise ValueError(f"layout must be one of auto, {', '.join(LAYOUTS)}, {DICOM_LAYOUT}, got {layout!r}.")
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}.")
    layout = detect_layout(root) if layout == "auto" else layout
    if layout == DICOM_LAYOUT:
        parts = _of_dicom(root, label_set, spatial_dims, foreground, names, check, group_column)
    else:
        parts = LAYOUTS[layout](root, names)
    if group_column is not None:
        every = parts.training + parts.validation + parts.test
        parts.problems += add_groups(every, root, group_column, metadata_file)
        raise_for([problem for problem in parts.problems if problem.kind != "mask without image"])
    if split_file is not None:
        parts = _split_parts(parts, split_file)
    elif not parts.rule and parts.training:
        rule = "random" if spatial_dims == 3 and split == "auto" else split  # numbered volumes are patients, no frames
        parts = _drawn(parts, rule, fractions, seed, printable(shown_name(root)))
    lists: Datalists = {part: getattr(parts, part) for part in PARTS}
    problems = _without_orphans(parts) + torn_groups(lists)
    problems += [Problem("empty part", part, str(root)) for part in require if not lists[part]]
    every = [pair for pairs in lists.values() for pair in pairs]
    several = channel_files_of_pictures(every) if spatial_dims == 2 else []
    problems += several
    level = "full" if check is True else check
    of_masks = label_set.by_rule and names is None and not several and layout != DICOM_LAYOUT
    if level and spatial_dims == 2 and of_masks:
        problems += check_pairs(lists, level, foreground)
    elif level:
        problems += check_cases(lists, label_set, spatial_dims, names, level, foreground)
    raise_for(problems)
    sizes = ", ".join(f"{len(pairs)} {part}" for part, pairs in lists.items())
    logger.info("%s: %s; split: %s", printable(shown_name(root)), sizes, printable(parts.rule))
    return lists
