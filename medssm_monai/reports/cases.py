"""The worst, median and best cases of an evaluation, and their pictures."""

from __future__ import annotations

import io
import math
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data.readers.files import file_stem
from ..utils import writable_folder
from ..utils.files import replace_file
from ..utils.shown_names import shown_name

__all__ = ["CASE_KINDS", "KeptPicture", "case_label", "case_panel", "choose_cases", "write_case_pictures"]

CASE_KINDS = ("worst", "median", "best")


def choose_cases(scores: Mapping[str, float], count: int, higher_is_better: bool = True) -> list[dict[str, Any]]:
    """The ``count`` worst (the worst first), median and best (the best first) cases.

    Args:
        scores: name to score; undefined ones (NaN) take no part.
        count: cases of each kind; a third of all where there are fewer than three times as many. None is chosen twice:
            of two cases one is the worst and one the best, a single one is the worst.
        higher_is_better: whether the lowest score is the worst.

    Returns:
        one dict per case with ``kind``, ``image`` and ``score``.
    """
    sign = 1.0 if higher_is_better else -1.0
    ranked = sorted((name for name, score in scores.items() if not math.isnan(score)), key=str)
    ranked.sort(key=lambda name: sign * scores[name])
    count = min(count, max(len(ranked) // 3, 1))
    middle = max((len(ranked) - count) // 2, 0)
    found: dict[str, list[str]] = {}
    taken: set[str] = set()
    for kind, names in (
        ("worst", ranked[:count]),
        ("best", ranked[::-1][:count]),
        ("median", ranked[middle : middle + count]),
    ):
        found[kind] = [name for name in names if name not in taken]
        taken.update(found[kind])
    return [{"kind": kind, "image": name, "score": scores[name]} for kind in CASE_KINDS for name in found[kind]]


def case_label(case: Mapping[str, Any], metric: str) -> str:
    """``worst: dice 0.299, a.png``: the figure first, so that a long name cannot push it out of a picture."""
    return f"{case['kind']}: {metric} {case['score']:.3f}, {Path(case['image']).name}"


def write_case_pictures(
    cases: Sequence[Mapping[str, Any]], panels: Sequence[np.ndarray], folder: Path, columns: int
) -> None:
    """Write one picture per case, ``<folder>/NN_<kind>_<stem>.png``, and all on one sheet, ``<folder>.png``.

    Pictures of an earlier evaluation in the folder would be taken for these and are removed; other files stay.

    Args:
        cases: of ``choose_cases``, at least one.
        panels: uint8 ``(H, W, 3)``, one per case.
        folder: created when missing.
        columns: panels per row of the sheet.
    """
    from ..visualize import contact_sheet, save_png

    writable_folder(folder)
    written = set()
    for number, (case, panel) in enumerate(zip(cases, panels, strict=True), start=1):
        stem = re.sub(r"[^0-9A-Za-z_.-]+", "-", file_stem(Path(shown_name(case["image"]))))
        written.add(f"{number:02d}_{case['kind']}_{stem}.png")
        with replace_file(folder / f"{number:02d}_{case['kind']}_{stem}.png") as temporary:
            save_png(panel, temporary)
    with replace_file(folder.with_name(f"{folder.name}.png")) as temporary:
        save_png(contact_sheet(panels, columns), temporary)
    for old in folder.glob("[0-9][0-9]_*.png"):
        if old.name not in written:
            old.unlink()


LONGEST_SIDE = 640  # pixels; a picture, not a result
_JPEG_QUALITY = 95


@dataclass(frozen=True)
class KeptPicture:
    """An image with the masks of label and prediction, small enough to keep those of a whole test set in memory.

    Which image is the median is known only at the end. So each is brought to at most 640 pixels on its longer side and
    held as JPEG of high quality (about 60 kB for a photograph), the masks as bits, those of classes compressed.
    """

    jpeg: bytes
    masks: bytes
    size: tuple[int, int]
    classes: int | None = None

    @classmethod
    def pack(cls, image: np.ndarray, label: np.ndarray, pred: np.ndarray) -> KeptPicture:
        """Keep a picture.

        Args:
            image: uint8 ``(H, W, 3)``.
            label, pred: bool ``(H, W)``, or ``(K, H, W)`` with one mask per class, which may overlap.
        """
        from PIL import Image

        classes = len(label) if label.ndim == 3 else None
        every = [label, pred] if classes is None else [*label, *pred]
        picture, masks = Image.fromarray(image), [Image.fromarray(mask.astype(np.uint8)) for mask in every]
        scale = LONGEST_SIDE / max(picture.size)
        if scale < 1:
            size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
            picture = picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
            masks = [mask.resize(size, Image.Resampling.NEAREST) for mask in masks]
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
        bits = np.packbits(np.stack([np.asarray(mask, dtype=bool) for mask in masks])).tobytes()
        kept = bits if classes is None else zlib.compress(bits)
        return cls(stream.getvalue(), kept, (picture.height, picture.width), classes)

    def unpack(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Image uint8 ``(h, w, 3)``, label and prediction bool ``(h, w)``, of classes ``(K, h, w)``."""
        from PIL import Image

        shape = self.size if self.classes is None else (self.classes, *self.size)
        packed = self.masks if self.classes is None else zlib.decompress(self.masks)
        bits = np.unpackbits(np.frombuffer(packed, dtype=np.uint8), count=2 * math.prod(shape))
        label, pred = bits.reshape(2, *shape).astype(bool)
        return np.asarray(Image.open(io.BytesIO(self.jpeg)).convert("RGB")), label, pred


def case_panel(kept: KeptPicture, title: str, colors: Mapping[str, tuple[int, int, int]] | None = None) -> np.ndarray:
    """The image beside itself with the outlines of label and prediction; of classes beside the label's and the
    prediction's, each class in its color.

    Args:
        kept: with masks of classes or of one foreground.
        title: text above.
        colors: class to color, where the masks are of classes.

    Returns:
        uint8 ``(height, width, 3)``.
    """
    from ..visualize import class_legend, overlay_classes, overlay_contours, titled_panel

    image, label, pred = kept.unpack()
    planes = image.transpose(2, 0, 1) / 255.0
    if kept.classes is None:
        return titled_panel([overlay_contours(planes), overlay_contours(planes, label, pred)], title)
    named = colors or {}
    overlays = [overlay_classes(planes, masks, list(named.values())) for masks in (label, pred)]
    legend = class_legend(list(named), list(named.values()), label, pred)
    return titled_panel([overlay_contours(planes), *overlays], title, legend, ("image", "label", "prediction"))
