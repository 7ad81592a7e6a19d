"""How images without classes are distributed to the parts: by groups, at random, or in blocks of neighboring names."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from monai.config import PathLike

from ..readers.files import file_stem, natural_key
from .split_files import PARTS, write_parts

__all__ = [
    "FRACTIONS",
    "SPLITS",
    "block_counts",
    "check_fractions",
    "deal_groups",
    "draw_parts",
    "every_tenth",
    "make_split",
    "name_series",
    "torn_names",
]

logger = logging.getLogger(__name__)
FRACTIONS = (0.7, 0.15, 0.15)
SPLITS = ("auto", "random", "by_name")
MANY_SERIES = 10  # so many series are patients or videos: each stays whole
LONG_SERIES = 8  # images of a series, on average, from which a series can be cut in blocks of 15 %
Pairs = list[dict[str, Any]]
Item = TypeVar("Item")
Group = str | Callable[[str], str] | None


def check_fractions(fractions: Sequence[float], without_training: bool = False) -> None:
    """Raise ValueError unless these are three shares that sum to 1, training above 0 unless it may be empty."""
    shares = len(fractions) == 3 and min(fractions) >= 0 and not abs(sum(fractions) - 1) > 1e-6
    if not shares or (fractions[0] <= 0 and not without_training):
        rule = "that sum to 1" if without_training else "that sum to 1, training > 0"
        raise ValueError(f"fractions must be three shares >= 0 {rule}, got {tuple(fractions)}.")


def block_counts(count: int, fractions: Sequence[float]) -> tuple[int, int, int]:
    """Sizes of the three parts; from three images on no part with a share is empty."""
    second = count if fractions[2] == 0 else max(min(round((fractions[0] + fractions[1]) * count), count - 1), 1)
    first = second if fractions[1] == 0 else max(min(round(fractions[0] * count), second - 1), 1)
    return min(first, count), max(second - first, 0), max(count - second, 0)


def every_tenth(pairs: Pairs) -> tuple[Pairs, Pairs]:
    """What stays for training, and every 10th of the pairs, the first included, for validation."""
    return [pair for index, pair in enumerate(pairs) if index % 10], pairs[::10]


def _blocks(pairs: Pairs, fractions: Sequence[float]) -> dict[str, Pairs]:
    training, validation, _ = block_counts(len(pairs), fractions)
    cut = training + validation
    return {"training": pairs[:training], "validation": pairs[training:cut], "test": pairs[cut:]}


def deal_groups(groups: Mapping[str, Sequence[Item]], fractions: Sequence[float], seed: int) -> dict[str, list[Item]]:
    """Groups dealt to the three parts: shuffled with ``seed``, largest first, to the part that lacks the most members.

    Raises:
        ValueError: fewer groups than parts with a share.
    """
    wanted = [part for part, share in zip(PARTS, fractions, strict=True) if share > 0]
    if len(groups) < len(wanted):
        raise ValueError(f"{len(groups)} group(s) cannot fill {len(wanted)} parts; use finer groups or fewer parts.")
    order = np.random.default_rng(seed).permutation(len(groups))
    shuffled = [list(groups.values())[index] for index in order]
    split: dict[str, list[Item]] = {part: [] for part in PARTS}
    total = sum(map(len, shuffled))
    target = {part: share * total for part, share in zip(PARTS, fractions, strict=True)}
    for dealt, members in enumerate(sorted(shuffled, key=len, reverse=True)):
        empty = [part for part in wanted if not split[part]]
        open_parts = empty if len(empty) == len(groups) - dealt else wanted  # the last groups fill what is empty
        lack = {part: target[part] - len(split[part]) for part in open_parts}
        split[max(open_parts, key=lack.__getitem__)].extend(members)
    return {part: sorted(members, key=_name_key) for part, members in split.items()}


def _name_key(item: Any) -> list[tuple[int, int, str]]:
    return natural_key(item if isinstance(item, str) else item["name"])


def name_series(names: Sequence[str]) -> dict[str, list[str]] | None:
    """Names that are numbered in dense series (``frame1``, ``frame2``, ..., also every 10th), by what they share; None
    where less than nine of ten names are.

    Such names may be neighboring frames of a video, or slices or views of one patient.
    """
    series: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        match = re.fullmatch(r"(.*?)(\d+)(\D*)", name, re.DOTALL)
        if match:
            series.setdefault(f"{match[1]}*{match[3]}", []).append((int(match[2]), name))
    found: dict[str, list[str]] = {}
    for key, members in series.items():
        numbers = sorted({number for number, _ in members})
        step = math.gcd(*(b - a for a, b in pairwise(numbers))) or 1
        if len(numbers) > 2 and (numbers[-1] - numbers[0]) // step < 2 * len(numbers):
            found[key] = sorted((name for _, name in members), key=natural_key)
    return found if sum(map(len, found.values())) >= 0.9 * len(names) and found else None


def _by_series(
    pairs: Pairs, series: Mapping[str, Sequence[str]], fractions: Sequence[float], seed: int
) -> tuple[dict[str, Pairs], str]:
    """Parts of pairs whose names form series, and the rule in words."""
    of_name = {name: key for key, names in series.items() for name in names}
    groups: dict[str, Pairs] = {}
    for pair in pairs:
        groups.setdefault(of_name.get(pair["name"], ""), []).append(pair)
    few = len(groups) < MANY_SERIES and len(pairs) >= LONG_SERIES * len(groups)
    if few or len(groups) < 3:
        cuts = [_blocks(members, fractions) for members in groups.values()]
        lists = {part: [pair for cut in cuts for pair in cut[part]] for part in PARTS}
        each = "" if len(groups) == 1 else f", in each of {len(groups)} numbered series"
        return lists, f"contiguous blocks {_percent(fractions)} in natural order of the names{each}"
    lists = deal_groups(groups, fractions, seed)
    return lists, f"{len(groups)} numbered series, each whole in one part, {_percent(fractions)}, seed {seed}"


def _percent(fractions: Sequence[float]) -> str:
    return "/".join(f"{100 * share:g}" for share in fractions)


def _shuffled(pairs: Pairs, fractions: Sequence[float], seed: int) -> dict[str, Pairs]:
    order = np.random.default_rng(seed).permutation(len(pairs))
    cut = _blocks([pairs[index] for index in order], fractions)
    return {part: sorted(members, key=lambda pair: natural_key(pair["name"])) for part, members in cut.items()}


def draw_parts(
    pairs: Pairs, split: str = "auto", fractions: Sequence[float] = FRACTIONS, seed: int = 0, where: str = "data"
) -> tuple[dict[str, Pairs], str]:
    """Distribute pairs to training, validation and test; the same input gives the same parts on every machine.

    Pairs that carry a ``group`` are drawn by whole groups. Otherwise ``"auto"`` shuffles, unless the names are numbered
    in series (:func:`name_series`), where an image may be the neighbor of the next: then few long series are each cut
    in contiguous blocks, and many or short ones stay whole; a warning says so.

    Args:
        pairs: in natural order of their names.
        split: ``"auto"``, ``"random"`` (each image for itself) or ``"by_name"`` (contiguous blocks of all names).
        fractions: shares of training, validation and test.
        seed: of the shuffle.
        where: what the pairs come from, for the warning.

    Returns:
        the parts, and the rule in words.

    Raises:
        ValueError: unknown ``split``, bad shares, or fewer groups than parts.
    """
    check_fractions(fractions)
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}.")
    if any("group" in pair for pair in pairs):
        groups: dict[str, Pairs] = {}
        for pair in pairs:
            groups.setdefault(pair["group"], []).append(pair)
        rule = f"drawn at random, groups kept together, {_percent(fractions)}, seed {seed}"
        return deal_groups(groups, fractions, seed), rule
    series = name_series([pair["name"] for pair in pairs]) if split == "auto" else None
    if series is not None:
        lists, rule = _by_series(pairs, series, fractions, seed)
        shown = ", ".join(f"{names[0]} ... {names[-1]}" for names in list(series.values())[:3])
        logger.warning(
            "%s: the names are numbered in %d series (%s%s), taken for neighboring frames or slices: %s. Where the "
            "images are independent, give --split random; where videos or patients are known, a split file or groups "
            "(python -m medssm_monai.data.split).",
            where,
            len(series),
            shown,
            ", ..." if len(series) > 3 else "",
            rule,
        )
        return lists, rule
    if split == "by_name":
        return _blocks(pairs, fractions), f"contiguous blocks {_percent(fractions)} in natural order of the names"
    return _shuffled(pairs, fractions, seed), f"drawn at random, {_percent(fractions)}, seed {seed}"


def torn_names(items: Sequence[Mapping[str, object]]) -> str:
    """A sentence where many names look like several images of one patient each (``p07_1``, ``p07_2``); else empty."""
    series: dict[str, int] = {}
    for item in items:
        stem = file_stem(Path(str(item["image"])))
        match = re.fullmatch(r"(.*\D)\d+", stem)
        if match and any(character.isalnum() for character in match[1]):
            series[match[1]] = series.get(match[1], 0) + 1
    several = {key: count for key, count in series.items() if count > 1}
    if len(several) < MANY_SERIES or sum(several.values()) < 0.8 * len(items):
        return ""
    first = next(iter(several))
    return (
        f"{len(several)} beginnings of names come several times ({first}...: {several[first]} images). If these are "
        "images of one patient or lesion each, the drawn parts share patients: give group_column or a split file."
    )


def _group_of(name: str, group: Group) -> str:
    if group is None:
        return name
    if callable(group):
        return str(group(name))
    match = re.search(group, name)
    if match is None:
        raise ValueError(f"the group expression {group!r} does not match the name {name!r}; it must match every name.")
    return match[(match.lastindex and 1) or 0]


def make_split(
    items: Sequence[str | Mapping[str, str]],
    fractions: Sequence[float] = FRACTIONS,
    group: Group = None,
    seed: int = 0,
    split_file: PathLike | None = None,
) -> dict[str, list[str]]:
    r"""Random split into training, validation and test that never tears a group apart.

    Groups are shuffled with ``seed`` and dealt, largest first, to the part that lacks the most images; the same
    input gives the same split on every machine. ``python -m medssm_monai.data.split`` makes split files of folders on
    disk, by classes and for cross-validation too; this takes names alone.

    Example::

        >>> from medssm_monai.data import make_split
        >>> names = [f"patient{patient}_{image}" for patient in range(8) for image in (1, 2)]
        >>> split = make_split(names, (0.5, 0.25, 0.25), group=r"(patient\d+)_")
        >>> {part: len(members) for part, members in split.items()}
        {'training': 8, 'validation': 4, 'test': 4}

    Args:
        items: names, or items of a datalist (their ``"name"``).
        fractions: shares of the three parts; they must sum to 1.
        group: callable from a name to its group, or a regular expression whose first bracket (or whole match) is the
            group; None takes every name for itself.
        seed: seed of the shuffle.
        split_file: where to write the split as JSON; None only returns it.

    Raises:
        ValueError: bad fractions, duplicate names, a name the expression does not match, or fewer groups than parts.
    """
    names = sorted((item if isinstance(item, str) else item["name"] for item in items), key=natural_key)
    if len(set(names)) != len(names):
        raise ValueError("names must be unique; split each dataset for itself.")
    check_fractions(fractions, without_training=True)
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_group_of(name, group), []).append(name)
    split = deal_groups(groups, fractions, seed)
    if split_file is not None:
        write_parts(split, split_file)
    return split
