"""One error for everything that is wrong with a data folder, each offender named with its mend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["DatalistError", "Problem"]

MENDS = {
    "no images": "expected PNG, JPEG, TIFF, BMP, NIfTI or DICOM files there; check dataset_dir and the layout",
    "image without mask": "add the mask (same name, or with '_segmentation' at its end) or take the image out",
    "mask without image": "add the image or take the mask out",
    "two files with one name": "names without suffix must be unique in a folder; rename or remove one",
    "unreadable file": "the file is truncated, damaged or no single 2D image; copy or export it again",
    "NaN or infinite values": "repair the file or take the pair out",
    "unequal sizes": "image and mask must have the same number of rows and columns; export the mask again",
    "all masks empty": "no pixel of the part is foreground (values above 127 of 255, or 1 in a 0/1 mask); "
    "check that these are the masks and how they encode the foreground",
    "unknown name in split file": "correct the name or put the file into the folder",
    "name in two parts of the split file": "keep each name in one part only",
    "empty part": "the data leave no image for it; check the layout, the split file, or ask for other parts",
    "file not found": "correct the path",
}


@dataclass(frozen=True)
class Problem:
    """One offender: ``kind`` (a heading), ``path`` (file, folder or name) and an optional detail."""

    kind: str
    path: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.path} ({self.detail})" if self.detail else self.path


class DatalistError(ValueError):
    """Everything wrong with a data folder at once.

    Attributes:
        problems: every offender as a :class:`Problem`; the message groups them by kind, with the mend of each kind.
    """

    def __init__(self, problems: Sequence[Problem] | str) -> None:
        self.problems = [] if isinstance(problems, str) else list(problems)
        super().__init__(problems if isinstance(problems, str) else self._message())

    def _message(self) -> str:
        lines = [f"{len(self.problems)} problem(s) in the data:"]
        for kind in dict.fromkeys(problem.kind for problem in self.problems):
            offenders = [str(problem) for problem in self.problems if problem.kind == kind]
            lines.append(f"- {kind} ({len(offenders)}); mend: {MENDS.get(kind, 'see the detail')}")
            lines.extend(f"    {offender}" for offender in offenders)
        return "\n".join(lines)
