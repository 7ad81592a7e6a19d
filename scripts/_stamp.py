"""The stamp that these scripts leave in a virtual environment: what it was made from, and whether it is complete."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["ROOT", "STAMP_NAME", "SetupError", "Stamp", "fingerprint"]

ROOT = Path(__file__).resolve().parent.parent
STAMP_NAME = "medssm-monai.json"


class SetupError(RuntimeError):
    """Something in the surroundings stands in the way; the message says what, and how to mend it."""


@dataclass(frozen=True)
class Stamp:
    """What an environment was made from; ``state`` is ``"building"`` until everything is installed."""

    state: str
    fingerprint: str
    root: str
    venv: str
    python: str
    extras: tuple[str, ...] = ()

    @classmethod
    def read(cls, venv: Path) -> Stamp | None:
        """The stamp of ``venv``; None where there is none, and state ``"building"`` where it cannot be understood."""
        path = venv / STAMP_NAME
        if not path.is_file():
            return None
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
            return cls(**{**fields, "extras": tuple(fields["extras"])})
        except (ValueError, TypeError, KeyError):
            return cls("building", "", "", "", "")

    def write(self) -> None:
        """Put the stamp into its environment's folder, whole or not at all."""
        path = Path(self.venv) / STAMP_NAME
        draft = path.with_suffix(".tmp")
        draft.write_text(json.dumps(asdict(self), indent=2), encoding="utf-8")
        os.replace(draft, path)


def fingerprint(root: Path = ROOT) -> str:
    """SHA-256 over the two files that decide what is installed."""
    digest = hashlib.sha256()
    for name in ("pyproject.toml", "constraints.txt"):
        path = root / name
        if not path.is_file():
            raise SetupError(f"{path} is missing: run this script from a complete copy of the repository.")
        digest.update(path.read_bytes())
    return digest.hexdigest()
