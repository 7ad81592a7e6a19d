"""Splits of labelled images: stratified by class, or keeping groups (patients, lesions) within one part."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from monai.config import PathLike
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from .errors import DatalistError, Problem
from .samples import ClassificationDatalists, Item
from .splits import PARTS

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
        members = sorted((item for item in items if item["label"] == label), key=lambda item: Path(item["image"]).name)
        if len(members) < sum(counts):
            detail = f"{len(members)} images, split_counts asks for {sum(counts)}"
            problems.append(Problem("too few images of a class", class_name, detail))
        lists["training"] += members[: counts[0]]
        lists["validation"] += members[counts[0] : counts[0] + counts[1]]
        lists["test"] += members[len(members) - counts[2] :]
    if problems:
        raise DatalistError(problems)
    return lists


def _hold_out(items: list[Item], share: float, seed: int) -> tuple[list[Item], list[Item]]:
    """Items to keep and items held out: ``share`` of them, or the nearest 1/n where groups must stay whole."""
    if share <= 0 or not items:
        return items, []
    labels = [item["label"] for item in items]
    if "group" in items[0]:
        folds = max(2, round(1 / share))
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        groups = [item["group"] for item in items]
        if len(set(groups)) < folds:
            raise DatalistError(
                f"{len(set(groups))} groups cannot be split with a share of {share:g}; name finer ones."
            )
        _, held = next(splitter.split(np.zeros(len(items)), labels, groups))
    else:
        rare = [label for label, count in Counter(labels).items() if count < 2]
        if rare:
            raise DatalistError([Problem("too few images of a class", f"class {r}", "one, cannot split") for r in rare])
        _, held = train_test_split(np.arange(len(items)), test_size=share, stratify=labels, random_state=seed)
    chosen = set(held.tolist())
    return [x for i, x in enumerate(items) if i not in chosen], [x for i, x in enumerate(items) if i in chosen]


def random_parts(pool: list[Item], fractions: Sequence[float], seed: int, test: bool = True) -> Lists:
    """Random training, validation and, unless an official test part exists, test part of a pool.

    Stratified by class through scikit-learn; items with a ``group`` are split by ``StratifiedGroupKFold``, so that no
    group is torn apart (shares are then the nearest 1/n).

    Raises:
        ValueError: fractions that are no three shares summing to 1.
        DatalistError: classes or groups too few to split.
    """
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6 or fractions[0] <= 0:
        raise ValueError(f"fractions must be three shares >= 0 that sum to 1, training > 0, got {tuple(fractions)}.")
    training, validation, held = fractions
    rest, test_items = _hold_out(pool, held, seed) if test else (pool, [])
    kept, validation_items = _hold_out(rest, validation / (training + validation), seed)
    return {"training": kept, "validation": validation_items, "test": test_items}


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
    """Record who is in which part, as a file that ``split_file`` takes again; ``_rule`` says how it came about."""
    path = Path(split_file)
    content = {"_rule": lists.rule, **{part: [item["name"] for item in lists[part]] for part in PARTS}}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path
