"""Parameters in groups: which are subject to weight decay, and which belong to a selective scan."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn as nn

from ..networks.blocks.selective_core import SelectiveCore
from ..networks.blocks.spectral_gate import SpectralGate

__all__ = ["parameter_groups", "require_same_groups"]

NORMALIZATIONS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.modules.batchnorm._NormBase)
"""Layers without decay on any parameter; the last one is the base of all batch and instance normalizations."""
OWN = {SelectiveCore: ("A_log", "D"), SpectralGate: ("bias",)}
"""Type -> its own parameters that are not to decay, whatever their shape."""
STEERING = ("x_proj", "dt_proj", "source_proj", "delta_proj", "bc_proj")
"""Layers of a selective core that only say what its scan does: they give the steps, ``B`` and ``C``."""
MARK = "_no_weight_decay"
"""How the published Mamba (``mamba_ssm``) marks such parameters itself."""


def parameter_groups(
    network: nn.Module,
    lr: float,
    weight_decay: float = 0.0,
    scan_lr_factor: float = 1.0,
    selective_decay: bool = True,
) -> list[dict[str, Any]]:
    """Trainable parameters of any network in the groups that an optimizer of ``torch.optim`` takes.

    Weight decay pulls values towards zero, which is a prior for the weights of linear layers and convolutions. It is
    none for ``A_log`` and ``D`` of a scan, whose zero is an arbitrary place, for biases (among them those that set the
    steps of a scan, and the one of a spectral gate), and for the scales of normalizations: these do not decay, nor do
    other parameters with one axis, nor those that carry the mark of ``mamba_ssm``, ``_no_weight_decay``.

    Only groups that differ are made: without weight decay, or with ``selective_decay=False``, and with
    ``scan_lr_factor=1``, there is a single one, which holds the parameters in the order of ``network.parameters()``. A
    parameter that several layers share comes once, and does not decay where one of them says so.

    Args:
        network: wrapped by ``DistributedDataParallel`` or not.
        lr: learning rate, positive.
        weight_decay: of the parameters that decay, 0 or more.
        scan_lr_factor: learning rate of the parameters of selective scans (``A_log``, ``D``, and the layers that give
            the steps, ``B`` and ``C``) as a multiple of ``lr``, positive.
        selective_decay: ``False`` lets every parameter decay.

    Returns:
        Groups with the keys ``params``, ``lr`` and ``weight_decay``, those with ``lr`` itself and with decay first.

    Raises:
        ValueError: a value outside its range, or a network without parameters to train.

    Example:
        >>> groups = parameter_groups(nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4)), lr=0.1, weight_decay=0.01)
        >>> [(len(group["params"]), group["weight_decay"]) for group in groups]
        [(1, 0.01), (3, 0.0)]
    """
    for name, value, least in (
        ("lr", lr, None),
        ("weight_decay", weight_decay, 0),
        ("scan_lr_factor", scan_lr_factor, None),
    ):
        if not math.isfinite(value) or (value <= 0 if least is None else value < 0):
            raise ValueError(
                f"{name} must be a finite number {'above 0' if least is None else 'of at least 0'}, got {value}."
            )
    undecayed = {id(parameter) for parameter in _undecayed(network)} if selective_decay else set()
    scanning = {id(parameter) for parameter in _scanning(network)}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in network.parameters():
        if parameter.requires_grad:
            of_scan = id(parameter) in scanning and scan_lr_factor != 1
            bare = id(parameter) in undecayed and weight_decay > 0
            groups.setdefault((of_scan, bare), []).append(parameter)
    if not groups:
        frozen = sum(1 for _ in network.parameters())
        raise ValueError(
            f"{type(network).__name__} has no parameter to train ({frozen} are frozen). Let some require gradients."
        )
    return [
        {
            "params": groups[of_scan, bare],
            "lr": lr * scan_lr_factor if of_scan else lr,
            "weight_decay": 0.0 if bare else weight_decay,
        }
        for of_scan, bare in sorted(groups)
    ]


def _undecayed(network: nn.Module) -> Iterator[nn.Parameter]:
    for module in network.modules():
        own = {name for kind, names in OWN.items() if isinstance(module, kind) for name in names}
        for name, parameter in module.named_parameters(recurse=False):
            bias = name == "bias" or parameter.ndim <= 1
            if bias or name in own or isinstance(module, NORMALIZATIONS) or getattr(parameter, MARK, False):
                yield parameter


def _scanning(network: nn.Module) -> Iterator[nn.Parameter]:
    for module in network.modules():
        if isinstance(module, SelectiveCore):
            yield from (
                parameter for name, parameter in module.named_parameters(recurse=False) if name in OWN[SelectiveCore]
            )
            for name, layer in module.named_children():
                if name in STEERING:
                    yield from layer.parameters()


def require_same_groups(optimizer: torch.optim.Optimizer, state: Mapping[str, Any], file: object) -> None:
    """Compare the groups of a saved optimizer with those of this one.

    Args:
        optimizer: the one that is to go on.
        state: what its ``state_dict`` was.
        file: the checkpoint's name, for the error.

    Raises:
        ValueError: other numbers of groups, or of parameters in one.
    """
    saved, own = (
        [len(group["params"]) for group in groups] for groups in (state["param_groups"], optimizer.param_groups)
    )
    if saved == own:
        return
    if sum(saved) == sum(own):
        remedy = (
            "Give the selective_decay, weight_decay and scan_lr_factor that the run was started with; runs of versions "
            "without parameter groups have one: --selective_decay False --scan_lr_factor 1.0."
        )
    else:
        remedy = "It is the state of another training: give the settings that the run was started with."
    raise ValueError(
        f"{file}: its optimizer has {len(saved)} parameter groups with {saved} parameters, this training's has "
        f"{len(own)} with {own}. {remedy}"
    )
