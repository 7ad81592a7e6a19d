"""Which pixels of a mask file are foreground, decided for a data set and never guessed.

One class is segmented. A mask is taken without being asked when it can only mean one thing: 0/1, or one label brighter
than half (255, a palette color) on a dark background, gray only where the two meet. Everything else (0/1/2, 0/100/255,
two colors) is an error that names the values, until ``foreground`` says which of them are meant.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from ..errors import Problem

if TYPE_CHECKING:
    from .pixels import Pixels

__all__ = ["FOREGROUND_RULES", "Foreground", "MaskFacts", "MaskValuesError", "check_foreground", "read_mask"]

Foreground = str | Sequence[int | Sequence[int]]
FOREGROUND_RULES = ("auto", "nonzero", "half")
CHOICES = "'nonzero' (everything above 0), 'half' (above 127 of 255), or the values, such as [1, 2]"
HALF = 127.0
NOISE = 40.0  # gray values this close to black or white are compression and drawing noise
WHITE = 255.0 - NOISE
FAR = {False: 10, True: 16}  # pixels from a label, in lossless and lossy files; no border, no block is wider
BLOCK = 64  # pixels of a lossy file that may have another color than the label
EVEN = {False: 2.0, True: 16.0}  # largest difference between neighbors of one label
SHOWN = 6
Color = tuple[int, ...]


class MaskValuesError(ValueError):
    """A mask whose values do not say which pixels are foreground; the message names them and the remedy."""


@dataclass
class MaskFacts:
    """What was found in one mask.

    Attributes:
        mask: ``(H, W)`` uint8 in {0, 1}.
        label: value or color of the foreground, 0 to 255; None for an empty mask.
        unit: the file counts 0 and 1.
        faint: pixels of even, nearly black gray in a lossless file with a bright label; they are background.
        faintest: the brightest of them.
        from_alpha: the mask lies in the alpha channel, the colors being all one.
        unclear: the values, when they do not say what is foreground; ``mask`` is then empty.
    """

    mask: np.ndarray
    label: Color | None = None
    unit: bool = False
    faint: int = 0
    faintest: int = 0
    from_alpha: bool = False
    unclear: str = ""


def check_foreground(foreground: Foreground) -> Foreground:
    """``foreground`` itself.

    Raises:
        ValueError: no known rule, no values.
    """
    if isinstance(foreground, str):
        if foreground not in FOREGROUND_RULES:
            raise ValueError(f"foreground must be 'auto', {CHOICES}, got {foreground!r}.")
        return foreground
    values: list[Any] = list(foreground) if isinstance(foreground, Sequence) else []
    whole = [v for value in values for v in (value if isinstance(value, Sequence) else [value])]
    lengths = {len(value) for value in values if isinstance(value, Sequence) and not isinstance(value, str)}
    if not values or not all(isinstance(v, int) and not isinstance(v, bool) for v in whole) or lengths - {3}:
        raise ValueError(f"foreground must be 'auto', {CHOICES} or colors [[64, 0, 0]], got {foreground!r}.")
    return values


def read_mask(pixels: Pixels, foreground: Foreground = "auto") -> MaskFacts:
    """Foreground of one decoded mask; see :class:`MaskFacts`.

    A mask in an alpha channel is read from there when all colors are equal; otherwise alpha is ignored.

    Args:
        pixels: the file, in its own units.
        foreground: ``"auto"``; ``"nonzero"``; ``"half"`` (above 127 of 255, 0.5 in files up to 1); or the values that
            are foreground, numbers or colors ``[r, g, b]``, all others being background.
    """
    values, from_alpha = _planes(pixels)
    if not values.size:
        return MaskFacts(np.zeros(values.shape[:2], np.uint8))
    if not isinstance(foreground, str):
        facts = _by_values(values, foreground, pixels.lossy)
    else:
        levels = _levels(values, pixels)
        facts = _auto(levels, values, pixels.lossy) if foreground == "auto" else _cut(levels, foreground, pixels.lossy)
    facts.from_alpha = from_alpha
    return facts


def _planes(pixels: Pixels) -> tuple[np.ndarray, bool]:
    """``(H, W, C)`` that carry the mask, C = 1 where all channels are equal; and whether that is the alpha channel."""
    values, alpha = pixels.values, pixels.alpha
    if alpha is not None and alpha.size and alpha.min() < alpha.max() and not np.ptp(values, axis=(0, 1)).any():
        return alpha[..., None].astype(np.float32), True
    return (values[..., :1] if (values == values[..., :1]).all() else values), False


def _levels(values: np.ndarray, pixels: Pixels) -> np.ndarray:
    """In units of 255; files that do not exceed 1 (or, with 16 bits, 255) keep their numbers."""
    return values / np.float32(257) if pixels.full_range == 65535.0 and values.max() > 255 else values


def _cut(levels: np.ndarray, foreground: str, lossy: bool) -> MaskFacts:
    gray = levels.max(axis=-1)
    half = 0.5 if gray.max() <= 1 and not lossy else HALF
    threshold = half if foreground == "half" else NOISE if lossy else 0.0
    return MaskFacts((gray > threshold).astype(np.uint8))


def _by_values(values: np.ndarray, foreground: Sequence[int | Sequence[int]], lossy: bool) -> MaskFacts:
    tolerance = NOISE / 2 if lossy else 0.5
    mask = np.zeros(values.shape[:2], bool)
    for wanted in foreground:
        mask |= (np.abs(values - np.asarray(wanted, np.float32)) <= tolerance).all(axis=-1)
    return MaskFacts(mask.astype(np.uint8))


def _auto(levels: np.ndarray, values: np.ndarray, lossy: bool) -> MaskFacts:
    gray = levels.max(axis=-1)
    largest = float(gray.max())
    if float(levels.min()) >= 0 and largest <= 1 and not lossy:
        return MaskFacts((gray > 0.5).astype(np.uint8), (1,) if largest > 0 else None, unit=largest > 0)
    nothing = np.zeros(gray.shape, np.uint8)
    if lossy and largest <= NOISE:
        return MaskFacts(nothing)
    bright = gray > HALF
    if not bright.any() or float(levels.min()) < 0:
        return MaskFacts(nothing, unclear=_named(values))
    mask = bright.astype(np.uint8)
    if levels.shape[-1] == 1 and not ((gray > 0) & (gray < 255)).any():
        return MaskFacts(mask, (255,))
    even = _even(levels, EVEN[lossy])
    grays = (gray > NOISE) & (gray < WHITE)
    alone = grays & ~ndimage.maximum_filter(bright, 2 * FAR[lossy] + 1) if grays.any() else grays
    # Compression leaves even grays, but not beyond the block, beside a label; drawing and resizing do not.
    settled = even & bright if lossy else (even & (gray > NOISE)) | (gray >= WHITE)
    colors = levels[settled] if settled.any() else levels[bright]
    label = np.median(colors, axis=0)
    others = int((np.abs(colors - label) > NOISE * (1 + lossy)).any(axis=-1).sum()) if settled.any() else 0
    if alone.any() or others > BLOCK * lossy or (not lossy and float(colors.max(axis=-1).min()) <= HALF):
        return MaskFacts(nothing, unclear=_named(values))
    faint = even & (gray > 0) & (gray <= NOISE)
    count = 0 if lossy else int(faint.sum())
    return MaskFacts(
        mask,
        tuple(round(float(level)) for level in label),
        faint=count,
        faintest=int(gray[faint].max()) if count else 0,
    )


def _even(levels: np.ndarray, tolerance: float) -> np.ndarray:
    """Where all eight neighbors have the same value as the pixel, in every channel."""
    size = (3, 3, 1)
    rise = ndimage.maximum_filter(levels, size, mode="nearest") - ndimage.minimum_filter(levels, size, mode="nearest")
    return (rise <= tolerance).all(axis=-1)


def _named(values: np.ndarray) -> str:
    """The commonest values (or colors) in words, in ascending order."""
    flat = values.reshape(-1, values.shape[-1])
    found, counts = np.unique(flat, axis=0, return_counts=True) if values.shape[-1] > 1 else _unique(flat[:, 0])
    chosen = sorted(np.argsort(-counts, kind="stable")[:SHOWN].tolist())
    words = [f"{row[0]:g}" if len(row) == 1 else f"({', '.join(f'{v:g}' for v in row)})" for row in found[chosen]]
    more = f" and {len(found) - len(chosen)} more" if len(found) > len(chosen) else ""
    return f"{'values' if values.shape[-1] == 1 else 'colors'} {', '.join(words)}{more}"


def _unique(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    found, counts = np.unique(values, return_counts=True)
    return found[:, None], counts


def unclear_message(unclear: str) -> str:
    """One sentence of what is unclear and what is possible."""
    return f"{unclear}: which are foreground? One class is segmented; say it with foreground: {CHOICES}"


def data_set_problems(found: Sequence[tuple[str, MaskFacts]]) -> list[Problem]:
    """What is wrong with masks that are each clear, or not, when they are to share one rule.

    Args:
        found: path and facts of every mask of the data set.

    Returns:
        values that do not say what is foreground (one line for each set of values); labels of several colors; 0/1
        beside 0/255 in one folder; more nearly black pixels than foreground.
    """
    problems = []
    by_values: dict[str, list[str]] = defaultdict(list)
    for path, facts in found:
        if facts.unclear:
            by_values[facts.unclear].append(path)
    for values, paths in by_values.items():
        problems.append(Problem("unclear mask", paths[0], values + _others(paths)))
    clear = [(path, facts) for path, facts in found if facts.label is not None]
    groups = _groups([(path, facts.label) for path, facts in clear if not facts.unit and facts.label is not None])
    if len(groups) > 1:
        for label, paths in groups.items():
            name = label[0] if len(label) == 1 else label
            problems.append(Problem("labels of several values", paths[0], f"foreground {name}{_others(paths)}"))
    problems += _mixed_folders(clear)
    faint = [(path, facts) for path, facts in found if facts.faint]
    if sum(facts.faint for _, facts in faint) > sum(int(facts.mask.sum()) for _, facts in found) > 0:
        values = f"values up to {max(facts.faintest for _, facts in faint)} cover more than the bright foreground"
        problems.append(Problem("unclear mask", faint[0][0], values + _others([path for path, _ in faint])))
    return problems


def _others(paths: Sequence[str]) -> str:
    return f"; and {len(paths) - 1} more mask(s) like it" if len(paths) > 1 else ""


def _groups(labels: Sequence[tuple[str, Color]]) -> dict[Color, list[str]]:
    """Paths by label; labels that differ by noise only are one."""
    groups: dict[Color, list[str]] = {}
    common = Counter(label for _, label in labels)
    for label, _ in common.most_common():
        near = (known for known in groups if _near(known, label))
        groups.setdefault(next(near, label), []).extend(path for path, own in labels if own == label)
    return groups


def _near(a: Color, b: Color) -> bool:
    first, second = (color * 3 if len(color) == 1 else color for color in (a, b))
    return max(abs(x - y) for x, y in zip(first, second, strict=True)) <= 2 * NOISE


def _mixed_folders(clear: Sequence[tuple[str, MaskFacts]]) -> list[Problem]:
    problems = []
    folders: dict[Path, dict[bool, list[str]]] = defaultdict(lambda: {True: [], False: []})
    for path, facts in clear:
        folders[Path(path).parent][facts.unit].append(path)
    for folder, kinds in folders.items():
        if kinds[True] and kinds[False]:
            ones, others = kinds[True], kinds[False]
            detail = f"{len(ones)} of 0/1, such as {Path(ones[0]).name}; {len(others)} of 0/255, such as "
            problems.append(Problem("0/1 and 0/255 masks", str(folder), detail + Path(others[0]).name))
    return problems
