"""
Export, and compare in the runtime
==================================

A file for another program is worth something only if it computes the same. The export of a bundle runs each file in its
own runtime, on images that passed the bundle's preprocessing, and gives it its name only if it agrees with PyTorch.
"""

import importlib.util
import json
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import medssm_monai
from medssm_monai.export import export_bundle

# %%
# Write and check
# ---------------
# TorchScript always; ONNX where ``onnx``, ``onnxruntime`` and ``onnxscript`` (extra ``onnx``) are installed.

formats = ["torchscript"]
if all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime", "onnxscript")):
    formats.append("onnx")
out = Path(tempfile.mkdtemp())
report = export_bundle("medconvmamba", formats, out, samples=4, repeats=3)
for entry in report.formats:
    print(f"{entry.file:14} {entry.size / 1e6:5.1f} MB  {'passed' if entry.passed else entry.failures}")
    for check in entry.checks:
        print("   ", check)

# %%
# How far apart are they?
# -----------------------
# Logits of one file beside those of PyTorch, for eight random images. The exported scan takes another way through the
# same sums, so that the last digits differ.

predictor = medssm_monai.load("medconvmamba", device="cpu")
predictor.predict(np.zeros((28, 28), np.uint8))  # builds the network
exported = torch.jit.load(out / "model.ts")
torch.manual_seed(0)
images = torch.randn(8, 1, *predictor.settings["image_size"])
with torch.no_grad():
    ours, theirs = predictor.network(images).numpy(), exported(images).numpy()

figure, axes = plt.subplots(1, 2, figsize=(8.5, 3.5), layout="constrained")
axes[0].plot(ours.ravel(), theirs.ravel(), "o")
limits = [ours.min() - 0.2, ours.max() + 0.2]
axes[0].plot(limits, limits, ":", color="gray")
axes[0].set(xlabel="logit in PyTorch", ylabel="logit in TorchScript")
axes[1].bar(range(16), abs(ours - theirs).ravel() / abs(ours).max())
axes[1].axhline(1e-4, color="tab:red", linestyle="--", label="largest allowed")
axes[1].set(yscale="log", ylim=(1e-9, 1e-3), xlabel="logit", ylabel="relative difference")
axes[1].legend()

# %%
# What the file carries
# ---------------------
# Settings, the bundle's metadata and what the weights are for travel inside.

extra = {"metadata.json": ""}
torch.jit.load(out / "model.ts", _extra_files=extra)
metadata = json.loads(extra["metadata.json"])
print(metadata["name"], metadata["version"])
