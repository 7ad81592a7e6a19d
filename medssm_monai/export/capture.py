"""A network ready to be written: what every format starts from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

__all__ = ["Capture"]


@dataclass(frozen=True)
class Capture:
    """A network and an input that shows its shape.

    Attributes:
        network: in evaluation mode.
        example: ``(2, C, *spatial)``: the image size is fixed by it, the batch size stays free.
    """

    network: nn.Module
    example: Tensor

    @cached_property
    def program(self) -> ExportedProgram:
        """The network by ``torch.export``; made once for all formats that start from it.

        Raises:
            torch._dynamo.exc.UserError: control flow that depends on the data, or a batch size that the network fixes.
        """
        with torch.no_grad():  # the scan's operator is for inference
            return torch.export.export(self.network, (self.example,), dynamic_shapes=({0: Dim("batch", min=1)},))
