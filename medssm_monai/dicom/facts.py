"""What every object that is written says about the model that made it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..bundle.version import METADATA, read_version
from ..bundle.weights import require_weights
from ..data.fingerprint import NOT_RECORDED
from ..utils.files import file_sha256
from ..utils.versions import OURS, package_versions

if TYPE_CHECKING:
    from ..bundle.predictor import Predictor

__all__ = ["MANUFACTURER", "NOT_FOR_DIAGNOSIS", "ModelFacts", "model_facts"]

MANUFACTURER = OURS
NOT_FOR_DIAGNOSIS = "not for diagnostic use"
LONGEST = 64  # characters of VR LO
DIGITS = 16  # of the weights' SHA-256 in a serial number


@dataclass(frozen=True)
class ModelFacts:
    """A model, as reports and objects name it.

    Attributes:
        name: of the bundle.
        bundle_version: that its metadata name.
        version: of this package.
        weights_sha256: of the file of the weights, in hexadecimal.
        trained_for: what the weights were trained for, in words, or ``"not recorded"``.
        research_only: whether it is no medical device.
    """

    name: str
    bundle_version: str
    version: str
    weights_sha256: str
    trained_for: str = NOT_RECORDED
    research_only: bool = True

    @property
    def software(self) -> list[str]:
        """Versions of package and bundle, one text each."""
        return [f"{OURS} {self.version}"[:LONGEST], f"{self.name} {self.bundle_version}"[:LONGEST]]

    @property
    def serial(self) -> str:
        """Stands for the weights where a device has its serial number: the start of their SHA-256."""
        return self.weights_sha256[:DIGITS]

    @property
    def use(self) -> str:
        """What results may be used for."""
        return f"research; {NOT_FOR_DIAGNOSIS}" if self.research_only else NOT_FOR_DIAGNOSIS

    def series(self, what: str) -> str:
        """Description of a series, 64 characters at most, that ends with what it is not for.

        Args:
            what: what the series holds; cut where it is too long.
        """
        ending = f" ({NOT_FOR_DIAGNOSIS})"
        return f"{f'{self.name} {what}'[: LONGEST - len(ending)].rstrip()}{ending}"

    @property
    def described(self) -> dict[str, str]:
        """All of it, as texts by name."""
        return {
            "model": self.name,
            "bundle version": self.bundle_version,
            "package": f"{OURS} {self.version}",
            "weights SHA-256": self.weights_sha256,
            "trained for": self.trained_for,
            "use": self.use,
        }


def model_facts(predictor: Predictor) -> ModelFacts:
    """Facts of the bundle and the weights that a predictor uses.

    Raises:
        FileNotFoundError: no weights.
        ValueError: metadata without a version.
    """
    path = require_weights(predictor.ckpt_path, f"trained weights of {predictor.name}")
    metadata = predictor.root / METADATA
    bundle_version = read_version(metadata)
    intended = str(json.loads(metadata.read_text(encoding="utf8")).get("intended_use", ""))
    domain = predictor.domain
    return ModelFacts(
        name=predictor.name,
        bundle_version=bundle_version,
        version=package_versions((OURS,))[OURS],
        weights_sha256=file_sha256(path),
        trained_for=NOT_RECORDED if domain is None else str(domain["text"]),
        research_only=not intended or "research" in intended.lower() or "not a medical device" in intended.lower(),
    )
