"""Which series of a study a network gets: rules over modality, body part and description."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..data.studies.series import Series
from .facts import MANUFACTURER

__all__ = ["Selection"]


def _pattern(name: str, text: str) -> re.Pattern[str]:
    try:
        return re.compile(text, re.IGNORECASE)
    except re.error as error:
        raise ValueError(
            f"{name}: {text!r} is no regular expression ({error}); write . for any character and \\( for a bracket."
        ) from error


@dataclass(frozen=True)
class Selection:
    """Rules that a series has to keep; those left empty let all pass.

    Attributes:
        modality: such as ``("MR", "CT")``.
        body_part: regular expression that is found in Body Part Examined; letters may be small or capital, as in all of
            these.
        description: regular expression that is found in the Series Description.
        sources: for networks that take several series of a study, a regular expression for each of them by its name
            (the sources of a fusion, the channels of a volume), found in the description, or all of the modality.
        own_results: whether images that this package has written may be used as well, such as fused ones.

    Raises:
        ValueError: no regular expression.
    """

    modality: tuple[str, ...] = ()
    body_part: str = ""
    description: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)
    own_results: bool = False

    def __post_init__(self) -> None:
        for name, text in (("body_part", self.body_part), ("description", self.description), *self.sources.items()):
            _pattern(name, text)

    def why_not(self, series: Series) -> str:
        """Why a series is left out, without what its header says; empty for one that keeps the rules."""
        if self.modality and series.modality.upper() not in {name.upper() for name in self.modality}:
            return f"modality {series.modality or 'not stated'}, asked for {', '.join(self.modality)}"
        header = series.instances[0].header
        if not self.own_results and str(header.get("Manufacturer", "")) == MANUFACTURER:
            return f"a result of {MANUFACTURER} itself"
        part = str(header.get("BodyPartExamined", "") or "")
        if self.body_part and not _pattern("body_part", self.body_part).search(part):
            return f"another body part than asked for ({self.body_part})"
        if self.description and not _pattern("description", self.description).search(series.description):
            return f"another description than asked for ({self.description})"
        return ""

    def is_source(self, series: Series, name: str) -> bool:
        """Whether a series may be the source or channel of a name; without a rule for it, whether the name itself
        stands in the description as a word."""
        if name in self.sources:
            pattern = _pattern(name, self.sources[name])
            return bool(pattern.search(series.description) or pattern.fullmatch(series.modality))
        return bool(re.search(rf"(?<![a-z0-9]){re.escape(name)}(?![a-z0-9])", series.description, re.IGNORECASE))
