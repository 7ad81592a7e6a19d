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
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..utils.group_pattern import group_in
from ..utils.text_files import printable
from .datalists.checks import raise_for
from .datalists.classification import read_samples
from .datalists.dicom_labels import find_labels_table
from .datalists.folds import draw_folds, draw_lists, fold_parts, write_lists
from .datalists.fusion import fusion_pairs
from .datalists.groups import add_groups, drop_listed
from .datalists.segmentation_layouts import DICOM_LAYOUT, LAYOUTS, detect_layout
from .datalists.split_rules import FRACTIONS
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
            group = group_in(item["name"], options.group_pattern)
            if group is None:
                raise ValueError(f"--group_pattern {options.group_pattern!r} finds no group in {item['name']!r}.")
            item["group"] = group


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
        lists, rule = draw_lists(pool, shares.tolist(), options.seed, options.split, class_names, options.dataset_dir)
        lists["test"] = lists["test"] + test
        return [write_lists(lists, output, official + rule, class_names)]
    if test:
        drawn = draw_folds(pool, options.folds, options.seed, class_names, options.split)
        rule = f"{official}fold {{}} of {options.folds}, seed {options.seed}"
        found = [
            ({"training": rest, "validation": fold, "test": test}, rule.format(number))
            for number, (rest, fold) in enumerate(drawn, start=1)
        ]
    else:
        found = fold_parts(
            pool, options.folds, options.seed, class_names, shares.tolist(), options.split, options.dataset_dir
        )
    return [
        write_lists(lists, output.with_name(f"{output.stem}_fold{number}{output.suffix or '.json'}"), rule, class_names)
        for number, (lists, rule) in enumerate(found, start=1)
    ]


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
