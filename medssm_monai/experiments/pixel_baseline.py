"""Logistic regression on raw pixels: the floor that a classification network has to leave behind.

    python scripts/pixel_baseline.py --dataset_dir FOLDER_OF_THE_NPZ_FILES --subset pneumonia --size 28
    python scripts/pixel_baseline.py --dataset_dir COVID_FOLDER --split_counts 140 20 40 --size 32

Images are read and split by the same functions as for the bundles. The strength of the regularisation is chosen on the
validation part; the test part is scored once, with the bundles' own figures.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np  # noqa: E402
from monai.transforms import Compose, Resized  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from medssm_monai.data import classification_datalists  # noqa: E402
from medssm_monai.metrics import bootstrap_classification  # noqa: E402
from medssm_monai.transforms import LoadImage2Dd  # noqa: E402

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


def pixels(items: list[dict], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Grey images ``size x size`` as rows ``(N, size * size)``, and their labels ``(N,)``."""
    read = Compose(
        [
            LoadImage2Dd(keys="image", kind="image", channels=1),
            Resized(keys="image", spatial_size=(size, size), mode="bilinear", anti_aliasing=True),
        ]
    )
    rows = [np.asarray(read(dict(item))["image"]).reshape(-1) for item in items]
    return np.stack(rows), np.array([int(item["label"]) for item in items])


def main() -> None:
    """Fit, choose, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", required=True)
    parser.add_argument("--subset")
    parser.add_argument("--split_counts", nargs=3, type=int)
    parser.add_argument("--size", type=int, default=28)
    options = parser.parse_args()
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
    print(f"{lists.name}: {len(labels)} test images of {options.size} pixels, C = {best[-1].C}")
    for name in ("accuracy", "balanced_accuracy", "roc_auc"):
        found = figures[name]
        print(f"{name:18} {found.estimate:.3f} (95 % interval {found.low:.3f} to {found.high:.3f})")


if __name__ == "__main__":
    main()
