"""Options that the commands for DICOM share: which series, which objects, which weights."""

from __future__ import annotations

import argparse
import json
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...bundle.predictor import Predictor
    from ...dicom.deidentify import Deidentifier
    from ...dicom.engine import StudyEngine

__all__ = ["add_engine_options", "build_engine", "build_predictor"]

KEY_BYTES = 32
OPTIONS_OF_KEYS = {"bundle": "BUNDLE", "ckpt_path": "--weights", "device": "--device"}


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that :func:`build_engine` reads, and the bundle."""
    parser.add_argument("bundle", metavar="BUNDLE", help="a name (medssm list) or a bundle's folder")
    parser.add_argument(
        "--weights", help="a file, or a name in the bundle's models/ (default: yours, else the shipped)"
    )
    parser.add_argument("--device", help="such as cuda:0 (default: the GPU where there is one)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any key of the bundle's inference.yaml, such as threshold=0.4; repeatable",
    )
    which = parser.add_argument_group("which series", "in regular expressions small and capital letters are the same")
    which.add_argument("--modality", action="append", default=[], help="such as MR; repeatable")
    which.add_argument("--body-part", default="", metavar="REGEX", help="in Body Part Examined")
    which.add_argument("--description", default="", metavar="REGEX", help="in the Series Description")
    which.add_argument(
        "--source",
        action="append",
        default=[],
        metavar="NAME=REGEX",
        help="source of a fusion, or channel: in the description, or all of the modality; repeatable",
    )
    which.add_argument("--own-results", action="store_true", help="also images that this package has written")
    what = parser.add_argument_group("what is written")
    what.add_argument(
        "--objects",
        nargs="+",
        default=[],
        metavar="OBJECT",
        help="of a segmentation: segmentation, report; of a classification: report, picture (default: all)",
    )
    what.add_argument("--segments", metavar="FILE", help="JSON with codes of the classes (default: of the weights)")
    what.add_argument("--fractional", action="store_true", help="segmentations as probabilities")
    what.add_argument(
        "--deidentify",
        metavar="KEYFILE",
        help="write without the patient; the file holds the secret that new UIDs follow from, and is made if missing",
    )


def build_predictor(options: argparse.Namespace) -> Predictor:
    """The bundle that the options name, with its weights and keys.

    Raises:
        FileNotFoundError: no such bundle or weights.
        ValueError: keys that the bundle does not have, or that are options of their own.
    """
    from ...bundle.predictor import load

    values = _values("--set", options.set, "KEY=VALUE")
    if own := [f"{name} ({option})" for name, option in OPTIONS_OF_KEYS.items() if name in values]:
        raise ValueError(f"--set {', '.join(own)}: give the option in brackets instead.")
    return load(options.bundle, ckpt_path=options.weights, device=options.device, **values)


def build_engine(options: argparse.Namespace) -> StudyEngine:
    """The engine that the options describe.

    Raises:
        FileNotFoundError: no such bundle, weights, or file of codes.
        ImportError: pydicom or highdicom is not installed.
        ValueError: options that do not fit the bundle.
    """
    from ...dicom.engine import StudyEngine
    from ...dicom.results import ResultOptions
    from ...dicom.selection import Selection

    selection = Selection(
        modality=tuple(options.modality),
        body_part=options.body_part,
        description=options.description,
        sources=dict(_pairs("--source", options.source, "NAME=REGEX")),
        own_results=options.own_results,
    )
    results = ResultOptions(
        objects=tuple(options.objects),
        segments=_segments(options.segments),
        fractional=options.fractional,
        deidentify=None if options.deidentify is None else _deidentifier(Path(options.deidentify)),
    )
    return StudyEngine(build_predictor(options), results, selection)


def _pairs(option: str, words: list[str], form: str) -> list[tuple[str, str]]:
    split = [word.partition("=") for word in words]
    wrong = [word for word, (name, equals, value) in zip(words, split, strict=True) if not (name and equals and value)]
    if wrong:
        raise ValueError(f"{option}: {', '.join(map(repr, wrong))}, expected {form}.")
    return [(name, value) for name, _, value in split]


def _values(option: str, words: list[str], form: str) -> dict[str, Any]:
    import yaml

    return {name: yaml.safe_load(value) for name, value in _pairs(option, words, form)}


def _segments(file: str | None) -> dict[str, Any] | None:
    if file is None:
        return None
    try:
        return dict(json.loads(Path(file).read_text(encoding="utf8")))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{file} holds no JSON object with codes of classes ({error}).") from error


def _deidentifier(file: Path) -> Deidentifier:
    from ...dicom.deidentify import Deidentifier

    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        text = file.read_text(encoding="utf8").strip()
    else:
        text = secrets.token_hex(KEY_BYTES)
        with os.fdopen(handle, "w", encoding="ascii") as stream:
            stream.write(f"{text}\n")
    try:
        return Deidentifier(bytes.fromhex(text))
    except ValueError as error:
        raise ValueError(
            f"{file} holds no key of a de-identification (hexadecimal, 16 bytes or more): {error}; name a new file, "
            "and it is made."
        ) from error
