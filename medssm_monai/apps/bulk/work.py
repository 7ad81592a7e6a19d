"""What every worker needs to know, and may be sent to another machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...dicom.finished import answers_follow_from

if TYPE_CHECKING:
    from ...bundle.predictor import Predictor
    from ...dicom.engine import StudyEngine

__all__ = ["PLACE", "RESULTS", "SHARED", "Work", "describe_work", "shard_of"]

PLACE = "place of the input"

RESULTS = "results"
SHARED = "run.id"
"""File with the secret of the folder of the results, by which a worker on another machine knows that it sees it."""
DIGITS = 16
SHARD = 3  # digits of the key that name the folder above a result: 4096 folders


@dataclass(frozen=True)
class Work:
    """How studies are predicted.

    Attributes:
        root: folder of the bundle, the same on every machine.
        overrides: keys of its ``inference.yaml``.
        weights_sha256: of the weights that every worker must have.
        out: folder of the results, on a disk that all machines share.
        run_id: what its file :data:`SHARED` holds.
        threads: of each worker; None leaves them alone.
        dicom: options of results and selection of series, for DICOM studies.
        full_names: reasons of failures keep the names of files.
    """

    root: str
    overrides: Mapping[str, Any]
    weights_sha256: str
    out: str
    run_id: str = ""
    threads: int | None = None
    dicom: Mapping[str, Any] = field(default_factory=dict)
    full_names: bool = False

    def place(self, key: str) -> Path:
        """Folder above the result of a key."""
        return Path(self.out) / shard_of(key)


def shard_of(key: str) -> str:
    """Folder above the result of a key, from the folder of the results on; one for each key would be too many for some
    file systems."""
    return f"{RESULTS}/{key[:SHARD]}"


def describe_work(
    predictor: Predictor, engine: StudyEngine | None, weights_sha256: str, kind: str, place: str
) -> dict[str, str]:
    """What results depend on, as texts by name: what a folder of results is asked for.

    Args:
        predictor: of the bundle.
        engine: for DICOM studies.
        weights_sha256: of the weights.
        kind: of the source.
        place: digest of where the input lies: keys tell studies of one input apart, not those of two.
    """
    options: list[Any] = answers_follow_from(predictor)
    if engine is not None:
        given = engine.options
        secret = "" if given.deidentify is None else hashlib.sha256(given.deidentify.key).hexdigest()
        options += [sorted(given.of(predictor.kind)), given.segments, given.fractional, secret, repr(engine.selection)]
    digest = hashlib.sha256(json.dumps(options, sort_keys=True, default=str).encode()).hexdigest()[:DIGITS]
    return {
        "input": kind,
        PLACE: place,
        "bundle": predictor.name,
        "weights": weights_sha256[:DIGITS],
        "options": digest,
    }
