"""Logistic regression on raw pixels: the floor that a classification network has to leave behind.

    python -m medssm_monai.experiments.pixel_baseline --dataset_dir FOLDER_OF_THE_NPZ_FILES --subset pneumonia --size 28
    python -m medssm_monai.experiments.pixel_baseline --dataset_dir COVID_FOLDER --split_counts 140 20 40 --size 32

Images are read and split by the same functions as for the bundles. The strength of the regularization is chosen on the
validation part; the test part is scored once, with the bundles' own figures. The option ``--pixel_floor True`` of a
classification's ``evaluate.yaml`` puts the same figures beside the network's.

Exit status: 0, or 2 when the images cannot be read.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from monai.transforms import Compose, Resized
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ..data import classification_datalists
from ..metrics import BootstrapInterval, bootstrap_classification
from ..reports import Floors
from ..transforms import LoadImage2Dd
from ..utils.text_files import printable

__all__ = ["main", "pixel_floor", "pixels"]

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
FIGURES = ("accuracy", "balanced_accuracy", "roc_auc")
PARTS = ("training", "validation", "test")


def pixels(items: list[dict], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Gray images ``size x size`` as rows ``(N, size * size)``, and their labels ``(N,)``."""
    read = Compose(
        [
            LoadImage2Dd(keys="image", kind="image", channels=1),
            Resized(keys="image", spatial_size=(size, size), mode="bilinear", anti_aliasing=True),
        ]
    )
    rows = [np.asarray(read(dict(item))["image"]).reshape(-1) for item in items]
    return np.stack(rows), np.array([int(item["label"]) for item in items])


def regression(lists: Mapping[str, list[dict]], size: int) -> tuple[float, int, dict[Any, BootstrapInterval]]:
    """Fit on the training part, choose the regularization on the validation part, score the test part.

    Args:
        lists: items of the three parts, with ``image`` and ``label``.
        size: height and width in pixels that the images are brought to, gray.

    Returns:
        the strength C that was chosen, the number of test images, and ``bootstrap_classification`` of them.

    Raises:
        ValueError: a part without images, or training images of one class only.
    """
    empty = [name for name in PARTS if not lists.get(name)]
    if empty:
        raise ValueError(
            f"a regression on pixels needs training, validation and test images; there are none in {', '.join(empty)}."
        )
    parts = {name: pixels(lists[name], size) for name in PARTS}
    models = []
    for strength in STRENGTHS:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))
        models.append(model.fit(*parts["training"]))
    best = max(models, key=lambda model: model.score(*parts["validation"]))
    images, labels = parts["test"]
    return best[-1].C, len(labels), bootstrap_classification(best.predict_proba(images), labels)


def pixel_floor(lists: Mapping[str, list[dict]], part: str = "test", size: int = 28) -> Floors:
    """A floor for :class:`medssm_monai.handlers.ClassificationReport`: logistic regression on the pixels.

    Args:
        lists: datalists of 2D images.
        part: the part that is evaluated; only ``"test"`` takes no part in the fit.
        size: height and width in pixels.

    Raises:
        ValueError: another part, and as :func:`regression`.
    """
    if part != "test":
        raise ValueError(
            "the regression on pixels is fitted to the training part and chosen on the validation part: it is no floor "
            f"for the part {part!r}; evaluate --part test, or leave out --pixel_floor."
        )
    _, _, figures = regression(lists, size)
    entries = {name: dict(zip(("value", "low", "high"), figures[name], strict=True)) for name in FIGURES}
    return {f"logistic regression on {size} x {size} pixels": entries}


def floor(options: argparse.Namespace) -> list[str]:
    """Fit, choose, score; returns the lines to show.

    Raises:
        FileNotFoundError, DatalistError, ValueError: as the readers of the data set.
    """
    lists = classification_datalists(
        options.dataset_dir, subset=options.subset, split_counts=options.split_counts, duplicates="ignore"
    )
    strength, count, figures = regression(lists, options.size)
    lines = [f"{lists.name}: {count} test images of {options.size} pixels, C = {strength}"]
    for name in FIGURES:
        found = figures[name]
        lines.append(f"{name:18} {found.estimate:.3f} (95 % interval {found.low:.3f} to {found.high:.3f})")
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m medssm_monai.experiments.pixel_baseline",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--dataset_dir", required=True)
    parser.add_argument("--subset")
    parser.add_argument("--split_counts", nargs=3, type=int)
    parser.add_argument("--size", type=int, default=28)
    options = parser.parse_args(arguments)
    try:
        lines = floor(options)
    except (OSError, ValueError) as error:
        print(printable(f"{type(error).__name__}: {error}"), file=sys.stderr)
        return 2
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
