"""Make the pictures of ``docs/images`` with the weights that come with the bundles:

    MEDSSM_DATA=FOLDER python docs/make_pictures.py [OUT]

The folder holds ``isic2017`` (CC0) and ``medmnist/pneumoniamnist.npz`` (CC BY 4.0); the fused pair is generated. Which
images are shown is decided by a rule, not by eye: those whose figure is nearest to a quantile of the test part.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

import medssm_monai
from medssm_monai.data import fusion_demo_sample, segmentation_datalists
from medssm_monai.networks.layers import resolve_scan_orders
from medssm_monai.transforms import LoadImage2D

FOLDER = Path(__file__).resolve().parent / "images"
INK, GRAY, CYAN, YELLOW, BLUE = "#1c2733", "#5b6b7b", "#00c8e0", "#ffd400", "#2b6cb0"
STYLE = {"font.family": "DejaVu Sans", "font.size": 10, "svg.fonttype": "none", "svg.hashsalt": "medssm"}
LARGEST = 145_000
"""Bytes of a picture; what is larger gets a palette of 256 colors."""


def _figure(columns: int, width: float, height: float, **sizes: list[float]) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = list(np.atleast_1d(figure.subplots(1, columns, **({"gridspec_kw": sizes} if sizes else {}))))
    for axis in axes:
        axis.axis("off")
    return figure, axes


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=110, facecolor="white", bbox_inches="tight", pad_inches=0.06)
    picture = Image.open(path).convert("RGB")
    picture.save(path, optimize=True)
    if path.stat().st_size > LARGEST:
        colors = picture.quantize(256, kmeans=4, dither=Image.Dither.FLOYDSTEINBERG)
        colors.save(path, optimize=True)
    return path


def _outline(axis: Axes, mask: np.ndarray, color: str) -> None:
    axis.contour(mask.astype(float), [0.5], colors="black", linewidths=3.4, alpha=0.45)
    axis.contour(mask.astype(float), [0.5], colors=color, linewidths=1.9)


def _nearest(values: np.ndarray, share: float) -> int:
    """Place of the value that is nearest to a quantile; the first of several."""
    return int(np.abs(values - np.quantile(values, share)).argmin())


def segmentation(data: Path, out: Path) -> Path:
    """Dermoscopy images of the test part, of the median and both quartiles of Dice: the image, and outlines."""
    items = segmentation_datalists(data / "isic2017", layout="isic")["test"]
    predictions = medssm_monai.load("mamba_mis", device="cpu").predict([item["image"] for item in items])
    read = LoadImage2D(kind="mask")
    labels = [np.asarray(read(item["label"]))[0] > 0.5 for item in items]
    masks = [prediction.mask > 0 for prediction in predictions]
    overlap = [2 * (a & b).sum() / max(1, a.sum() + b.sum()) for a, b in zip(masks, labels, strict=True)]
    dice = np.array(overlap)
    figure, axes = _figure(4, 9.2, 2.75)
    shown = ((0.5, ""), (0.5, "median"), (0.25, "lower quartile"), (0.75, "upper quartile"))
    for axis, (share, name) in zip(axes, shown, strict=True):
        place = _nearest(dice, share)
        axis.imshow(Image.open(items[place]["image"]).convert("RGB"), interpolation="lanczos")
        title = f"Dice {dice[place]:.2f} ({name})" if name else Path(items[place]["image"]).stem
        axis.set_title(title, color=INK if name else GRAY, fontsize=10)
        if name:
            _outline(axis, labels[place], CYAN)
            _outline(axis, masks[place], YELLOW)
    lines = [Line2D([], [], color=color, linewidth=2.5) for color in (CYAN, YELLOW)]
    names = ["ground truth", "predicted by Mamba-MIS"]
    figure.legend(lines, names, loc="outside lower center", ncols=2, frameon=False, fontsize=9.5, labelcolor=INK)
    return _save(figure, out / "segmentation.png")


def classification(data: Path, out: Path) -> Path:
    """A test image with pneumonia, that of the median probability: image, Grad-CAM, calibrated probabilities."""
    with np.load(data / "medmnist" / "pneumoniamnist.npz") as arrays:
        images, labels = arrays["test_images"], arrays["test_labels"].ravel()
    predictor = medssm_monai.load("medconvmamba", device="cpu")
    ill = np.flatnonzero(labels == 1)
    found = predictor.predict([images[place] for place in ill])
    names = found[0].class_names
    column = names.index("pneumonia")
    place = _nearest(np.array([prediction.probabilities[column] for prediction in found]), 0.5)
    image, prediction = images[ill[place]], found[place]
    explanation = predictor.explain(image, "pneumonia")
    figure, axes = _figure(3, 8.2, 2.7, width_ratios=[1, 1, 1.25])
    for axis, title in zip(
        axes, (f"PneumoniaMNIST, test image {ill[place]}", "where it speaks for pneumonia"), strict=False
    ):
        axis.imshow(image, cmap="gray", interpolation="bicubic")
        axis.set_title(title, color=INK, fontsize=9.5)
    heat = explanation.heatmap / explanation.heatmap.max()
    axes[1].imshow(heat, cmap="inferno", alpha=0.5, interpolation="bicubic")
    axes[2].axis("on")
    for row, (name, probability) in enumerate(zip(names, prediction.probabilities, strict=True)):
        axes[2].barh(row, 1, color="#edf1f5", height=0.5)
        axes[2].barh(row, probability, color=BLUE if row == prediction.label else "#a9b8c6", height=0.5)
        axes[2].text(
            0, row - 0.36, name, va="bottom", color=INK, weight="bold" if row == prediction.label else "normal"
        )
        axes[2].text(1, row - 0.36, f"{probability:.1%}", ha="right", va="bottom", color=INK)
    axes[2].set(xlim=(0, 1), ylim=(1.6, -0.85), xticks=[], yticks=[])
    axes[2].set_title("calibrated probabilities", color=INK, fontsize=9.5)
    axes[2].spines[:].set_visible(False)
    return _save(figure, out / "classification.png")


def fusion(data: Path, out: Path) -> Path:
    """A generated pair and the image fused from it."""
    a, b = fusion_demo_sample("test", 0, 192)
    fused = medssm_monai.load("clinical_fmamba", device="cpu").predict((a, b)).image
    figure, axes = _figure(3, 7.4, 2.75)
    shown = ((a / 255, "source A, generated"), (b / 255, "source B, generated"), (fused, "fused by ClinicalFMamba"))
    for axis, (picture, title) in zip(axes, shown, strict=True):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="lanczos")
        axis.set_title(title, color=INK, fontsize=10)
    return _save(figure, out / "fusion.png")


def scan_orders(data: Path, out: Path) -> Path:
    """The four directions of the set ``cross`` on a small map."""
    size, titles = 5, ("rows", "rows, backwards", "columns", "columns, backwards")
    orders = resolve_scan_orders("cross", spatial_dims=2)
    figure, axes = _figure(4, 8, 2.3)
    for axis, order, title in zip(axes, orders, titles, strict=True):
        visited = order.to_map(torch.arange(float(size * size))[None, :, None], (size, size))[0, ..., 0].numpy()
        rows, columns = np.unravel_index(np.argsort(visited, axis=None), (size, size))
        axis.imshow(visited, cmap="Blues", vmin=-8, vmax=size * size + 10)
        for start in range(0, size * size, size):  # a line of the map, and a dotted way to the next
            line = slice(start, start + size)
            axis.plot(columns[line], rows[line], color=INK, linewidth=1.4)
            ends = slice(start + size - 1, start + size + 1)
            axis.plot(columns[ends], rows[ends], color=GRAY, linewidth=0.8, linestyle=":")
        axis.plot(columns[0], rows[0], "o", color="#c05621", markersize=8)
        axis.set_title(title, color=INK, fontsize=10)
    figure.savefig(out / "scan_orders.svg", metadata={"Date": None, "Creator": None}, facecolor="white")
    return out / "scan_orders.svg"


def main(arguments: list[str]) -> int:
    data = os.environ.get("MEDSSM_DATA", "")
    if not Path(data, "isic2017").is_dir():
        sys.exit("name the folder that holds isic2017 and medmnist in the environment variable MEDSSM_DATA.")
    out = Path(arguments[0]) if arguments else FOLDER
    out.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        for draw in (segmentation, classification, fusion, scan_orders):
            print(draw(Path(data), out))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
