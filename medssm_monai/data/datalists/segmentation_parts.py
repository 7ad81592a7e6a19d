"""Parts of a segmentation data set before they are checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import Problem
from ..readers.files import match_pairs, natural_key
from .channel_files import Cases

__all__ = ["Pairs", "Parts", "channel_files_of_pictures", "image_files"]

Pairs = list[dict[str, Any]]
"""Items ``image`` (a file, or a list of one per channel), ``label`` and ``name``."""


def image_files(item: Mapping[str, Any]) -> list[str]:
    """Files of an item's image; of a DICOM series the text that stands for all of them."""
    image = item["image"]
    return [str(file) for file in image] if isinstance(image, (list, tuple)) else [str(image)]


@dataclass
class Parts:
    """Pairs of the three parts, what was found wrong on the way, and the rule of the split in words; without a rule the
    training part is still to be split."""

    training: Pairs = field(default_factory=list)
    validation: Pairs = field(default_factory=list)
    test: Pairs = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    rule: str = ""

    def add(self, part: str, image_dir: Path, mask_dir: Path, **extra: str) -> None:
        """Append the pairs of two folders to a part, each with the ``extra`` entries."""
        pairs, problems = match_pairs(image_dir, mask_dir)
        getattr(self, part).extend({**pair, **extra} for pair in pairs)
        self.problems.extend(problems)

    def add_cases(self, part: str, cases: Cases, labels: Mapping[str, Path], told: set[str] | None = None) -> None:
        """Append images to a part, with the label files of their names.

        Args:
            part: to append to.
            cases: files of each image.
            labels: label file of each name.
            told: names of images that something else is known to be wrong with: their labels are not lonely.
        """
        for name in sorted(cases.keys() | labels.keys(), key=natural_key):
            if name not in labels:
                self.problems.append(Problem("image without mask", str(cases[name][0])))
            elif name not in cases:
                if name not in (told or ()):
                    self.problems.append(Problem("mask without image", str(labels[name])))
            else:
                files = [str(file) for file in cases[name]]
                image = files if len(files) > 1 else files[0]
                getattr(self, part).append({"image": image, "label": str(labels[name]), "name": name})


def channel_files_of_pictures(items: Iterable[Mapping[str, Any]]) -> list[Problem]:
    """Pictures whose channels lie in files of their own: they are read as one file of gray or color."""
    several = [item for item in items if len(image_files(item)) > 1]
    return [
        Problem("channels in several pictures", item["image"][0], f"{len(item['image'])} files") for item in several
    ]
