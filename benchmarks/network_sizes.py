"""Sizes at which the networks are measured, and the arguments and inputs that go with a name and a size."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

import torch
from torch import nn

from medssm_monai import get_network, register

from .comparison_networks import COMPARISONS

__all__ = ["DOCUMENTED", "Group", "arguments_for", "build", "image_shape", "known_networks"]


@dataclass(frozen=True)
class Group:
    """Networks that run in turn on the same input: size in pixels (voxels) of each axis, images a batch, yardsticks."""

    names: Sequence[str]
    size: int
    batch: int
    compare: Sequence[str] = ()


SEGMENTATION, CLASSIFICATION = ("MONAI U-Net",), ("MONAI ResNet-18",)
DOCUMENTED = (
    Group(("mamba_mis_s", "mamba_mis_b", "mamba_mis_l"), 128, 4, SEGMENTATION),
    Group(("mamba_mis_s", "mamba_mis_b", "mamba_mis_l"), 256, 1, SEGMENTATION),
    Group(("medconvmamba_t",), 224, 2, CLASSIFICATION),  # patches of 8 pixels
    Group(("medspectralnet",), 224, 2, CLASSIFICATION),
    Group(("medspectralnet",), 96, 16, CLASSIFICATION),
    Group(("clinical_fmamba_2d",), 256, 1),
    Group(("clinical_fmamba_3d",), 64, 1),
    Group(("mamba_mis_3d_s", "mamba_mis_3d_b"), 64, 1),
)
"""The sizes of the networks' papers and pages: whole images, and the sliding window of the volumes."""


def known_networks() -> list[str]:
    """Names of the registered presets."""
    return [name for name in register().names if name[0].islower()]


def _parameters(name: str) -> set[str]:
    """Names of the arguments of a registered network; a preset hands its own to the class that it returns."""
    preset = getattr(register(), name)
    network = preset if inspect.isclass(preset) else get_type_hints(preset)["return"]
    return set(inspect.signature(network).parameters)


def _spatial_dims(name: str) -> int:
    return 3 if "_3d" in name else 2


def arguments_for(name: str, size: int) -> dict[str, Any]:
    """What the network's constructor is given; nothing for one of MONAI's."""
    if name in COMPARISONS:
        return {}
    given = {"spatial_dims": _spatial_dims(name), "img_size": size}
    return {argument: value for argument, value in given.items() if argument in _parameters(name)}


def image_shape(name: str, size: int) -> tuple[int, ...]:
    """``(channels, *spatial)``: three channels where their number is free and for MONAI's; two where two are fused.

    Volumes with a free number of channels have one.
    """
    free = name in COMPARISONS or "in_channels" in _parameters(name)
    channels = (1 if _spatial_dims(name) == 3 else 3) if free else 2
    return (channels, *[size] * _spatial_dims(name))


def build(name: str, size: int) -> nn.Module:
    """A network by its registered name, or one of MONAI's, with the first weights of seed 0."""
    torch.manual_seed(0)
    return COMPARISONS[name]() if name in COMPARISONS else get_network(name, **arguments_for(name, size))
