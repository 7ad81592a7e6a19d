"""What the values of masks mean: classes, regions that overlap, the background, and what nobody has labeled.

One form serves configs, the settings beside weights, and the ``labels`` of nnU-Net's ``dataset.json``: names and the
values that a mask has there. The network's channels, its targets, and the files that are written follow from it.
"""

from __future__ import annotations

import colorsys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

__all__ = ["BY_RULE", "IGNORED", "LabelSet", "wrong_labels"]

BY_RULE = "foreground"
"""Value of the one class whose voxels a rule tells (:func:`~medssm_monai.data.readers.mask.read_mask`)."""
IGNORED = -1
"""What a target holds where nobody has labeled."""
BACKGROUND, IGNORE = "background", "ignore"
LARGEST = 65535
MOST_CLASSES = 255
SHOWN = 6
PIECE = 2**18  # elements
# Okabe and Ito, "Color Universal Design" (2008), without black; brightest contrasts on gray images first.
COLORS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))
Color = tuple[int, int, int]


def wrong_labels(labels: Any) -> str | None:
    """What is wrong with ``labels`` as :meth:`LabelSet.of` takes them; None when nothing is."""
    if not isinstance(labels, Mapping) or not all(isinstance(name, str) and name.strip() for name in labels):
        return "labels are names with the values that masks have there, {liver: 1, tumor: [2, 3]}"
    classes = {name: value for name, value in labels.items() if name not in (BACKGROUND, IGNORE)}
    if not 1 <= len(classes) <= MOST_CLASSES:
        return f"labels name {len(classes)} classes beside the background; there may be 1 to {MOST_CLASSES}"
    if BY_RULE in classes.values():
        return None if len(labels) == 1 else f"{BY_RULE!r} stands for one class alone; give every class its values"
    for name, value in labels.items():
        values = _listed(value)
        if not values or any(isinstance(v, bool) or not isinstance(v, int) or not 0 <= v <= LARGEST for v in values):
            return f"label {name!r} has the value {value!r}; expected a whole number from 0 to {LARGEST} or a list"
    if labels.get(BACKGROUND, 0) != 0:
        return f"the background has the value {labels[BACKGROUND]!r}; it is 0 in every mask"
    taken = [value for value in classes.values() for value in _listed(value)]
    if 0 in taken:
        return f"{next(n for n, v in classes.items() if 0 in _listed(v))!r} has the value 0, which is the background"
    if IGNORE in labels and (len(_listed(labels[IGNORE])) != 1 or _listed(labels[IGNORE])[0] in [0, *taken]):
        return f"{IGNORE!r} has the value {labels[IGNORE]!r}; expected one number that no class has"
    sets = [frozenset(_listed(value)) for value in classes.values()]
    if len(set(sets)) < len(sets):
        return "two classes have the same values; leave one of them out"
    hidden = [
        name for name, left in zip(classes, _uncovered(list(map(_listed, classes.values()))), strict=True) if not left
    ]
    if hidden:
        return f"every value of {hidden[0]!r} belongs to a class named after it; name larger regions first"
    return None


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]


def _uncovered(values: Sequence[Sequence[int]]) -> list[list[int]]:
    """Of each class the values that no later class has."""
    later = [{value for other in values[number + 1 :] for value in other} for number in range(len(values))]
    return [[value for value in own if value not in after] for own, after in zip(values, later, strict=True)]


@dataclass(frozen=True)
class LabelSet:
    """Names of classes and the values that they have in masks; made by :meth:`of`.

    One class gives a network of one channel (sigmoid); several that exclude each other one channel more than there are,
    the background first (softmax); classes that share values are regions, which may overlap, with a channel each
    (sigmoid), such as BraTS's whole tumor ``[1, 2, 3]``, core ``[1, 3]``, and enhancing tumor ``3``.

    Attributes:
        names: of the classes, without the background.
        values: of each class in masks, whole numbers; no value at all for the one class that a rule tells.
        ignore: value in masks of what nobody has labeled; None where there is none.
        colors: red, green, blue of each class, 0 to 255.
    """

    names: tuple[str, ...]
    values: tuple[tuple[int, ...], ...]
    ignore: int | None
    colors: tuple[Color, ...]

    @classmethod
    def of(cls, labels: LabelSet | Mapping[str, Any], colors: Sequence[Sequence[int]] | None = None) -> LabelSet:
        """Make one of names and values.

        Args:
            labels: ``{"liver": 1, "tumor": [2, 3]}``: name and value, or values, of each class. ``background`` may be
                there, as 0; ``ignore`` is the value of what nobody has labeled. ``{"lesion": "foreground"}`` is one
                class that a rule tells. One that is made already is returned.
            colors: of the classes in their order; None takes some that color-blind readers tell apart.

        Raises:
            ValueError: what :func:`wrong_labels` finds, or other than one color per class.
        """
        if isinstance(labels, LabelSet):
            return labels
        problem = wrong_labels(labels)
        if problem is not None:
            raise ValueError(f"{problem}; got {labels!r}.")
        classes = {name: value for name, value in labels.items() if name not in (BACKGROUND, IGNORE)}
        by_rule = BY_RULE in classes.values()
        values = tuple(() if by_rule else tuple(dict.fromkeys(_listed(value))) for value in classes.values())
        ignore = _listed(labels[IGNORE])[0] if IGNORE in labels else None
        return cls(tuple(classes), values, ignore, _checked_colors(colors, list(classes)))

    @property
    def by_rule(self) -> bool:
        """Whether the one class is told by a rule and not by values."""
        return self.values == ((),)

    @property
    def overlapping(self) -> bool:
        """Whether a voxel may belong to several classes."""
        every = [value for values in self.values for value in values]
        return len(set(every)) < len(every)

    @property
    def softmax(self) -> bool:
        """Whether exactly one of the network's channels holds in each voxel; otherwise each holds or not (sigmoid)."""
        return len(self.names) > 1 and not self.overlapping

    @property
    def sigmoid(self) -> bool:
        """The opposite of :attr:`softmax`."""
        return not self.softmax

    @property
    def out_channels(self) -> int:
        """Channels of the network: one per class, and the background's, the first, where classes exclude each other."""
        return len(self.names) + self.softmax

    @property
    def ignored(self) -> int | None:
        """:data:`IGNORED` where some voxels may be without a label, for a loss; None where all have one."""
        return None if self.ignore is None else IGNORED

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the network's channels."""
        return (BACKGROUND, *self.names) if self.softmax else self.names

    @property
    def written(self) -> tuple[int, ...]:
        """The value that each class has in a label map that is written: the first that no class named after it has. A
        class by rule has 1."""
        return (1,) if self.by_rule else tuple(values[0] for values in _uncovered(self.values))

    @property
    def known(self) -> tuple[int, ...]:
        """Every value that a mask may have, the background's first and ``ignore`` last; 0 and 1 for a class by rule."""
        found = sorted({value for values in self.values for value in values} or {1})
        return (0, *found) if self.ignore is None else (0, *found, self.ignore)

    @property
    def labels(self) -> dict[str, Any]:
        """What :meth:`of` takes, for a settings file."""
        if self.by_rule:
            return {self.names[0]: BY_RULE}
        found: dict[str, Any] = {
            name: values[0] if len(values) == 1 else list(values)
            for name, values in zip(self.names, self.values, strict=True)
        }
        return found if self.ignore is None else {**found, IGNORE: self.ignore}

    def to_indices(self, values: torch.Tensor, name: str = "mask") -> torch.Tensor:
        """Values of a mask by their places in :attr:`known`, which are small and without gaps.

        Args:
            values: of any shape; whole numbers, whatever the type.
            name: of the mask, for the error.

        Returns:
            int64 of the same shape.

        Raises:
            ValueError: values that are not known, with their counts.
        """
        given = torch.as_tensor(values)
        table = torch.full((LARGEST + 2,), IGNORED, dtype=torch.int64)  # the last: what no mask may hold
        table[list(self.known)] = torch.arange(len(self.known))
        places = torch.empty(given.numel(), dtype=torch.int64)
        others: Counter[float] = Counter()
        # in pieces: a whole volume would lie in memory several times, 8 bytes for each voxel
        for piece, found in zip(given.reshape(-1).split(PIECE), places.split(PIECE), strict=True):
            whole = piece.to(torch.int64)
            whole = whole.masked_fill((whole != piece) | (whole < 0) | (whole > LARGEST), LARGEST + 1)
            found.copy_(table[whole])
            missing, counts = torch.unique(piece[found == IGNORED], return_counts=True)
            others.update(dict(zip(missing.tolist(), counts.tolist(), strict=True)))
        unknown = sorted(others)
        if unknown:
            pairs = [(value, others[value]) for value in unknown]
            shown = ", ".join(f"{value:g} ({count} times)" for value, count in pairs[:SHOWN])
            more = f" and {len(pairs) - SHOWN} more" if len(pairs) > SHOWN else ""
            raise ValueError(f"{name}: values {shown}{more}, which labels do not name; known are {self.described}.")
        return places.reshape(given.shape)

    @property
    def described(self) -> str:
        """Names and values in one line."""
        pairs = [f"{name} {', '.join(map(str, values))}" for name, values in zip(self.names, self.values, strict=True)]
        extra = [] if self.ignore is None else [f"{IGNORE} {self.ignore}"]
        return "; ".join([f"{BACKGROUND} 0", *pairs, *extra]) if not self.by_rule else f"{self.names[0]} by rule"

    def to_target(self, indices: torch.Tensor) -> torch.Tensor:
        """What a loss compares the network's output with.

        Args:
            indices: ``(1, *spatial)`` of :meth:`to_indices`.

        Returns:
            float32: numbers of the network's channels ``(1, *spatial)`` where classes exclude each other, else 0 and 1
            ``(K, *spatial)``; :data:`IGNORED` where nobody has labeled.
        """
        table = torch.zeros((1 if self.softmax else len(self.names), len(self.known)), dtype=torch.float32)
        for number, values in enumerate(self.values):
            for value in values or (1,):
                table[0 if self.softmax else number, self.known.index(value)] = number + 1 if self.softmax else 1
        if self.ignore is not None:
            table[:, -1] = IGNORED
        return table[:, indices[0].long()]

    def target_masks(self, target: torch.Tensor) -> torch.Tensor:
        """Each class of a target, ``(K, *spatial)`` bool; what nobody has labeled belongs to none."""
        if not self.softmax:
            return target > 0.5
        numbers = torch.arange(1, len(self.names) + 1, device=target.device)
        return target == numbers.reshape(-1, *[1] * (target.ndim - 1))

    def masks(self, probability: torch.Tensor, threshold: float = 0.5) -> torch.Tensor:
        """Each class of a prediction, ``(K, *spatial)`` bool.

        Args:
            probability: ``(out_channels, *spatial)`` after softmax or sigmoid.
            threshold: from which a class holds; where classes exclude each other the most probable channel holds.

        Raises:
            ValueError: other channels.
        """
        if len(probability) != self.out_channels:
            named = ", ".join(self.channel_names)
            raise ValueError(f"a prediction of {len(probability)} channels; expected {self.out_channels}: {named}.")
        if not self.softmax:
            return probability >= threshold
        return self.target_masks(probability.argmax(0, keepdim=True))

    def label_map(self, masks: torch.Tensor) -> torch.Tensor:
        """One value per voxel for a file, ``(1, *spatial)`` uint8, uint16 where values need it; a later class lies over
        earlier ones.

        Args:
            masks: ``(K, *spatial)`` of :meth:`masks`.
        """
        small = max(self.written) <= 255
        found = torch.zeros((1, *masks.shape[1:]), dtype=torch.uint8 if small else torch.int32, device=masks.device)
        for mask, value in zip(masks, self.written, strict=True):
            found[0][mask > 0.5] = value
        return found if small else found.to(torch.uint16)


def _checked_colors(colors: Sequence[Sequence[int]] | None, names: Sequence[str]) -> tuple[Color, ...]:
    if colors is None:
        return tuple(COLORS[n] if n < len(COLORS) else _hue(n) for n in range(len(names)))
    triples = [tuple(color) if isinstance(color, Sequence) else () for color in colors]
    fits = all(len(c) == 3 and all(isinstance(v, int) and 0 <= v <= 255 for v in c) for c in triples)
    if not fits or len(triples) != len(names):
        raise ValueError(
            f"label_colors needs [red, green, blue] from 0 to 255 for each of {', '.join(names)}; got {colors}."
        )
    return tuple((c[0], c[1], c[2]) for c in triples)


def _hue(number: int) -> Color:
    """A color far from those of the numbers before it: hues by the golden ratio."""
    red, green, blue = colorsys.hsv_to_rgb(number * 0.618034 % 1, 0.65, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)
