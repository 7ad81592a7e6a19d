"""Write split files: who trains, validates and tests, drawn once, by classes and groups, also for cross-validation.

    python -m medssm_monai.data.split FOLDER -o split.json --parts 70 15 15 --seed 0
    python -m medssm_monai.data.split FOLDER -o split.json --groups patients.csv --folds 5
    python -m medssm_monai.data.split FOLDER -o split.json --sources MRI CT

FOLDER is what ``--dataset_dir`` of a training takes: classes, images with masks, or (with --sources) pairs; the file
goes to ``--split_file``. Classes are spread evenly, groups (patients, videos) stay whole. An official test part of the
folder stays the test part. With --folds K there are K files, ``split_fold1.json``, ...: each K-th of the images is the
test part once (the validation part, where there is an official test part); the validation part is drawn from the rest.

Exit status: 0, or 2 when no split could be made.
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import KFold, StratifiedGroupKFold, StratifiedKFold

from ..utils.shown_names import shown_name
from ..utils.text_files import printable
from .datalists.checks import raise_for
from .datalists.classification import read_samples
from .datalists.classification_split_rules import random_parts, torn_groups
from .datalists.dicom_labels import find_labels_table
from .datalists.fusion import fusion_pairs
from .datalists.groups import add_groups, drop_listed
from .datalists.segmentation_layouts import DICOM_LAYOUT, LAYOUTS, detect_layout
from .datalists.split_files import PARTS, write_parts
from .datalists.split_rules import FRACTIONS, draw_parts
from .datalists.tables import IMAGE_COLUMNS, read_table
from .errors import DatalistError
from .root import existing_path

__all__ = ["draw_folds", "main"]

logger = logging.getLogger(__name__)
Items = list[dict[str, Any]]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m medssm_monai.data.split",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("dataset_dir", help="what --dataset_dir of a training takes")
    add("-o", "--output", required=True, metavar="FILE", help="the split file (JSON)")
    add("--parts", nargs=3, type=float, default=FRACTIONS, metavar=("TRAIN", "VAL", "TEST"), help="shares or per cent")
    add("--seed", type=int, default=0)
    add("--folds", type=int, metavar="K", help="cross-validation: K files")
    add("--groups", metavar="TABLE", help="CSV with an image column and a group column (patient, video)")
    add("--group_column", metavar="NAME", help="that column; default: the first that is not the image column")
    add("--group_pattern", metavar="REGEX", help="groups from the names: what the (first bracket of the) pattern finds")
    add("--split", default="auto", help="of images without classes: auto, random or by_name (default auto)")
    add("--sources", nargs=2, metavar=("A", "B"), help="a folder of pairs: its two sources, as the training takes them")
    add("--spatial_dims", type=int, choices=(2, 3), default=2, help="3: folders of a DICOM series are images")
    add("--layout", default="auto", help="of the folder, as the training takes it")
    add("--channel_names", nargs="+", metavar="NAME", help="of a folder for each case: what its images' names end in")
    add("--subset", help="which .npz file of a folder")
    return parser


def _read(options: argparse.Namespace) -> tuple[Items, Items, list[str] | None]:
    """Items to draw from, those of an official test part, and the class names where there are classes."""
    root = existing_path(options.dataset_dir)
    volumes = options.spatial_dims == 3
    if options.sources:
        return *fusion_pairs(root, options.sources, volumes), None
    layout = _segmentation_layout(root) if options.layout == "auto" else options.layout
    if layout in LAYOUTS:
        parts = LAYOUTS[layout](root, options.channel_names)
        raise_for([problem for problem in parts.problems if problem.kind != "mask without image"])
        named = [pair for pair in parts.test if "dataset" in pair]  # PraNet's test sets keep their place by themselves
        return parts.training + parts.validation, [pair for pair in parts.test if pair not in named], None
    if layout == DICOM_LAYOUT and find_labels_table(root) is None:
        raise DatalistError(
            f"{root}: segmentations of a DICOM archive are drawn by patients in the training itself; for parts of your "
            "own write the UIDs of the series (volumes) or instances (pictures) into a split file."
        )
    samples, _ = read_samples(root, options.layout, options.subset, volumes=volumes)
    raise_for(samples.problems)
    pool = drop_listed(samples.pool, root, "auto")
    return pool + (samples.validation or []), samples.test or [], samples.class_names


def _segmentation_layout(root: Path) -> str | None:
    try:
        return detect_layout(root) if root.is_dir() else None
    except DatalistError:
        return None


def _add_groups(items: Items, options: argparse.Namespace) -> None:
    root = existing_path(options.dataset_dir)
    if options.groups or options.group_column:
        column = options.group_column
        if column is None:
            table = read_table(options.groups, "an image column and a group column")
            image = table.column(IMAGE_COLUMNS) or 0
            column = next((name for number, name in enumerate(table.rows[0]) if number != image), None)
        if not column:
            raise DatalistError(f"{options.groups} has one column only; expected an image column and a group column.")
        raise_for(add_groups(items, root, column, options.groups))
    elif options.group_pattern:
        for item in items:
            match = re.search(options.group_pattern, item["name"])
            if match is None:
                raise ValueError(f"--group_pattern {options.group_pattern!r} finds no group in {item['name']!r}.")
            item["group"] = match[match.lastindex and 1 or 0]


def _draw(
    pool: Items, shares: Sequence[float], seed: int, split: str, class_names: list[str] | None, where: str
) -> tuple[dict[str, Items], str]:
    if class_names is not None:
        lists = random_parts(pool, shares, seed, class_names=class_names)
        kind = "groups kept together" if any("group" in item for item in pool) else "stratified by class"
        return lists, f"drawn at random, {kind}, seed {seed}"
    return draw_parts(pool, split, shares, seed, printable(shown_name(where)))


def draw_folds(
    pool: Items, folds: int, seed: int, class_names: Sequence[str] | None = None
) -> list[tuple[Items, Items]]:
    """``(rest, fold)`` for each of K folds, by scikit-learn: stratified by ``label`` where there are classes, whole
    groups where the items carry a ``group``.

    Raises:
        DatalistError: fewer groups, items, or images of a class than folds.
    """
    if folds < 2:
        raise ValueError(f"--folds must be 2 or more, got {folds}.")
    labels = [item["label"] for item in pool] if class_names is not None else None
    groups = [item["group"] for item in pool] if any("group" in item for item in pool) else None
    units = Counter(groups if groups is not None else range(len(pool)))
    if len(units) < folds:
        raise DatalistError(
            f"{len(units)} {'groups' if groups else 'images'} cannot make {folds} folds; ask for fewer."
        )
    if class_names is not None and labels is not None and groups is None:
        rare = [f"{class_names[label]} ({count})" for label, count in Counter(labels).items() if count < folds]
        if rare:
            raise DatalistError(f"too few images for {folds} folds: {', '.join(rare)}; ask for fewer folds.")
    if groups is None:
        splitter = (KFold if labels is None else StratifiedKFold)(folds, shuffle=True, random_state=seed)
    else:
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        labels = [0] * len(pool) if labels is None else labels
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        found = list(splitter.split(np.zeros(len(pool)), labels, groups))
    return [([pool[i] for i in rest], [pool[i] for i in fold]) for rest, fold in found]


def _counts(lists: dict[str, Items], class_names: list[str] | None) -> str:
    words = []
    for part in PARTS:
        items, detail = lists[part], []
        if class_names is not None:
            of = Counter(item["label"] for item in items)
            detail += [f"{name} {of[label]}" for label, name in enumerate(class_names)]
        if any("group" in item for item in items):
            detail.append(f"{len({item['group'] for item in items})} groups")
        words.append(f"{len(items)} {part}" + (f" ({', '.join(detail)})" if detail else ""))
    return printable(", ".join(words))


def _write(lists: dict[str, Items], path: Path, rule: str, class_names: list[str] | None) -> None:
    raise_for(torn_groups(lists))
    for label, name in enumerate(class_names or ()):
        lacking = [part for part in PARTS if lists[part] and all(item["label"] != label for item in lists[part])]
        if lacking:
            logger.warning("no image of %s in the %s part", printable(name), " and the ".join(lacking))
    write_parts({part: [item["name"] for item in lists[part]] for part in PARTS}, path, rule)
    logger.info("%s: %s; %s", path, _counts(lists, class_names), rule)


def write_splits(options: argparse.Namespace) -> list[Path]:
    """What the command does; returns the files it wrote.

    Raises:
        FileNotFoundError, DatalistError, ValueError: as the readers of the data set, and shares or groups that cannot
            be drawn.
    """
    shares = np.asarray(options.parts, dtype=float)
    if shares.sum() <= 0 or shares.min() < 0:
        raise ValueError(f"--parts are three shares >= 0, got {options.parts}.")
    shares = shares / shares.sum()
    pool, test, class_names = _read(options)
    every = [*pool, *test]
    twice = [name for name, count in Counter(item["name"] for item in every).items() if count > 1]
    if twice:
        raise DatalistError(f"names that several images share cannot stand in a split file: {', '.join(twice[:5])}.")
    _add_groups(every, options)
    output = Path(options.output).expanduser()
    official = f"{len(test)} images of the official test part; " if test else ""
    if test:  # only training and validation are drawn
        shares = np.array([shares[0], shares[1], 0.0]) / (shares[0] + shares[1])
    if options.folds is None:
        lists, rule = _draw(pool, shares.tolist(), options.seed, options.split, class_names, options.dataset_dir)
        lists["test"] = lists["test"] + test
        _write(lists, output, official + rule, class_names)
        return [output]
    files = []
    for number, (rest, fold) in enumerate(draw_folds(pool, options.folds, options.seed, class_names), start=1):
        rule = f"{official}fold {number} of {options.folds}, seed {options.seed}"
        if test:
            lists = {"training": rest, "validation": fold, "test": test}
        else:
            inner = [shares[0] / (shares[0] + shares[1]), shares[1] / (shares[0] + shares[1]), 0.0]
            lists, how = _draw(rest, inner, options.seed, options.split, class_names, options.dataset_dir)
            lists, rule = {**lists, "test": fold}, f"{rule}; validation {how}"
        files.append(output.with_name(f"{output.stem}_fold{number}{output.suffix or '.json'}"))
        _write(lists, files[-1], rule, class_names)
    return files


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        write_splits(options)
    except (OSError, ValueError) as error:
        print(printable(f"{type(error).__name__}: {error}"), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
