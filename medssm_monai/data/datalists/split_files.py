"""Split files: JSON lists of names per part, read, applied and written."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.config import PathLike

from ...utils.command_line import typed_option
from ...utils.files import replace_file
from ...utils.shown_names import shown_name
from ...utils.text_files import printable, write_text
from ..errors import DatalistError, Problem
from ..readers.limits import check_text

__all__ = ["PARTS", "apply_split", "read_split", "write_parts"]

logger = logging.getLogger(__name__)
PARTS = ("training", "validation", "test")
Pairs = list[dict[str, Any]]


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


def write_parts(split: Mapping[str, Sequence[str]], split_file: PathLike, rule: str = "") -> Path:
    """Write a split as :func:`read_split` reads it; names that are not UTF-8 come back as they were."""
    path = Path(split_file)
    notes = {"_rule": rule} if rule else {}
    content = {**notes, **{part: list(split.get(part, ())) for part in PARTS}}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as temporary:
        write_text(temporary, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return path
