"""ResNet trunk with torchvision's parameter names, and loading of such a file with a strict account of it."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from monai.networks.nets import ResNet

__all__ = ["PretrainedReport", "ResNetTrunk"]

logger = logging.getLogger(__name__)

WIDTHS = (64, 128, 256, 512)


@dataclass(frozen=True)
class PretrainedReport:
    """What became of a file of weights: names that were loaded, and names in it that the trunk has no place for."""

    path: str
    loaded: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        unused = f"; not used: {', '.join(self.unused)}" if self.unused else "; nothing left over"
        return f"{self.path}: loaded {len(self.loaded)} of the trunk's entries{unused}"


class ResNetTrunk(ResNet):
    """MONAI's ResNet of basic blocks, from the image to the last map, at 1/32 of the image's size.

    Names and shapes of the state dict are those of torchvision's ``resnet18`` (without ``fc``): with ``layers=(2, 2, 2,
    2)`` all of them, with fewer blocks those of the blocks that are there.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        layers: basic blocks in each of the four stages, at least one.

    Raises:
        ValueError: when ``layers`` are not four positive numbers.
    """

    out_channels = WIDTHS[-1]

    def __init__(self, spatial_dims: int, in_channels: int, layers: Sequence[int] = (2, 2, 2, 2)) -> None:
        if len(layers) != 4 or min(layers) < 1:
            raise ValueError(f"layers must be four positive numbers of blocks, got {tuple(layers)}.")
        super().__init__(
            "basic",
            list(layers),
            list(WIDTHS),
            spatial_dims=spatial_dims,
            n_input_channels=in_channels,
            conv1_t_size=7,
            conv1_t_stride=2,
            feed_forward=False,
            bias_downsample=False,
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, in_channels, *spatial)`` to ``(B, 512, *ceil(spatial / 32))``."""
        x = self.maxpool(self.act(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def load_pretrained(self, path: str | os.PathLike[str]) -> PretrainedReport:
        """Load a local state dict with torchvision's names, for example ImageNet weights of ``resnet18``.

        Every entry of the trunk must be in the file, with its shape; only BatchNorm's counters
        (``num_batches_tracked``), which older files lack, may be absent. Of the file, the classifier ``fc`` and blocks
        of the four stages that this trunk does not have may be left over. Nothing is loaded when the file does not fit.

        Returns:
            The report, which is also logged.

        Raises:
            FileNotFoundError: no such file.
            ValueError: the file is no plain dictionary of tensors, or does not fit; all offenders are listed.
        """
        state, own = _read_state(path), self.state_dict()
        missing = [n for n in own if n not in state and not n.endswith("num_batches_tracked")]
        unequal = [
            f"{n} (file {tuple(state[n].shape)}, trunk {tuple(own[n].shape)})"
            for n in own
            if n in state and state[n].shape != own[n].shape
        ]
        unused = [n for n in state if n not in own]
        foreign = [n for n in unused if not n.startswith(("fc.", "layer1.", "layer2.", "layer3.", "layer4."))]
        problems = [
            f"{what}: {', '.join(names)}"
            for what, names in (("missing", missing), ("of another shape", unequal), ("unknown", foreign))
            if names
        ]
        if problems:
            raise ValueError(
                f"{path} does not fit the trunk. {'. '.join(problems)}. Expected are the names of torchvision's "
                "resnet18; such files hold 2D weights for 3 channels: set spatial_dims=2, in_channels=3."
            )
        loaded = [n for n in own if n in state]
        self.load_state_dict({n: state[n] for n in loaded}, strict=False)
        report = PretrainedReport(str(path), tuple(loaded), tuple(unused))
        logger.info("%s", report)
        return report


def _read_state(path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    if not Path(path).is_file():
        raise FileNotFoundError(f"no file of pretrained weights at {path}; nothing is downloaded, give a local path.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ValueError(f"{path} is no state dict that loads with weights_only=True: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise ValueError(f"{path} must hold a plain dictionary of tensors, as torchvision's files do.")
    return state
