"""Cross-validation: every item is held out exactly once, whole groups and numbered series stay together."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import KFold, StratifiedGroupKFold, StratifiedKFold

from ...utils.shown_names import shown_name
from ...utils.text_files import printable
from ..errors import DatalistError
from ..readers.files import natural_key
from .checks import raise_for
from .classification_split_rules import random_parts, torn_groups
from .split_files import PARTS, write_parts
from .split_rules import FRACTIONS, LONG_SERIES, MANY_SERIES, check_fractions, draw_parts, name_series, torn_names

__all__ = ["count_items", "draw_folds", "draw_lists", "fold_parts", "write_lists"]

logger = logging.getLogger(__name__)
Items = list[dict[str, Any]]
Lists = dict[str, Items]


def draw_lists(
    pool: Items, shares: Sequence[float], seed: int, split: str, class_names: Sequence[str] | None, where: str
) -> tuple[Lists, str]:
    """Training, validation and test part of items with classes (:func:`~.classification_split_rules.random_parts`) or
    without (:func:`~.split_rules.draw_parts`), and the rule in words."""
    if class_names is not None:
        lists = random_parts(pool, shares, seed, class_names=class_names)
        kind = "groups kept together" if any("group" in item for item in pool) else "stratified by class"
        return lists, f"drawn at random, {kind}, seed {seed}"
    return draw_parts(pool, split, shares, seed, printable(shown_name(where)))


def draw_folds(
    pool: Items, folds: int, seed: int, class_names: Sequence[str] | None = None, split: str = "auto"
) -> list[tuple[Items, Items]]:
    """``(rest, fold)`` for each of K folds; each item is in one fold.

    By scikit-learn: stratified by ``label`` where there are classes, whole groups where the items carry a ``group``.
    Items without either are shuffled, unless ``split`` is ``"auto"`` and their names are numbered in series
    (:func:`~.split_rules.name_series`): then many or short series stay whole, and few long ones are each cut into K
    contiguous blocks, as :func:`~.split_rules.draw_parts` does it. ``"by_name"`` cuts all names into K blocks.

    Args:
        pool: items with ``name``, and with ``label`` where ``class_names`` are given.
        folds: K, 2 or more.
        seed: of the shuffle.
        class_names: class of label 0, 1, ...
        split: ``"auto"``, ``"random"`` or ``"by_name"``, of items without classes and groups.

    Raises:
        ValueError: fewer than two folds.
        DatalistError: fewer groups, items, or images of a class than folds, all of them at once.
    """
    if isinstance(folds, bool) or not isinstance(folds, int) or folds < 2:
        raise ValueError(f"--folds must be 2 or more, got {folds!r}.")
    labels = [item["label"] for item in pool] if class_names is not None else None
    groups = [item["group"] for item in pool] if any("group" in item for item in pool) else None
    _check_counts(folds, len(pool), labels, groups, class_names)
    if labels is None and groups is None and split != "random":
        series = {"": [item["name"] for item in pool]} if split == "by_name" else None
        series = series or name_series([item["name"] for item in pool])
        if series is not None:
            return _apart(pool, _by_series(pool, series, folds, seed), folds)
    if labels is not None and groups is None and (torn := torn_names(pool)):
        logger.warning("%s", printable(torn))
    if groups is None:
        splitter = (KFold if labels is None else StratifiedKFold)(folds, shuffle=True, random_state=seed)
    else:
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        labels = [0] * len(pool) if labels is None else labels
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        found = list(splitter.split(np.zeros(len(pool)), labels, groups))
    return [([pool[i] for i in rest], [pool[i] for i in fold]) for rest, fold in found]


def _check_counts(
    folds: int,
    count: int,
    labels: Sequence[int] | None,
    groups: Sequence[str] | None,
    class_names: Sequence[str] | None,
) -> None:
    problems = []
    units = count if groups is None else len(set(groups))
    if units < folds:
        kind = "images" if groups is None else "groups"
        problems.append(f"{units} {kind} cannot make {folds} folds")
    if labels is not None and class_names is not None:
        counts = Counter(labels)
        rare = [f"{class_names[label]} ({n})" for label, n in sorted(counts.items()) if n < folds]
        none_has_enough = groups is not None and max(counts.values(), default=0) < folds  # scikit-learn's limit
        if rare and (groups is None or none_has_enough):
            problems.append(f"too few images for {folds} folds: {', '.join(rare)}")
    if problems:
        raise DatalistError(f"{'; '.join(problems)}; ask for fewer folds.")


def _by_series(pool: Items, series: dict[str, list[str]], folds: int, seed: int) -> list[int]:
    """Fold of each item whose names are numbered in series."""
    of_name = {name: key for key, names in series.items() for name in names}
    keys = [of_name.get(item["name"], "") for item in pool]
    few = len(set(keys)) < MANY_SERIES and len(pool) >= LONG_SERIES * len(set(keys))
    number = [0] * len(pool)
    if few or len(set(keys)) < folds:
        for key in dict.fromkeys(keys):
            members = [i for i, own in enumerate(keys) if own == key]
            members.sort(key=lambda i: natural_key(pool[i]["name"]))
            for fold, block in enumerate(np.array_split(members, folds)):
                for i in block:
                    number[int(i)] = fold
        how = "each cut into contiguous blocks, one of each fold"
    else:
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        for fold, (_, held) in enumerate(splitter.split(keys, [0] * len(keys), keys)):
            for i in held:
                number[int(i)] = fold
        how = "each whole in one fold"
    logger.warning(
        "the names are numbered in %d series, taken for neighboring frames or slices: %s. Where the images are "
        "independent, give --split random; where videos or patients are known, a column of groups.",
        len(set(keys)),
        how,
    )
    return number


def _apart(pool: Items, number: Sequence[int], folds: int) -> list[tuple[Items, Items]]:
    return [
        (
            [item for item, own in zip(pool, number, strict=True) if own != fold],
            [item for item, own in zip(pool, number, strict=True) if own == fold],
        )
        for fold in range(folds)
    ]


def fold_parts(
    pool: Items,
    folds: int,
    seed: int = 0,
    class_names: Sequence[str] | None = None,
    shares: Sequence[float] = FRACTIONS,
    split: str = "auto",
    where: str = "data",
) -> list[tuple[Lists, str]]:
    """The parts of each fold, and the rule in words: the fold is the test part, and a validation part, which chooses
    the checkpoint, is drawn from the rest, so that a fold's figures choose nothing.

    Args:
        pool, folds, seed, class_names, split: as :func:`draw_folds`.
        shares: of training, validation and test; the first two decide how the rest of a fold is divided.
        where: what the items come from, for warnings.

    Raises:
        ValueError: fewer than two folds, shares that are none.
        DatalistError: fewer groups, items or images of a class than folds; a rest that gives no validation part; all
            folds at once.
    """
    check_fractions(shares)
    share = shares[1] / (shares[0] + shares[1])
    found: list[tuple[Lists, str]] = []
    problems: dict[str, list[int]] = {}
    for number, (rest, fold) in enumerate(draw_folds(pool, folds, seed, class_names, split), start=1):
        groups = {item["group"] for item in rest if "group" in item}
        inner = max(share, 1 / len(groups)) if len(groups) > 1 else share  # one group at least
        try:
            lists, how = draw_lists(rest, (1 - inner, inner, 0.0), seed, split, class_names, where)
        except ValueError as error:
            problems.setdefault(str(error), []).append(number)
            continue
        rule = f"fold {number} of {folds}, seed {seed}; validation {how}"
        found.append(({**lists, "test": fold}, rule))
    if problems:
        told = [f"fold {', '.join(map(str, numbers))}: {problem}" for problem, numbers in problems.items()]
        raise DatalistError(f"no validation part can be drawn beside the fold ({'; '.join(told)})")
    return found


def count_items(lists: Lists, class_names: Sequence[str] | None) -> str:
    """``12 training (a 4, b 8, 3 groups), 4 validation (...), ...``."""
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


def write_lists(lists: Lists, path: Path, rule: str, class_names: Sequence[str] | None) -> Path:
    """Write the parts as a split file, and say their sizes; parts without a class are warned of.

    Raises:
        DatalistError: a group in two parts.
    """
    raise_for(torn_groups(lists))
    for label, name in enumerate(class_names or ()):
        lacking = [part for part in PARTS if lists[part] and all(item["label"] != label for item in lists[part])]
        if lacking:
            logger.warning("no image of %s in the %s part", printable(name), " and the ".join(lacking))
    write_parts({part: [item["name"] for item in lists[part]] for part in PARTS}, path, rule)
    logger.info("%s: %s; %s", path, count_items(lists, class_names), rule)
    return path
