"""What the ``domain`` of a settings file may be: what weights were trained for, in words and in figures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .argument_rules import Rule, number, numbers, text, whole, wholes

__all__ = ["DOMAIN_TEXT", "IMAGE_KEYS", "wrong_domain"]

DOMAIN_TEXT = text()
IMAGE_KEYS = ("image", "image_a", "image_b")
SIDE = 2**31
ROUNDING = 1e-3  # of a sum of 32 shares with six digits
SHARES = Rule(
    lambda value: numbers(0, 1, 32, 32).fits(value) and math.isclose(sum(value), 1, abs_tol=ROUNDING),
    "a list of 32 numbers from 0 to 1 whose sum is 1",
)
FINGERPRINT: dict[str, Rule] = {
    "images": whole(1, 2**53),
    "measured": whole(1, 2**53),
    "size_p01": wholes(1, SIDE, 2, 3),
    "size_median": wholes(1, SIDE, 2, 3),
    "size_p99": wholes(1, SIDE, 2, 3),
    "color_share": number(0, 1),
    "histogram": SHARES,
    "distance_p99": number(0, 1),
}
SIZES = ("size_p01", "size_median", "size_p99")


def wrong_domain(domain: Any, spatial_dims: int | None = None) -> tuple[str, Any, str] | None:
    """The first part of a domain that is not as a training writes it: its name, its value, and what is expected there;
    None when there is none.

    Args:
        domain: value of the settings' key; :class:`medssm_monai.data.fingerprint.Fingerprint` says what its figures
            are.
        spatial_dims: axes of the images, where the settings name them.
    """
    parts = _wrong_keys("domain", domain, ("text", "fingerprints"))
    if parts is not None:
        return parts
    if not DOMAIN_TEXT.fits(domain["text"]):
        return "domain, text", domain["text"], DOMAIN_TEXT.expected
    found = domain["fingerprints"]
    if not isinstance(found, Mapping) or tuple(sorted(found)) not in (IMAGE_KEYS[:1], IMAGE_KEYS[1:]):
        return "domain, fingerprints", found, "an object with image, or with image_a and image_b"
    wrong = (_wrong_fingerprint(f"domain, fingerprints, {key}", value, spatial_dims) for key, value in found.items())
    return next((one for one in wrong if one is not None), None)


def _wrong_keys(name: str, value: Any, keys: tuple[str, ...]) -> tuple[str, Any, str] | None:
    if isinstance(value, Mapping) and set(value) == set(keys):
        return None
    return name, value, f"an object with exactly {', '.join(keys)}"


def _wrong_fingerprint(name: str, value: Any, spatial_dims: int | None) -> tuple[str, Any, str] | None:
    parts = _wrong_keys(name, value, tuple(FINGERPRINT))
    if parts is not None:
        return parts
    for key, rule in FINGERPRINT.items():
        if not rule.fits(value[key]):
            return f"{name}, {key}", value[key], rule.expected
    axes = spatial_dims or len(value["size_median"])
    for key in SIZES:
        if len(value[key]) != axes:
            return f"{name}, {key}", value[key], f"{axes} whole numbers, one per axis of the images"
    if value["measured"] > value["images"]:
        return f"{name}, measured", value["measured"], f"at most the number of images, {value['images']}"
    return None
