"""A bundle of a small network for volumes of two channels and several classes, for tests of what surrounds it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import LoadImage

LABELS = {"liver": 2, "spleen": 5}
CHANNELS = ["t1", "flair"]
AFFINE = np.array([[-1.1, 0.3, 0.05, 40.5], [0.25, 1.4, -0.1, -20.25], [0.07, 0.2, 2.5, 5.125], [0, 0, 0, 1]])
CONFIG = """
ckpt_path: "$'FOLDER/models/model.pt'"
bundle_root: "$'FOLDER'"
device: "$torch.device('cpu')"
imports: ["$import torch", "$import medssm_monai", "$import medssm_monai.data.labels"]
save_results: true
threshold: 0.5
model_settings: {spatial_dims: 3, in_channels: 2, channel_names: [t1, flair]}
label_set: "$medssm_monai.data.labels.LabelSet.of({'liver': 2, 'spleen': 5})"
spatial_dims: 3
in_channels: 2
image_size: [8, 8, 8]
network_def: {_target_: tests.bundle.volume_bundle.network}
network: "$@network_def.to(@device)"
preprocessing:
  _target_: monai.transforms.Compose
  transforms:
    - {_target_: monai.transforms.Lambdad, keys: image, func: "$@load"}
    - {_target_: monai.transforms.Orientationd, keys: image, axcodes: RAS, labels: null}
load: {_target_: tests.bundle.volume_bundle.Load}
inferer: {_target_: monai.inferers.SlidingWindowInferer, roi_size: [8, 8, 8], overlap: 0.25}
evaluator: {inferer: "@inferer"}
postprocessing:
  _target_: monai.transforms.Compose
  transforms:
    - {_target_: monai.transforms.Activationsd, keys: pred, softmax: true}
    - {_target_: medssm_monai.transforms.CopyMetad, keys: pred}
    - _target_: monai.transforms.Invertd
      keys: pred
      transform: "@preprocessing"
      orig_keys: image
      nearest_interp: false
    - {_target_: monai.transforms.CopyItemsd, keys: pred, names: probability}
    - _target_: medssm_monai.transforms.SaveSegmentationd
      _disabled_: "$not @save_results"
      keys: pred
      output_dir: "$@bundle_root + '/out'"
      labels: "@label_set"
prediction:
  _target_: medssm_monai.bundle.SegmentationTask
  threshold: "@threshold"
  labels: "@label_set"
"""


class Load:
    """Files of the channels as one volume, with the metadata that writers need."""

    def __call__(self, files: Any) -> MetaTensor:
        if isinstance(files, (np.ndarray, torch.Tensor)):
            return MetaTensor(torch.as_tensor(files).float(), meta={"filename_or_obj": "array"})
        names = files if isinstance(files, list) else [files]
        image = LoadImage(image_only=True, ensure_channel_first=True)(names)
        image.meta |= {"filename_or_obj": str(names[0]), "file_kind": "nifti", "file_size": image.shape[1:]}
        image.meta |= {"file_shape": image.shape[1:], "file_affine": nib.load(names[0]).affine}
        return image


class Voxelwise(torch.nn.Module):
    """Three classes from two channels, voxel by voxel, so that a result is told from the files alone."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = torch.nn.Dropout(0.0)
        self.weight = torch.nn.Parameter(torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]]))
        self.bias = torch.nn.Parameter(torch.tensor([2.0, 0.0, 0.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.dropout(x)
        return torch.einsum("kc,bcxyz->bkxyz", self.weight, x) + self.bias[None, :, None, None, None]


def network() -> torch.nn.Module:
    return Voxelwise()


def expected_labels(channels: np.ndarray) -> np.ndarray:
    """Values of the label map from ``(2, X, Y, Z)``."""
    logits = np.stack([np.full(channels.shape[1:], 2.0), 4 * channels[0], 4 * channels[1]])
    return np.array([0, *LABELS.values()])[logits.argmax(0)]


def make_bundle(folder: Path, changes: Mapping[str, str] | None = None) -> Path:
    """The bundle, with its weights."""
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    text = CONFIG.replace("FOLDER", folder.as_posix())
    for old, new in (changes or {}).items():
        text = text.replace(old, new)
    (folder / "configs" / "inference.yaml").write_text(text)
    (folder / "configs" / "metadata.json").write_text('{"name": "organs", "version": "0.1.0"}')
    torch.save(network().state_dict(), folder / "models" / "model.pt")
    return folder


def write_case(folder: Path, name: str, seed: int = 0, size: tuple[int, int, int] = (9, 12, 7)) -> tuple[str, str]:
    """Files of the channels of one case, float32 in [0, 1]."""
    folder.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).random((2, *size), dtype=np.float32)
    files = []
    for number, channel in enumerate(values):
        files.append(str(folder / f"{name}_{number:04d}.nii.gz"))
        nib.save(nib.Nifti1Image(channel, AFFINE), files[-1])
    return files[0], files[1]
