"""
Fuse two images
===============

One image out of two registered ones, with ClinicalFMamba and the weights that come with its bundle. They were trained
on generated pairs that resemble MRI and CT slices of a head; the pairs here are generated as well.
"""

import matplotlib.pyplot as plt
import torch

import medssm_monai
from medssm_monai.data import fusion_demo_sample
from medssm_monai.metrics import fusion_metrics

# %%
# A pair
# ------
# Source A shows soft tissue and a lesion, source B bone and dense specks. What one shows the other lacks.

pairs = [fusion_demo_sample("test", number, 128) for number in range(2)]

predictor = medssm_monai.load("clinical_fmamba")
fused = [prediction.image for prediction in predictor.predict(pairs)]

figure, axes = plt.subplots(2, 3, figsize=(8.5, 5.9), layout="constrained")
for row, (a, b), image in zip(axes, pairs, fused, strict=True):
    for axis, picture, name in zip(row, (a, b, image), ("source A", "source B", "fused"), strict=True):
        axis.imshow(picture, cmap="gray")
        axis.set_title(name)
        axis.axis("off")

# %%
# Beside an average
# -----------------
# An answer that looks at nothing is the average of both sources. In the difference to the brighter of the two sources
# at each pixel, blue is lost brightness: the average loses half of the bone and of the lesion.

(a, b), image = pairs[0], fused[0]
a, b = a / 255, b / 255
average = (a + b) / 2

figure, axes = plt.subplots(1, 2, figsize=(7.5, 3.4), layout="constrained")
for axis, picture, name in zip(axes, (image, average), ("fused", "average"), strict=True):
    shown = axis.imshow(picture - abs(a).clip(min=b), cmap="RdBu_r", vmin=-0.6, vmax=0.6)
    axis.set_title(f"{name} - maximum of the sources")
    axis.axis("off")
figure.colorbar(shown, ax=axes)

# %%
# Metrics of fusion
# -----------------
# The same names as in the reports of the bundle; each is defined in :mod:`medssm_monai.metrics`.


def as_batch(picture):
    return torch.as_tensor(picture, dtype=torch.float32)[None, None]


names = ("qabf", "ssim_mean", "vif_sum", "mi_sum")
print(f"{'':20}{'fused':>8}{'average':>9}")
of_fused = fusion_metrics(as_batch(image), as_batch(a), as_batch(b), metrics=names)
of_average = fusion_metrics(as_batch(average), as_batch(a), as_batch(b), metrics=names)
for name in names:
    print(f"{name:20}{float(of_fused[name]):8.3f}{float(of_average[name]):9.3f}")
