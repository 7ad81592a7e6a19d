"""Write a small labeled set of volumes from the average brain that nilearn ships, in nnU-Net's layout.

    pip download nilearn --no-deps -d WHEEL && unzip WHEEL/nilearn-*.whl -d NILEARN
    python -m benchmarks.tissue_set NILEARN/nilearn/datasets/data TISSUES

The T1-weighted volume and the maps of gray and white matter are ICBM 152 nonlinear 2009a symmetric (Fonov et al.,
NeuroImage 54, 2011; free to copy, use and change with the notice of the McConnell Brain Imaging Centre). Each voxel
gets the class with the largest share: gray matter, white matter, or the rest of the brain. The one volume is cut into
coronal slabs, of which some are for training and others for test. It is one brain, and an average one: the set shows
that the pipeline works on a real image and what it costs, and says nothing about patients.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import nibabel as nib
import numpy as np

NAME = "mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
SLABS = 8
PARTS = {"training": (0, 1, 3, 5, 7), "validation": (4,), "test": (2, 6)}
LABELS = {"background": 0, "other brain": 1, "gray matter": 2, "white matter": 3}


def main(arguments: list[str] | None = None) -> int:
    """Write the set; returns 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder of nilearn's volumes")
    parser.add_argument("target", type=Path, help="new folder of the set")
    options = parser.parse_args(arguments)
    volumes = {name: nib.load(options.source / NAME.format(name)) for name in ("t1", "gm", "wm")}
    t1, gray, white = (np.asarray(volume.dataobj, dtype=np.float32) for volume in volumes.values())
    shares = np.stack([255 - gray - white, gray, white])
    labels = np.where(t1 > 0, shares.argmax(0) + 1, 0).astype(np.uint8)
    occupied = np.flatnonzero(t1.any(axis=(0, 2)))
    bounds = np.linspace(occupied[0], occupied[-1] + 1, SLABS + 1).round().astype(int)
    for folder in ("imagesTr", "labelsTr"):
        (options.target / folder).mkdir(parents=True)
    for number in range(SLABS):
        part = slice(bounds[number], bounds[number + 1])
        affine = volumes["t1"].affine.copy()
        affine[:3, 3] += affine[:3, 1] * bounds[number]
        name = f"slab_{number}"
        image = nib.Nifti1Image(t1[:, part].astype(np.uint8), affine)
        nib.save(image, options.target / "imagesTr" / f"{name}_0000.nii.gz")
        nib.save(nib.Nifti1Image(labels[:, part], affine), options.target / "labelsTr" / f"{name}.nii.gz")
    content = {"channel_names": {"0": "T1"}, "labels": LABELS, "numTraining": SLABS, "file_ending": ".nii.gz"}
    (options.target / "dataset.json").write_text(json.dumps(content, indent=1))
    split = {part: [f"slab_{number}" for number in numbers] for part, numbers in PARTS.items()}
    (options.target / "split.json").write_text(json.dumps(split, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
