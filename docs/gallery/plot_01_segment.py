"""
Segment images
==============

Fine-tune Mamba-MIS on the demo set, which is synthetic, and look at what it segments on images that it has not seen.
The commands of the bundle do the same; here they are called from Python.
"""

import contextlib
import io
import logging
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
from monai.bundle import ConfigWorkflow

import medssm_monai
from medssm_monai.bundle import find_bundle
from medssm_monai.data import DEMO_SIZE, demo_sample
from medssm_monai.handlers import read_history
from medssm_monai.visualize import overlay_contours

# %%
# The images
# ----------
# A demo image and its mask are made from a number, the same on every machine. The outline of the mask is cyan.

images, masks = zip(*(demo_sample("test", number) for number in range(6)), strict=True)

figure, axes = plt.subplots(1, 6, figsize=(11, 2), layout="constrained")
for axis, image, mask in zip(axes, images, masks, strict=True):
    axis.imshow(overlay_contours(image.transpose(2, 0, 1) / 255, mask / 255))
    axis.axis("off")
figure.suptitle(f"synthetic, {DEMO_SIZE} × {DEMO_SIZE} pixels, with their masks")

# %%
# Training
# --------
# ``train.yaml`` of the bundle read from top to bottom is the whole run. Every key can be replaced, here the number of
# epochs, the learning rate, where the files go, and the weights to start from: those for skin lesions that come with
# the bundle, so that three epochs are enough, and the arguments that their network was built with. From the start the
# default is 25.

bundle = find_bundle("mamba_mis")
out = Path(tempfile.mkdtemp())
workflow = ConfigWorkflow(
    config_file=str(bundle / "configs" / "train.yaml"),
    workflow_type="train",
    logging_file=False,
    bundle_root=str(bundle),
    output_dir=f"$'{out.as_posix()}'",  # an expression, as MONAI wants it
    ckpt_dir=str(out / "trained"),
    init_from=str(bundle / "models" / "model.pt"),
    network_args={"instance_norm": True, "spectral_grid": 8},
    max_epochs=3,
    warmup_epochs=1,
    learning_rate=0.002,
)
logging.disable(logging.WARNING)  # how it goes on is drawn below
with contextlib.redirect_stdout(io.StringIO()):
    workflow.initialize()
    workflow.run()
    workflow.finalize()
logging.disable(logging.NOTSET)

# %%
# How it went
# -----------
# Every run keeps a table of its epochs, and draws it in ``curves.png``.

run = next(out.glob("*/history.csv")).parent
history = read_history(run / "history.csv")

figure, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
epochs = [row["epoch"] for row in history]
axes[0].plot(epochs, [row["train_loss"] for row in history], "o-", label="training")
axes[0].plot(epochs, [row["val_loss"] for row in history], "s--", label="validation")
axes[0].set(xlabel="epoch", ylabel="loss", xticks=epochs)
axes[0].legend()
axes[1].plot(epochs, [row["val_mean_dice"] for row in history], "o-", color="tab:green")
axes[1].set(xlabel="epoch", ylabel="validation Dice", xticks=epochs, ylim=(0, 1))

# %%
# Prediction
# ----------
# The trained weights predict images of the test part, which chose nothing. Label cyan, prediction yellow, white where
# both outlines run together. These figures are of synthetic images and say nothing about medical ones.

predictor = medssm_monai.load("mamba_mis", ckpt_path=str(out / "trained" / "model.pt"))
predictions = predictor.predict(list(images))

figure, axes = plt.subplots(2, 3, figsize=(8, 5.8), layout="constrained")
for axis, image, mask, prediction in zip(axes.flat, images, masks, predictions, strict=True):
    label = mask > 0
    dice = 2 * (prediction.mask * label).sum() / (prediction.mask.sum() + label.sum())
    axis.imshow(overlay_contours(image.transpose(2, 0, 1) / 255, label, prediction.mask))
    axis.set_title(f"Dice {dice:.2f}", fontsize="medium")
    axis.axis("off")

# %%
# Next: the same with `images of your own <../../training.html>`_, or the weights for skin lesions that come with the
# bundle, ``medssm_monai.load("mamba_mis")``.
