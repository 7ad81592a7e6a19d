"""Images as the network sees them: what the bundle's own preprocessing and inferer hand to it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import Tensor

from ..bundle.config import literal
from ..data import prepare_class_demo, prepare_demo, prepare_fusion_demo
from ..utils import per_axis, unwrapped
from ..utils.shown_names import shown_name
from .source import Source

__all__ = ["in_batches", "network_inputs"]

BATCH_SIZES = (1, 2, 3)
FORM = ("spatial_dims", "in_channels", "image_size")
COLOR_CHANNELS = (1, 3)
STRUCTURE, FINE = 8, 0.2  # voxels of a structure, and share of noise without any


class _EnoughError(Exception):
    """Ends an inferer's work when enough windows were seen."""


class _Recorder:
    """Stands for the network: keeps what it is given."""

    def __init__(self, network: torch.nn.Module, wanted: int) -> None:
        self.network, self.wanted = network, wanted
        self.windows: list[Tensor] = []

    def __call__(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        self.windows += list(torch.as_tensor(x).detach().float().cpu().clone())
        if len(self.windows) >= self.wanted:
            raise _EnoughError
        return self.network(x, *args, **kwargs)


def _demo_images(kind: str, parser: ConfigParser) -> str | list[str]:
    """A few pictures of the bundle's synthetic demo set, as its ``dataset_dir`` takes them."""
    if kind == "segmentation":
        return str(prepare_demo(counts=(1, 0, 8)) / "images")
    if kind == "classification":
        return [str(path) for path in sorted((prepare_class_demo(counts=(4, 4, 8)) / "test").rglob("*.png"))]
    dims = int(parser.get_parsed_content("spatial_dims"))
    return str(prepare_fusion_demo(spatial_dims=dims, counts=(1, 1, 8 if dims == 2 else 1)) / "test")


def _without_demo(parser: ConfigParser) -> tuple[int, tuple[int, ...]] | None:
    """Channels and size of what the network takes, where no picture of a demo set is of that form."""
    found = {key: parser.get_parsed_content(key) for key in FORM if key in parser.get()}
    dims, channels = int(found.get("spatial_dims", 2)), int(found.get("in_channels", 3))
    if dims == 2 and channels in COLOR_CHANNELS:
        return None
    return channels, tuple(per_axis(found["image_size"], dims, "image_size"))


def _smooth_noise(count: int, channels: int, size: tuple[int, ...]) -> Tensor:
    """``(count, channels, *size)`` with structures of a few voxels, mean 0 and deviation 1 in every channel."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(count, channels, *(max(side // STRUCTURE, 2) for side in size), generator=generator)
    mode = "trilinear" if len(size) == 3 else "bilinear"
    smooth = torch.nn.functional.interpolate(coarse, size, mode=mode) + FINE * torch.randn(
        count, channels, *size, generator=generator
    )
    axes = tuple(range(2, smooth.ndim))
    return (smooth - smooth.mean(axes, keepdim=True)) / smooth.std(axes, keepdim=True)


def network_inputs(source: Source, images: str | Path | None = None, count: int = 8) -> tuple[Tensor, str]:
    """What reaches the network when the bundle's inference config is run on images.

    Args:
        images: whatever the bundle's ``dataset_dir`` takes; None: synthetic pictures of its demo set, of a segmentation
            of volumes, or of channels that no picture has, smooth noise of ``image_size``.
        count: windows or whole images to take at most.

    Returns:
        ``(n, C, *spatial)`` with ``n <= count``, and where they come from, for the report.

    Raises:
        ValueError: the images reach the network in more than one size: an export holds for one.
        FileNotFoundError, DatalistError, ImageReadError: as the bundle's inference does.
    """
    parser = source.parser
    if images is None and source.task.kind == "segmentation" and (form := _without_demo(parser)):
        return _smooth_noise(count, *form), "smooth noise (synthetic)"
    parser["dataset_dir"] = literal(_demo_images(source.task.kind, parser) if images is None else images)
    recorder = _Recorder(source.network, count)
    inferer, dataset = parser.get_parsed_content("inferer"), parser.get_parsed_content("dataset")
    with torch.no_grad(), suppress(_EnoughError):
        for image in dataset.data:
            with unwrapped():  # the dataset itself would hand on a failure, for bulk inference
                item = dataset.transform(image)
            inferer(item["image"][None].as_tensor(), recorder)
    sizes = list(dict.fromkeys(tuple(window.shape) for window in recorder.windows))
    if len(sizes) != 1:
        raise ValueError(
            f"the images reach the network in {len(sizes)} sizes, {', '.join(map(str, sizes))}; an export holds for "
            "one. Give images of one size, or let the preprocessing or a sliding window bring them to one."
        )
    where = "the bundle's demo images (synthetic)" if images is None else shown_name(images)
    return torch.stack(recorder.windows[:count]), where


def in_batches(samples: Tensor, sizes: Sequence[int] = BATCH_SIZES) -> list[Tensor]:
    """Cut samples into batches of 1, 2, 3, 1, ...; the last ones use samples again, so that every size occurs."""
    batches: list[Tensor] = []
    start = 0
    while start < len(samples) or len(batches) < len(sizes):
        size = sizes[len(batches) % len(sizes)]
        batches.append(samples[[(start + i) % len(samples) for i in range(size)]])
        start += size
    return batches
