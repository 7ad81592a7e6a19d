"""Whether weights may go into an archive: others must be able to load them, and to know what they are."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from ..data.labels import LabelSet
from ..utils.files import file_sha256
from .checkpoint import require_flat_weights
from .predictor import load
from .settings import read_model_settings, settings_file
from .version import METADATA
from .weights import named_by_its_card

__all__ = ["require_described", "require_usable"]

logger = logging.getLogger(__name__)
CARD = ".md"


def require_usable(root: Path, weights: Path) -> None:
    """The weights are flat, have their settings, are those of their card, and the bundle's inference loads them.

    A card that is missing is a warning.

    Raises:
        FileNotFoundError: no settings.
        ValueError: anything else.
    """
    settings = settings_file(weights)
    if not settings.is_file():
        raise FileNotFoundError(
            f"{weights}: its settings, {settings.name}, are missing. Copy them along with the weights."
        )
    require_flat_weights(weights)
    card = weights.with_suffix(CARD)
    if not card.is_file():
        logger.warning(
            "%s has no model card %s: the archive does not say what the weights were trained on, how good they are and "
            "what they are not for. Write one that states their SHA-256, %s.",
            *(weights, card.name, file_sha256(weights)),
        )
    elif not named_by_its_card(weights):
        raise ValueError(
            f"{card} is the card of other weights: it does not state the SHA-256 of {weights.name}, "
            f"{file_sha256(weights)}. Correct the card, figures included, or move it away."
        )
    _ = load(root, ckpt_path=weights, device="cpu").network  # builds it, and loads the weights strictly


def require_described(root: Path, weights: Path) -> None:
    """The metadata's network format is that of the weights: channels, dimensions, classes.

    Raises:
        ValueError: it is not; the message names both.
    """
    settings = read_model_settings(weights, root / "configs" / "settings.yaml")
    given = json.loads((root / METADATA).read_text(encoding="utf8")).get("network_data_format") or {}
    image, pred = given.get("inputs", {}).get("image", {}), given.get("outputs", {}).get("pred", {})
    names, labels = settings.get("class_names"), settings.get("labels")
    classes = LabelSet.of(labels).out_channels if labels else len(names) if names else None
    channels = settings.get("in_channels", sum(settings.get("channels") or ()) or None)
    pairs: dict[str, tuple[Any, Any]] = {
        "channels of the image": (image.get("num_channels"), channels),
        "dimensions of the image": (len(image.get("spatial_shape") or ()) or None, settings.get("spatial_dims")),
        "classes": (pred.get("num_channels"), classes),
    }
    wrong = {what: pair for what, pair in pairs.items() if None not in pair and pair[0] != pair[1]}
    if wrong:
        said = ", ".join(f"{what} {stated}, not {found}" for what, (stated, found) in wrong.items())
        raise ValueError(
            f"{root / METADATA} describes another network than {weights} ({said}): programs would take the one for the "
            "other. Copy the bundle, correct network_data_format, version and changelog there, and pack the copy."
        )
