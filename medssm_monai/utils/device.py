"""The device that a command or a caller names, checked before anything runs on it."""

from __future__ import annotations

import torch

__all__ = ["as_device", "require_device"]


def as_device(device: str | torch.device) -> torch.device:
    """A device by its name, ``"cpu"`` or ``"cuda:0"``, that is there.

    Raises:
        ValueError: no such device; the message names those that there are.
    """
    there = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    there += ["mps"] if torch.backends.mps.is_available() else []
    try:
        found = torch.device(device) if isinstance(device, (str, torch.device)) else None
    except RuntimeError:  # a word that PyTorch does not know; its message lists two dozen kinds
        found = None
    if found is None or (f"{found.type}:{found.index or 0}" if found.type == "cuda" else found.type) not in there:
        built = "" if torch.version.cuda or torch.version.hip else ", and this PyTorch is built for CPUs only"
        raise ValueError(f"device {str(device)!r} is not there; there is {', '.join(there)}{built}. Give one of these.")
    return found


def require_device(device: str | torch.device) -> None:
    """Make sure that a device is there.

    Raises:
        ValueError: as :func:`as_device`.
    """
    as_device(device)
