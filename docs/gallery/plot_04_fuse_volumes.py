"""
Fuse two volumes
================

The same network class in three dimensions, with the volume weights of the bundle, on a generated pair of NIfTI files.
The result lies on source A: same shape, same affine.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import nibabel
import numpy as np
import torch

import medssm_monai
from medssm_monai.bundle import find_bundle
from medssm_monai.data import fusion_demo_sample
from medssm_monai.visualize import fusion_planes

# %%
# Two files
# ---------
# Voxels of 1.5 mm, 48 along each axis.

folder = Path(tempfile.mkdtemp())
volumes = fusion_demo_sample("test", 0, 48, spatial_dims=3)
files = [folder / "case_A.nii.gz", folder / "case_B.nii.gz"]
for volume, file in zip(volumes, files, strict=True):
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([1.5, 1.5, 1.5, 1.0])), file)

# %%
# Prediction
# ----------
# The bundle has weights for images and for volumes; these are named.

weights = find_bundle("clinical_fmamba") / "models" / "volume.pt"
predictor = medssm_monai.load("clinical_fmamba", ckpt_path=weights)
prediction = predictor.predict((files[0], files[1]))

written = nibabel.load(prediction.save(folder / "fused.nii.gz"))
print("shape", written.shape, "voxels", written.header.get_zooms(), "mm")
print("affine as that of source A:", np.allclose(written.affine, nibabel.load(files[0]).affine))

# %%
# Three planes through the center of mass
# ---------------------------------------

shown = [torch.as_tensor(volume / 255)[None] for volume in volumes] + [torch.as_tensor(prediction.image)[None]]
figure, axes = plt.subplots(3, 3, figsize=(7.5, 7.8), layout="constrained")
for row, planes, across in zip(axes, fusion_planes(shown), ("Z", "Y", "X"), strict=True):
    for axis, plane, name in zip(row, planes, ("source A", "source B", "fused"), strict=True):
        axis.imshow(plane[0], cmap="gray", vmin=0, vmax=1)
        axis.set_title(f"{name}, across {across}", fontsize="medium")
        axis.axis("off")
