"""Whether a checkpoint fits the network and the classes it is to be used with, said before anything runs."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.nn as nn

from .settings import settings_file
from .weights import REMEDY, describe_weights_file, require_weights, shown_classes, weights_hint

__all__ = [
    "flat_state_dict",
    "load_weights",
    "read_weights",
    "require_fitting_weights",
    "require_flat_weights",
    "require_same_classes",
    "start_from",
]

logger = logging.getLogger(__name__)
WRAPPERS = ("state_dict", "model_state_dict", "model", "network", "net")
PARALLEL, COMPILED = "module", "_orig_mod"


def flat_state_dict(saved: Any, name: str) -> dict[str, torch.Tensor]:
    """Names and tensors of a network out of what a file held.

    Taken off, with one line in the log: an entry such as ``"state_dict"`` or ``"model"`` around the weights (of a
    training's checkpoint, for instance), ``module.`` before every name (``DataParallel``, ``DistributedDataParallel``)
    and ``_orig_mod.`` (``torch.compile``), also one inside the other.

    Args:
        saved: what ``torch.load`` gave.
        name: of the file, for messages.

    Raises:
        ValueError: no weights in it.
    """
    state, taken_off = saved, []
    while not _is_flat(state):
        entries = state if isinstance(state, Mapping) else {}
        entry = next((key for key in WRAPPERS if isinstance(entries.get(key), Mapping)), None)
        if entry is None:
            raise ValueError(
                f"{name}: no flat state dict (names and tensors), nor one in an entry "
                f"{', '.join(map(repr, WRAPPERS))}; give the model.pt of a training."
            )
        state = entries[entry]
        taken_off.append(f"the entry {entry!r}")
    names = {key: key for key in state}
    if any(COMPILED in key.split(".") for key in names):
        names = {key: ".".join(part for part in new.split(".") if part != COMPILED) for key, new in names.items()}
        taken_off.append(f"{COMPILED!r} (torch.compile)")
    while names and all(new.startswith(f"{PARALLEL}.") for new in names.values()):
        names = {key: new.removeprefix(f"{PARALLEL}.") for key, new in names.items()}
        taken_off.append(f"{PARALLEL!r} (DataParallel)")
    if taken_off:
        logger.info("%s: taken off around the weights: %s", name, ", ".join(taken_off))
    return {new: state[key] for key, new in names.items()}


def _is_flat(state: Any) -> bool:
    return isinstance(state, Mapping) and all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in state.items()
    )


SHOWN = 4


def read_weights(ckpt_path: str | os.PathLike) -> dict[str, torch.Tensor]:
    """Names and tensors of a network, read with ``torch.load(..., weights_only=True)``: no code in the file can run.
    What other programs put around them is taken off (:func:`flat_state_dict`).

    Raises:
        ValueError: damaged, pickled objects, or another content.
    """
    name = os.fspath(ckpt_path)
    return flat_state_dict(_content(name), name)


def _content(name: str) -> Any:
    try:
        return torch.load(name, map_location="cpu", weights_only=True)
    except Exception as error:  # no archive, a truncated one, pickled objects: PyTorch raises many kinds
        raise ValueError(
            f"{name}: no weights that can be loaded ({type(error).__name__}); train or copy it again."
        ) from None


def require_flat_weights(ckpt_path: str | os.PathLike) -> None:
    """Make sure that a file holds names and tensors of a network alone, as programs read it that take nothing off.

    Raises:
        ValueError: something else, or something around the weights; the message says how to write them flat.
    """
    name = os.fspath(ckpt_path)
    saved = _content(name)
    flat = flat_state_dict(saved, name)
    if saved.keys() != flat.keys():
        raise ValueError(
            f"{name}: no flat state dict, there is something around the weights that other programs do not take off. "
            f"Write it flat: python -m medssm_monai.experiments.pack_weights {name} FILE"
        )


def load_weights(
    network: nn.Module, ckpt_path: str | os.PathLike, num_classes: int | None = None, remedy: str = REMEDY
) -> str:
    """Read a checkpoint into a network, all of it or nothing. One line of the log says which weights these are.

    Args:
        network, ckpt_path, num_classes: as :func:`require_fitting_weights` takes them.
        remedy: what to do where there are no weights.

    Returns:
        That line (:func:`~.weights.describe_weights_file`).

    Raises:
        FileNotFoundError: no weights; the message names others that lie there.
        ValueError: as :func:`require_fitting_weights` does.
    """
    path = require_weights(ckpt_path, remedy=remedy)
    saved = _for_maps_of(network, _without_more_for_training(read_weights(path), network))
    _compare(path, saved, network, num_classes)
    network.load_state_dict(saved)
    described = describe_weights_file(path, path)
    logger.info("weights: %s", described)
    return described


def require_fitting_weights(ckpt_path: str | os.PathLike, network: nn.Module, num_classes: int | None = None) -> None:
    """Compare names and shapes of saved weights with those of a network.

    Args:
        ckpt_path: file that :func:`read_weights` reads.
        network: of a classification network the last parameter belongs to the layer that gives the logits.
        num_classes: how many classes the settings of a classification name; None for other networks.

    Raises:
        ValueError: the file holds no state dict, weights for another number of classes, or another network's.
    """
    saved = _for_maps_of(network, _without_more_for_training(read_weights(ckpt_path), network))
    _compare(os.fspath(ckpt_path), saved, network, num_classes)


def _only_for_training(names: Iterable[str], network: nn.Module) -> set[str]:
    """Those of the names that belong to parts which a network's class calls ``training_only``."""
    parts = tuple(f"{part}." for part in getattr(network, "training_only", ()))
    return {name for name in names if name.startswith(parts)} if parts else set()


def _without_more_for_training(saved: dict[str, torch.Tensor], network: nn.Module) -> dict[str, torch.Tensor]:
    """``saved`` without what a training needed and this network, built for predictions alone, has no place for."""
    more = _only_for_training(saved.keys() - network.state_dict().keys(), network)
    return {key: value for key, value in saved.items() if key not in more}


def _for_maps_of(network: nn.Module, saved: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """``saved`` with the weights of spectral gates resampled where this network, built for another size of image, has
    them for other maps: what the gates do when such weights are loaded, done before shapes are compared."""
    from ..networks.blocks import SpectralGate  # only here: commands that stop early need no MONAI

    for name, module in network.named_modules():
        if isinstance(module, SpectralGate):
            module.fit_state(saved, f"{name}.")
    return saved


def _compare(name: str, saved: Mapping[str, torch.Tensor], network: nn.Module, num_classes: int | None) -> None:
    own = network.state_dict()
    last = next(reversed(own))
    others = {key for key in own.keys() & saved.keys() if own[key].shape != saved[key].shape}
    same_body = last in others and saved[last].shape[1:] == own[last].shape[1:] and own.keys() == saved.keys()
    wrong = sorted((own.keys() ^ saved.keys()) | others)
    if not wrong:
        return
    settings = settings_file(name)
    if num_classes is not None and same_body:
        reason = f"its weights are for {saved[last].shape[0]} classes, but {num_classes} classes are named"
        remedy = "give the checkpoint that was trained for these classes"
    else:
        reason = f"its weights are another network's; {_some(wrong)} are missing, unknown or of another shape"
        remedy = "name the overlay it was trained with"
    if settings.is_file():
        raise ValueError(f"{name}: {reason}. Restore the settings file (.json) beside it, or {remedy}.")
    raise ValueError(
        f"{name}: there is no {settings.name} beside it, the settings it was trained with: copy it along with the "
        f"weights, or {remedy}. Without it {reason}."
    )


def start_from(
    network: nn.Module,
    ckpt_path: str | os.PathLike | None,
    classes: tuple[Sequence[str], Sequence[str]] | None = None,
) -> nn.Module:
    """Give a network the weights that its training starts from; None leaves it as it is initialized.

    Weights of spectral gates for another size of image are resampled, as in a prediction. Weights of another shape
    start afresh, with a warning that names them. So do parts that only a training needs (the heads of deep supervision)
    where the file has none; where the network has none, those of the file are left out.

    Args:
        network: its class names the layers that give the logits, ``output_layers``.
        ckpt_path: file that :func:`read_weights` reads.
        classes: names of the weights' outputs and of the network's, in the order of their rows, where they differ. Of
            ``output_layers`` the rows of classes of the same name are kept, the others start afresh, with a warning
            that names both.

    Returns:
        ``network``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no flat state dict, other names than the network's, or no weight of the same shape.
    """
    if ckpt_path is None:
        return network
    name = require_weights(ckpt_path, "weights to start from", "Name a model.pt of a training in --init_from.")
    saved, own = _for_maps_of(network, read_weights(name)), network.state_dict()
    different = own.keys() ^ saved.keys()
    unknown = sorted(different - _only_for_training(different, network))
    sized = {key: value for key, value in saved.items() if key in own and own[key].shape == value.shape}
    if unknown or not sized:
        raise ValueError(
            f"{name}: cannot start from another network's weights ({_some(unknown or sorted(own))} differ). Give the "
            "settings that it was trained with, in the file .json beside it, or leave init_from out."
        )
    rows = {} if classes is None else _rows_by_name(network, own, saved, *classes)
    network.load_state_dict(sized | rows, strict=False)
    logger.info("the training starts from %s", describe_weights_file(name, name))
    others = sorted(own.keys() - sized.keys() - rows.keys())
    if others:
        other = "have another shape here" if saved.keys() & set(others) else "are not in it"
        logger.warning("%s: %s %s and start afresh", name, _some(others), other)
    if classes is not None:
        theirs, ours = classes
        kept = [entry for entry in ours if entry in theirs]
        last = f"{shown_classes(kept)} are kept, the others start afresh" if kept else "all start afresh"
        logger.warning(
            "%s was trained for the classes %s, this training is for %s: of the last layer %s",
            *(name, shown_classes(theirs), shown_classes(ours)),
            last if rows else "no rows are told apart by these names, so that it is taken as it fits",
        )
    return network


def _rows_by_name(
    network: nn.Module,
    own: Mapping[str, torch.Tensor],
    saved: Mapping[str, torch.Tensor],
    theirs: Sequence[str],
    ours: Sequence[str],
) -> dict[str, torch.Tensor]:
    """The output layers of a network (of ``own``), with the rows of ``saved`` where a class of ``theirs`` has the name;
    nothing where there are other than a row for each class."""
    layers = tuple(f"{layer}." for layer in getattr(network, "output_layers", ()))
    found = {}
    for key, here in own.items():
        if not key.startswith(layers) or key not in saved:
            continue
        there = saved[key]
        if (len(here), len(there)) == (len(ours), len(theirs)) and here.shape[1:] == there.shape[1:]:
            found[key] = here.clone()
            for row, entry in enumerate(ours):
                if entry in theirs:
                    found[key][row] = there[theirs.index(entry)]
    return found


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def require_same_classes(found: Sequence[str], expected: Sequence[str], ckpt_path: str | os.PathLike) -> None:
    """Compare the classes of the data with those of a checkpoint, in label order.

    Raises:
        ValueError: naming both, the weights that were taken and the others that are there.
    """
    if list(found) != list(expected):
        raise ValueError(
            f"the data have the classes {list(found)}, {os.fspath(ckpt_path)} was trained for {list(expected)}. Give "
            "the data or the checkpoint that belong together; names in another order go into --datalists#class_names. "
            f"{weights_hint(ckpt_path)}"
        )
