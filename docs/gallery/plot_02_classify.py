"""
Classify, with calibration and explanation
==========================================

Train MedSpectralNet for a few epochs on the demo set of four synthetic classes, ask whether its probabilities can be
believed, calibrate them, and look at where an image speaks for its class.
"""

import contextlib
import io
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from monai.bundle import ConfigWorkflow

import medssm_monai
from medssm_monai.bundle import find_bundle
from medssm_monai.data import class_demo_sample
from medssm_monai.metrics import expected_calibration_error, fit_temperature, negative_log_likelihood, reliability_curve

# %%
# The images
# ----------
# The classes differ in shape and texture, not in color. Names are in the order of their numbers.

CLASSES = ("lobed", "mottled", "ring", "smooth")
SIZE = 96  # pixels, what the bundle trains on


def samples(part, count):
    images, labels = zip(*(class_demo_sample(part, number, SIZE) for number in range(count)), strict=True)
    return list(images), np.array(labels)


test_images, test_labels = samples("test", 120)
figure, axes = plt.subplots(1, 8, figsize=(11, 1.8), layout="constrained")
for axis, image, label in zip(axes, test_images, test_labels, strict=False):
    axis.imshow(image)
    axis.set_title(CLASSES[label], fontsize="medium")
    axis.axis("off")

# %%
# Training
# --------
# Four epochs of a smaller trunk on half of the images; the default is longer and larger. The best checkpoint is chosen
# on the validation part, and a temperature is fitted there.

bundle = find_bundle("medspectralnet")
out = Path(tempfile.mkdtemp())
workflow = ConfigWorkflow(
    config_file=str(bundle / "configs" / "train.yaml"),
    workflow_type="train",
    logging_file=False,
    bundle_root=str(bundle),
    output_dir=f"$'{out.as_posix()}'",
    ckpt_dir=str(out / "trained"),
    max_epochs=4,
    **{"datalists#demo_counts": [240, 60, 60]},
    warmup_epochs=1,
    learning_rate=0.001,
    network_args={"layers": [1, 1, 1, 1]},
)
with contextlib.redirect_stdout(io.StringIO()):
    workflow.initialize()
    workflow.run()
    workflow.finalize()

# %%
# Can the probabilities be believed?
# ----------------------------------
# Of the images that a network is 80 % sure of, it should get 80 % right. The reliability diagram shows both for bins of
# confidence, before and after the division of the logits by the temperature; the numbers are images. Trained
# briefly and with smoothed labels, this network is right more often than it says where it is fairly sure.

weights = str(out / "trained" / "model.pt")
raw = medssm_monai.load("medspectralnet", ckpt_path=weights, temperature=1.0)
calibrated = medssm_monai.load("medspectralnet", ckpt_path=weights)
temperature = calibrated.settings["temperature"]


def log_probabilities(images):
    return np.log([prediction.probabilities for prediction in raw.predict(images)])


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


logits = log_probabilities(test_images)  # but for a constant, which the softmax leaves out
figure, axes = plt.subplots(1, 2, figsize=(8.5, 4), layout="constrained", sharey=True)
for axis, divisor, name in zip(axes, (1.0, temperature), ("as trained", "calibrated"), strict=True):
    predicted = softmax(logits / divisor)
    confidence, accuracy, count = reliability_curve(predicted, test_labels, bins=8)
    error = expected_calibration_error(predicted, test_labels, bins=8)
    axis.plot([0, 1], [0, 1], ":", color="gray")
    axis.bar(np.arange(8) / 8 + 1 / 16, np.nan_to_num(accuracy), width=0.11, color="tab:blue", alpha=0.75)
    axis.plot(confidence, accuracy, "o", color="tab:orange")
    for place, number in zip(confidence, count, strict=True):
        if number:
            axis.annotate(str(number), (place, 0.03), ha="center", color="white", fontsize="small")
    axis.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="confidence", title=f"{name}: expected calibration error {error:.2f}")
axes[0].set_ylabel("share that is right")

# %%
# The temperature is one number, kept with the weights, and changes no predicted class. It is the one with the best
# likelihood on the validation part, here 60 images: so few that the calibration error on others need not fall with it.

validation_images, validation_labels = samples("validation", 60)
fitted = fit_temperature(log_probabilities(validation_images), validation_labels)
print(f"temperature fitted again {fitted:.2f}, stored with the weights {temperature:.2f}")
for divisor in (1.0, temperature):
    loss = negative_log_likelihood(logits, test_labels, divisor)
    print(f"test images, temperature {divisor:.2f}: negative log likelihood {loss:.3f}")

# %%
# Where does the image speak for the class?
# -----------------------------------------
# Grad-CAM of the layer that the bundle names, at the size of the image: yellow speaks for the class, dark violet does
# not. The last map of this network has 3 × 3 cells, so the picture is coarse; it shows where, not why.

figure, axes = plt.subplots(2, 4, figsize=(9, 4.8), layout="constrained")
for column, image in enumerate(test_images[:4]):
    explanation = calibrated.explain(image)
    axes[0, column].imshow(explanation.image)
    axes[0, column].set_title(f"{explanation.class_name} {explanation.confidence:.0%}", fontsize="medium")
    axes[1, column].imshow(explanation.overlay)
for axis in axes.flat:
    axis.axis("off")
