"""Logistic regression on raw pixels: the floor that a classification network has to leave behind.

    python -m medssm_monai.experiments.pixel_baseline --dataset_dir FOLDER_OF_THE_NPZ_FILES --subset pneumonia --size 28
    python -m medssm_monai.experiments.pixel_baseline --dataset_dir COVID_FOLDER --split_counts 140 20 40 --size 32

Images are read and split by the same functions as for the bundles. The strength of the regularization is chosen on the
validation part; the test part is scored once, with the bundles' own figures.

Exit status: 0, or 2 when the images cannot be read.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
from monai.transforms import Compose, Resized
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ..data import classification_datalists
from ..metrics import bootstrap_classification
from ..transforms import LoadImage2Dd
from ..utils.text_files import printable

__all__ = ["main", "pixels"]

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


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


def floor(options: argparse.Namespace) -> list[str]:
    """Fit, choose, score; returns the lines to show.

    Raises:
        FileNotFoundError, DatalistError, ValueError: as the readers of the data set.
    """
    lists = classification_datalists(
        options.dataset_dir, subset=options.subset, split_counts=options.split_counts, duplicates="ignore"
    )
    parts = {name: pixels(lists[name], options.size) for name in ("training", "validation", "test")}
    models = []
    for strength in STRENGTHS:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))
        models.append(model.fit(*parts["training"]))
    best = max(models, key=lambda model: model.score(*parts["validation"]))
    images, labels = parts["test"]
    figures = bootstrap_classification(best.predict_proba(images), labels)
    lines = [f"{lists.name}: {len(labels)} test images of {options.size} pixels, C = {best[-1].C}"]
    for name in ("accuracy", "balanced_accuracy", "roc_auc"):
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
