"""What the layouts of classification data hand over: labeled images, in official parts or still to be split."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..errors import Problem
from .split_files import PARTS

__all__ = ["ClassificationDatalists", "Item", "Samples"]

Item = dict[str, Any]  # image (path or npz address), label (int), name (unique), and group where one is known


@dataclass
class Samples:
    """Labeled images of a dataset.

    Attributes:
        class_names: class of label 0, 1, ...
        pool: images to be split; the validation part is cut from here too where the layout has only a test part.
        test, validation: official parts; None where the layout has none.
        problems: what was found wrong on the way.
        rule: where the official parts come from, in words.
    """

    class_names: list[str]
    pool: list[Item] = field(default_factory=list)
    validation: list[Item] | None = None
    test: list[Item] | None = None
    problems: list[Problem] = field(default_factory=list)
    rule: str = ""

    def every(self) -> list[Item]:
        """Images of all parts."""
        return self.pool + (self.validation or []) + (self.test or [])


class ClassificationDatalists(dict[str, list[Item]]):
    """``{"training": [...], "validation": [...], "test": [...]}`` that knows its classes.

    Each item has ``image`` (a file, or an address in an ``.npz`` file), ``label`` (int), ``name`` (unique), and
    ``group`` where groups were asked for.

    Attributes:
        name: how the data set is called in logs, runs and reports.
        class_names: class of label 0, 1, ...
        rule: the split in words, with the seed where it was drawn.
    """

    def __init__(self, parts: dict[str, list[Item]], name: str, class_names: list[str], rule: str) -> None:
        super().__init__({part: parts.get(part, []) for part in PARTS})
        self.name, self.class_names, self.rule = name, list(class_names), rule

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def counts(self, part: str = "training") -> list[int]:
        """Images per class of a part, in label order."""
        labels = [item["label"] for item in self[part]]
        return [labels.count(label) for label in range(self.num_classes)]

    def class_weights(self) -> list[float]:
        """Weights for a loss, N / (classes * N_class) over the training part (scikit-learn's ``"balanced"``): mean 1
        over the training images.

        Raises:
            ValueError: a class without training image has no weight.
        """
        counts = self.counts()
        if not all(counts):
            empty = [name for name, count in zip(self.class_names, counts, strict=True) if not count]
            raise ValueError(f"no training image of {', '.join(empty)}: class weights need every class.")
        return [sum(counts) / (len(counts) * count) for count in counts]

    def __reduce__(self) -> tuple:
        return type(self), (dict(self), self.name, self.class_names, self.rule)
