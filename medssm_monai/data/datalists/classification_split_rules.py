"""Splits of labeled images: stratified by class, or keeping groups (patients, lesions) within one part."""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from monai.config import PathLike
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from ..errors import DatalistError, Problem
from .samples import ClassificationDatalists, Item
from .split_files import PARTS, write_parts
from .split_rules import check_fractions

__all__ = ["count_parts", "random_parts", "torn_groups", "write_split"]

Lists = dict[str, list[Item]]


def count_parts(items: Sequence[Item], counts: Sequence[int], class_names: Sequence[str]) -> Lists:
    """Per class, sorted by name in string order: the first ``counts[0]`` for training, the next for validation, the
    **last** ``counts[2]`` for test. Images in between are left to no part.

    Raises:
        DatalistError: classes with fewer images than the counts add up to.
    """
    if len(counts) != 3 or min(counts) < 0 or counts[0] < 1:
        raise ValueError(f"split_counts are three numbers >= 0 per class (training >= 1), got {tuple(counts)}.")
    lists: Lists = {part: [] for part in PARTS}
    problems = []
    for label, class_name in enumerate(class_names):
        # the file name decides, not its folder: COVID/images/COVID-1.png sorts as COVID/COVID-1.png does
        own = [item for item in items if item["label"] == label]
        members = sorted(own, key=lambda item: Path(str(item["image"])).name)
        if len(members) < sum(counts):
            detail = f"{len(members)} images, split_counts asks for {sum(counts)}"
            problems.append(Problem("too few images of a class", class_name, detail))
        lists["training"] += members[: counts[0]]
        lists["validation"] += members[counts[0] : counts[0] + counts[1]]
        lists["test"] += members[len(members) - counts[2] :]
    if problems:
        raise DatalistError(problems)
    return lists


def _kept_and_held(items: list[Item], held: Sequence[int]) -> tuple[list[Item], list[Item]]:
    chosen = {int(index) for index in held}
    return [x for i, x in enumerate(items) if i not in chosen], [x for i, x in enumerate(items) if i in chosen]


def _hold_out(items: list[Item], share: float, seed: int) -> tuple[list[Item], list[Item]]:
    """Items to keep and ``share`` of the items held out, stratified by class."""
    if share <= 0 or not items:
        return items, []
    labels = [item["label"] for item in items]
    _, held = train_test_split(np.arange(len(items)), test_size=share, stratify=labels, random_state=seed)
    return _kept_and_held(items, held)


def _hold_out_groups(items: list[Item], share: float, seed: int) -> tuple[list[Item], list[Item]]:
    """As :func:`_hold_out`, whole groups: the nearest 1/n of the items; of the n folds the first that lacks the fewest
    classes on either side."""
    if share <= 0 or not items:
        return items, []
    labels, groups = [item["label"] for item in items], [item["group"] for item in items]
    folds = max(2, round(1 / share))
    if len(set(groups)) < folds:
        raise DatalistError(f"{len(set(groups))} groups cannot be split with a share of {share:g}; name finer ones.")
    folds = max(2, min(folds, max(Counter(labels).values())))  # scikit-learn's limit
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():  # classes with few images are named by the caller
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        found = [_kept_and_held(items, held) for _, held in splitter.split(np.zeros(len(items)), labels, groups)]
    every = set(labels)
    return min(found, key=lambda sides: sum(len(every - {item["label"] for item in side}) for side in sides))


def _one_of_each(pool: list[Item], shares: Sequence[float], seed: int) -> Lists:
    """Class by class: at least one image for each part with a share, the rest by the shares."""
    rng = np.random.default_rng(seed)
    part_of: dict[int, str] = {}
    for label in sorted({item["label"] for item in pool}):
        members = rng.permutation([index for index, item in enumerate(pool) if item["label"] == label])
        sizes = [max(1, round(share * len(members))) if share > 0 else 0 for share in shares[1:]]
        while sum(sizes) > len(members) - 1:
            sizes[sizes.index(max(sizes))] -= 1
        ends = np.cumsum(sizes)
        part_of |= {int(index): "validation" for index in members[: ends[0]]}
        part_of |= {int(index): "test" for index in members[ends[0] : ends[1]]}
    lists: Lists = {part: [] for part in PARTS}
    for index, item in enumerate(pool):
        lists[part_of.get(index, "training")].append(item)
    return lists


def _too_few(pool: Sequence[Item], parts: int, class_names: Sequence[str] | None) -> list[Problem]:
    counts = Counter(item["label"] for item in pool)
    name = dict(enumerate(class_names or ()))
    return [
        Problem(
            "too few images of a class",
            name.get(label, f"class {label}"),
            f"{count} image{'s' * (count > 1)}, {parts} parts are drawn and each needs one",
        )
        for label, count in sorted(counts.items())
        if count < parts
    ]


def random_parts(
    pool: list[Item],
    fractions: Sequence[float],
    seed: int,
    test: bool = True,
    class_names: Sequence[str] | None = None,
) -> Lists:
    """Random training, validation and, unless an official test part exists, test part of a pool.

    Stratified by class through scikit-learn; where its shares would leave a part without a class, each class is drawn
    for itself, one image at least for each part. Items with a ``group`` are split by ``StratifiedGroupKFold``, so that
    no group is torn apart (shares are then the nearest 1/n, and a part may lack a class).

    Raises:
        ValueError: fractions that are no three shares summing to 1.
        DatalistError: classes with fewer images than parts, by name and count; too few groups.
    """
    check_fractions(fractions)
    training, validation, held = fractions
    held = held if test else 0.0
    grouped = any("group" in item for item in pool)
    hold_out = _hold_out_groups if grouped else _hold_out
    if not grouped:
        problems = _too_few(pool, 1 + (validation > 0) + (held > 0), class_names)
        if problems:
            raise DatalistError(problems)
    try:
        rest, test_items = hold_out(pool, held, seed)
        kept, validation_items = hold_out(rest, validation / (training + validation), seed)
    except DatalistError:
        raise
    except ValueError as error:  # scikit-learn: a part smaller than the number of classes
        if grouped:
            raise DatalistError(f"the groups cannot be split: {error}") from error
        return _one_of_each(pool, (training, validation, held), seed)
    lists = {"training": kept, "validation": validation_items, "test": test_items}
    classes = {item["label"] for item in pool}
    drawn = [part for part, share in zip(PARTS, (training, validation, held), strict=True) if share > 0]
    complete = all({item["label"] for item in lists[part]} == classes for part in drawn)
    return lists if complete or grouped else _one_of_each(pool, (training, validation, held), seed)


def torn_groups(lists: Mapping[str, Sequence[Item]]) -> list[Problem]:
    """A problem for every group with images in more than one part."""
    parts_of: dict[str, set[str]] = defaultdict(set)
    for part, items in lists.items():
        for item in items:
            if "group" in item:
                parts_of[item["group"]].add(part)
    torn = {group: parts for group, parts in parts_of.items() if len(parts) > 1}
    return [
        Problem("group in two parts", group, ", ".join(part for part in PARTS if part in parts))
        for group, parts in sorted(torn.items())
    ]


def write_split(lists: ClassificationDatalists, split_file: PathLike) -> Path:
    """Record who is in which part, as a file that ``split_file`` takes again; ``_rule`` says how it came about.

    Example::

        >>> from tempfile import TemporaryDirectory
        >>> from medssm_monai.data import ClassificationDatalists, read_split, write_split
        >>> items = {part: [{"image": f"{part}.png", "label": 0, "name": part}] for part in ("training", "test")}
        >>> lists = ClassificationDatalists(items, "mine", ["benign", "malignant"], "drawn by hand")
        >>> with TemporaryDirectory() as folder:
        ...     read_split(write_split(lists, f"{folder}/split.json"))
        {'training': ['training'], 'validation': [], 'test': ['test']}
    """
    return write_parts({part: [item["name"] for item in lists[part]] for part in PARTS}, split_file, lists.rule)
