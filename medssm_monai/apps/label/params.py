"""Params of the requests: what each kind takes, and that nothing else is passed over in silence."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from .names import plain_name
from .options import Limits

__all__ = [
    "INFO_KEPT",
    "infer_params",
    "info_params",
    "sample_params",
    "scoring_params",
    "session_expiry",
    "train_params",
]

Rule = Callable[[Any], bool]
EXTENSIONS = (".png", ".nii", ".nii.gz", ".nrrd")
DTYPES = ("uint8", "uint16")
INFO_KEPT = ("ts", "name", "path", "strategy")  # of an image or label, kept by the server
LONGEST_SESSION = 7 * 24 * 3600
SCORES = ("_epistemic", "_epistemic_weights")


def _integer(low: int, high: int) -> tuple[Rule, str]:
    def rule(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high

    return rule, f"a whole number from {low} to {high}"


def _between(low: float, high: float) -> tuple[Rule, str]:
    def rule(value: Any) -> bool:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and low < value < high

    return rule, f"a number above {low:g} and below {high:g}"


def _is(*kinds: type) -> Rule:
    return lambda value: isinstance(value, kinds)


def _name(value: Any) -> bool:
    try:
        return bool(plain_name(value, "name"))
    except ValueError:
        return False


ANYTHING = (lambda value: True, "anything")
BOOL = (_is(bool), "true or false")
TEXT = (_is(str, type(None)), "a text")
NAME = (_name, "a name without slashes that starts with no dot")
ANYONE = {"client_id": TEXT}  # of MONAI Label's own client
HOST = {  # what 3D Slicer, OHIF and MONAI Label send with every inference, and what changes nothing here
    **ANYONE,
    "image": NAME,
    "save_label": (lambda value: isinstance(value, bool) or value in ("true", "false"), "true or false"),
    "label_tag": NAME,
    "device": TEXT,
    "logging": TEXT,
    "restore_label_idx": BOOL,
}
BATCH = {"multi_gpu": BOOL, "gpus": TEXT, "max_workers": _integer(0, 64), "max_batch_size": _integer(0, 10**6)}
RESULT = {"result_extension": (lambda value: value in EXTENSIONS, f"one of {', '.join(EXTENSIONS)}")}
IMAGE = {
    "result_dtype": (lambda value: value in DTYPES, f"one of {', '.join(DTYPES)}"),
    "result_compress": BOOL,
}
OF_KIND: dict[str, dict[str, tuple[Rule, str]]] = {
    "segmentation": {"threshold": _between(0, 1), **RESULT, **IMAGE},
    "classification": {**RESULT, **IMAGE},  # hosts send them always; the answer has no image
    "fusion": {"image_b": NAME, **RESULT},
}


def _checked(params: Mapping[str, Any], rules: Mapping[str, tuple[Rule, str]], what: str) -> dict[str, Any]:
    unknown = sorted(str(key) for key in params if key not in rules)
    if unknown:
        raise ValueError(f"{what}: there is no {', '.join(unknown)[:200]}; there are {', '.join(sorted(rules))}.")
    for key, value in params.items():
        fits, expected = rules[key]
        if not fits(value):
            raise ValueError(f"{what}: {key} must be {expected}, got {str(value)[:80]!r}.")
    return dict(params)


def infer_params(
    kind: str, params: Mapping[str, Any], *, batch: bool = False, echoed: Collection[str] = ()
) -> dict[str, Any]:
    """Params of ``POST /infer/MODEL`` (and ``/batch/infer/MODEL``) for a kind of bundle.

    Args:
        kind: ``"segmentation"``, ``"classification"`` or ``"fusion"``.
        params: of the request.
        batch: many images.
        echoed: keys of the model's ``config`` in ``/info``, which clients send back as they are.

    Raises:
        ValueError: one that there is not, or a wrong value.
    """
    rules = {**dict.fromkeys(echoed, ANYTHING), **HOST, **OF_KIND[kind], **(BATCH if batch else {})}
    return _checked(params, rules, f"params of a {kind}")


def train_params(params: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    """Params of ``POST /train/MODEL``.

    Raises:
        ValueError: one that there is not, or a wrong value.
    """
    rules = {
        **ANYONE,
        "max_epochs": _integer(1, limits.max_epochs),
        "batch_size": _integer(1, 1024),
        "val_split": _between(0, 1),
        "from_scratch": BOOL,
        "overrides": (_is(dict), "an object of settings and values"),
    }
    found = _checked(params, rules, "params of a training")
    twice = sorted(set(found.get("overrides", {})) & {"max_epochs", "batch_size"})
    if twice:
        raise ValueError(f"params of a training: give {', '.join(twice)} beside overrides, not in it.")
    return found


def scoring_params(params: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    """Params of ``POST /scoring/METHOD``.

    Raises:
        ValueError: one that there is not, or a wrong value.
    """
    rules = {
        **ANYONE,
        "simulation_size": _integer(2, limits.max_samples),
        "dropout": _between(0, 1),
        "max_samples": _integer(0, 10**9),
    }
    return _checked(params, rules, "params of a scoring")


def session_expiry(seconds: int) -> int:
    """For how long a session is kept that nobody asks for; 0 for the server's own time.

    Raises:
        ValueError: below 0, or more than a week.
    """
    if not 0 <= seconds <= LONGEST_SESSION:
        raise ValueError(f"expiry must be a whole number of seconds from 0 to {LONGEST_SESSION}, got {seconds}.")
    return seconds


def sample_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Params of ``POST /activelearning/STRATEGY``.

    Raises:
        ValueError: one that there is not, or a wrong value.
    """
    return _checked(params, {**ANYONE, "label_tag": TEXT, "labels": (_is(list, type(None)), "a list")}, "params")


def info_params(info: Mapping[str, Any]) -> dict[str, Any]:
    """What a client notes about an image or label.

    Raises:
        ValueError: a key that the server keeps for itself.
    """
    kept = sorted(key for key in info if key in INFO_KEPT or key.endswith(SCORES))
    if kept:
        raise ValueError(f"info: {', '.join(kept)[:200]} is kept by the server.")
    return dict(info)
