"""Which series and studies are for which bundle, by what Orthanc knows of them. Standard library only."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

__all__ = ["OURS", "Rule", "content_of", "is_source", "matching_series", "read_rules"]

OURS = "medssm-monai"
"""Manufacturer of what we write."""
NO_IMAGES = frozenset(
    ("SEG", "SR", "PR", "KO", "REG", "FID", "RWV", "ANN")
    + ("RTSTRUCT", "RTPLAN", "RTDOSE", "RTRECORD", "PLAN", "DOC", "AU", "ECG", "EPS", "HD")
)
"""Modalities of objects about images, and of what is no image: of no bundle, whoever wrote them."""
TAGS = {
    "modality": "Modality",
    "body_part": "BodyPartExamined",
    "description": "SeriesDescription",
    "protocol": "ProtocolName",
    "manufacturer": "Manufacturer",
}
"""Key of a rule -> tag of a series that Orthanc keeps at hand."""
WHOLE = ("modality", "body_part")


@dataclass(frozen=True)
class Rule:
    """What a bundle is to predict.

    Attributes:
        bundle: name under which its worker asks.
        level: ``"series"``, or ``"study"`` where it needs several series of a study (a fusion, several channels).
        modality, body_part: regular expressions that the whole value matches, in upper or lower case.
        description, protocol, manufacturer: regular expressions that are found somewhere in the value.
    """

    bundle: str
    level: str = "series"
    modality: str | None = None
    body_part: str | None = None
    description: str | None = None
    protocol: str | None = None
    manufacturer: str | None = None

    def matches(self, tags: Mapping[str, str]) -> bool:
        """Whether a series with these tags is meant."""
        for key, tag in TAGS.items():
            pattern = getattr(self, key)
            if pattern is None:
                continue
            search = re.fullmatch if key in WHOLE else re.search
            if search(pattern, tags.get(tag, "").strip(), re.IGNORECASE) is None:
                return False
        return True


def is_source(tags: Mapping[str, str]) -> bool:
    """Whether a series may hold images to predict: neither our own results nor objects about images."""
    return tags.get("Manufacturer", "").strip() != OURS and tags.get("Modality", "").strip().upper() not in NO_IMAGES


def matching_series(rule: Rule, series: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Series, as Orthanc describes them, that a rule sends to its bundle.

    At level ``study`` these are all series with images, of a study in which one matches; else those that match.
    """
    sources = [one for one in series if is_source(one["MainDicomTags"])]
    matched = [one for one in sources if rule.matches(one["MainDicomTags"])]
    return (sources if matched else []) if rule.level == "study" else matched


def content_of(series: Iterable[Mapping[str, Any]]) -> str:
    """Digest of the instances of series, as Orthanc describes them, whatever their order."""
    names = sorted(name for one in series for name in one["Instances"])
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:32]


def read_rules(given: Any) -> list[Rule]:
    """Rules from a list of objects, or from the JSON file that holds it.

    Raises:
        ValueError: naming every mistake.
    """
    where = "rules"
    if isinstance(given, str):
        where = given
        try:
            given = json.loads(Path(given).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ValueError(f"{where}: cannot be read as JSON ({error}).") from None
    if not isinstance(given, list) or not given:
        raise ValueError(f'{where}: a list of one rule or more is expected, such as [{{"bundle": "mamba_mis"}}].')
    known = [field.name for field in fields(Rule)]
    wrong: list[str] = []
    for number, one in enumerate(given, 1):
        if not isinstance(one, dict):
            wrong.append(f"rule {number} is no object")
            continue
        wrong += [f"rule {number}: unknown key {key!r} (known: {', '.join(known)})" for key in one if key not in known]
        texts = {key: value for key, value in one.items() if key in known}
        wrong += [
            f"rule {number}: {key} is no text"
            for key, value in texts.items()
            if not isinstance(value, str) or not value
        ]
        if "bundle" not in one:
            wrong.append(f"rule {number}: no bundle")
        if one.get("level", "series") not in ("series", "study"):
            wrong.append(f'rule {number}: level is "series" or "study"')
        for key in TAGS:
            if isinstance(one.get(key), str):
                try:
                    re.compile(one[key])
                except re.error as error:
                    wrong.append(f"rule {number}: {key} is no regular expression ({error})")
    if wrong:
        raise ValueError(f"{where}: " + "; ".join(wrong) + ".")
    return [Rule(**one) for one in given]
