"""Split files: JSON lists of names per part, and a maker that keeps groups (videos, patients) together."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from monai.config import PathLike

from ...utils.command_line import typed_option
from ...utils.files import replace_file
from ...utils.shown_names import shown_name
from ...utils.text_files import printable, write_text
from ..errors import DatalistError, Problem
from ..readers.files import natural_key
from ..readers.limits import check_text

__all__ = ["PARTS", "apply_split", "deal_groups", "make_split", "read_split", "write_parts"]

logger = logging.getLogger(__name__)
PARTS = ("training", "validation", "test")
Pairs = list[dict[str, str]]
Item = TypeVar("Item")
Group = str | Callable[[str], str] | None


def read_split(split_file: PathLike) -> dict[str, list[str]]:
    """Entries of a split file: ``{"training": [...], "validation": [...], "test": [...]}``.

    Raises:
        FileNotFoundError: no such file.
        DatalistError: not JSON, an unknown part, or entries that are no strings or numbers.
        TooLargeError: more than 256 MiB.
    """
    path = Path(str(typed_option(split_file, "split_file"))).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"split file {path} does not exist; check split_file or leave it out.")
    rule = f"expected a JSON object with lists of names under {', '.join(PARTS)}"
    check_text(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DatalistError(f"split file {path} is not valid JSON ({error}); {rule}.") from error
    if not isinstance(content, dict) or not set(PARTS) & set(content):
        raise DatalistError(f"split file {path}: {rule}.")
    unknown = sorted(key for key in content if key not in PARTS and not key.startswith("_"))
    if unknown:
        raise DatalistError(f"split file {path}: unknown parts {unknown}; {rule} (notes may start with '_').")
    for part in PARTS:
        entries = content.get(part, [])
        if not isinstance(entries, list) or any(isinstance(e, bool) or not isinstance(e, (str, int)) for e in entries):
            raise DatalistError(f"split file {path}: {part!r} is no list of names; {rule}.")
    return {part: [str(entry) for entry in content.get(part, [])] for part in PARTS}


def _expand(entry: str, by_name: Mapping[str, dict], by_number: Mapping[int, list[str]]) -> tuple[list[str], list[str]]:
    """Names on disk that an entry stands for, and what it names that is not there."""
    if entry in by_name:
        return [entry], []
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", entry)
    if not match:
        return [], [entry]
    first, last = int(match[1]), int(match[2] or match[1])
    numbers = range(first, last + 1)
    missing = [str(number) for number in numbers if number not in by_number]
    if last < first:
        missing = [f"{entry} (an empty range)"]
    return [name for number in numbers for name in by_number.get(number, ())], missing


def apply_split(pairs: Pairs, split: Mapping[str, Sequence[str]], source: str = "split file") -> dict[str, Pairs]:
    """Distribute pairs to the parts of a split.

    An entry is a name without suffix, or a range ``"1-280"`` of names that are plain numbers (leading zeros do not
    matter). Names on disk that no part mentions are left out with a warning.

    Raises:
        DatalistError: names in two parts, and names that are not on disk, all of them at once.
    """
    by_name = {pair["name"]: pair for pair in pairs}
    by_number: dict[int, list[str]] = {}
    for name in by_name:
        if name.isdecimal():
            by_number.setdefault(int(name), []).append(name)
    problems: list[Problem] = []
    part_of: dict[str, str] = {}
    for part, entries in split.items():
        for entry in entries:
            names, missing = _expand(entry, by_name, by_number)
            problems.extend(Problem("unknown name in split file", name, f"{part} of {source}") for name in missing)
            for name in names:
                if part_of.setdefault(name, part) != part:
                    detail = f"{part_of[name]} and {part} of {source}"
                    problems.append(Problem("name in two parts of the split file", name, detail))
    if problems:
        raise DatalistError(problems)
    left = [name for name in by_name if name not in part_of]
    if left:
        named = printable(", ".join(left))
        logger.warning("%s: %d names on disk are in no part and left out: %s", shown_name(source), len(left), named)
    return {part: [pair for pair in pairs if part_of.get(pair["name"]) == part] for part in PARTS}


def _group_of(name: str, group: Group) -> str:
    if group is None:
        return name
    if callable(group):
        return str(group(name))
    match = re.search(group, name)
    if match is None:
        raise ValueError(f"the group expression {group!r} does not match the name {name!r}; it must match every name.")
    return match[match.lastindex and 1 or 0]


def write_parts(split: Mapping[str, Sequence[str]], split_file: PathLike, rule: str = "") -> Path:
    """Write a split as :func:`read_split` reads it; names that are not UTF-8 come back as they were."""
    path = Path(split_file)
    notes = {"_rule": rule} if rule else {}
    content = {**notes, **{part: list(split.get(part, ())) for part in PARTS}}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as temporary:
        write_text(temporary, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return path


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


def make_split(
    items: Sequence[str | Mapping[str, str]],
    fractions: Sequence[float] = (0.7, 0.15, 0.15),
    group: Group = None,
    seed: int = 0,
    split_file: PathLike | None = None,
) -> dict[str, list[str]]:
    """Random split into training, validation and test that never tears a group apart.

    Groups are shuffled with ``seed`` and dealt, largest first, to the part that lacks the most images; the same
    input gives the same split on every machine.

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
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(f"fractions must be three shares >= 0 that sum to 1, got {tuple(fractions)}.")
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_group_of(name, group), []).append(name)
    split = deal_groups(groups, fractions, seed)
    if split_file is not None:
        write_parts(split, split_file)
    return split
