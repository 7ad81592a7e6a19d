"""What a run was made with: code, packages, machine, seeds, data, weights and config."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser

from ..bundle.callers import calling
from ..bundle.shown_config import shown_config
from ..bundle.weights import WEIGHTS
from ..data.data_digest import data_digest, files_of
from ..utils import writable_folder
from ..utils.checkout import checkout_state
from ..utils.files import file_sha256, keep_previous, replace_file
from ..utils.hardware import hardware
from ..utils.text_files import write_text
from ..utils.versions import OF_FIGURES, package_versions
from .events import process_rank
from .workflow_state import workflow_state

__all__ = ["Provenance"]

FILE = "provenance.json"
PACKAGES = (*OF_FIGURES, "numba", "triton", "mamba-ssm", "nibabel", "pydicom", "pillow", "mlflow")
OF_ONE_START = ("run_name", "kept_name", "run_dir", "output_dir", "resume", "resume_from")
Lists = Mapping[str, Sequence[Mapping[str, Any]]]


class Provenance:
    """Ignite handler that records what a run was made with; attach it before reports and tracker.

    When the engine starts, ``output_dir`` gets ``provenance.json``:

    * ``code``: version and, of a checkout, its commit and whether files were changed after it (None for an installed
      package); ``packages``, ``python``, ``platform``, ``hardware``, ``device``, ``scan_backend``;
    * ``seeds``; ``config``: :func:`medssm_monai.bundle.shown_config.shown_config`, with its ``config_sha256``;
    * ``data``: number of files, bytes and SHA-256 over names and contents (:mod:`medssm_monai.data.data_digest`), and
      the number of items of each part; ``weights_sha256`` of the weights that it started from, and when a training has
      ended ``written_weights_sha256`` of its best ones.

    No name of a user, computer, folder or file is in it, unless ``MEDSSM_FULL_NAMES=1`` keeps those of the config. A
    file of an earlier start of a training is kept under a dated name. Run distributed, rank 0 records.

    Args:
        output_dir: folder of the run.
        kind: ``"training"`` or ``"evaluation"``.
        lists: the data, part -> items; None records none.
        seeds: name -> seed.
        weights: file that the run starts from; None for none.
        fingerprint_data: False leaves out the digest of the data's files, which reads each of them once.
        parser: of the config; None takes the one that builds this component, if any.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        kind: str,
        lists: Lists | None = None,
        seeds: Mapping[str, int | None] | None = None,
        weights: str | os.PathLike[str] | None = None,
        fingerprint_data: bool = True,
        parser: ConfigParser | None = None,
    ) -> None:
        if kind not in ("training", "evaluation"):
            raise ValueError(f"kind must be 'training' or 'evaluation', got {kind!r}.")
        self.output_dir, self.kind, self.lists = Path(output_dir), kind, lists
        self.seeds, self.weights, self.fingerprint_data = dict(seeds or {}), weights, fingerprint_data
        self.parser = calling(ConfigParser) if parser is None else parser
        self._record: dict[str, Any] = {}

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer, or to the evaluator of an evaluation."""
        if process_rank() == 0:
            engine.add_event_handler(Events.STARTED, self._started)
            engine.add_event_handler(Events.COMPLETED, self._completed)

    def record(self, engine: Engine | None = None) -> dict[str, Any]:
        """Everything that ``provenance.json`` holds; made when it is first asked for."""
        if not self._record:
            self._record = self._made(engine)
        return self._record

    def tags(self) -> dict[str, str]:
        """The facts that a tracker finds runs by."""
        record = self.record()
        code, data = record["code"], record["data"] or {}
        found = {
            "git_commit": code["commit"],
            "git_changed": code["changed"],
            "data_sha256": data.get("sha256"),
            "weights_sha256": record["weights_sha256"],
            "written_weights_sha256": record.get("written_weights_sha256"),
            "config_sha256": record["config_sha256"],
            "scan_backend": record["scan_backend"],
            "processor": record["hardware"]["processor"],
            "gpus": ", ".join(record["hardware"]["gpus"]) or None,
            "python": record["python"],
            "platform": record["platform"],
        }
        return {name: str(value) for name, value in found.items() if value is not None}

    def facts(self) -> dict[str, str]:
        """The record in words, for a page."""
        record = self.record()
        machine = record["hardware"]
        memory = "" if machine["memory_gb"] is None else f", {machine['memory_gb']:g} GB memory"
        found = {
            "Code": _code(record["code"]),
            "Packages": ", ".join(f"{name} {number}" for name, number in record["packages"].items()),
            "Python": f"{record['python']}, {record['platform']}",
            "Processor": f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads{memory}",
            "GPU": ", ".join(machine["gpus"]) or "none",
            "Device": record["device"],
            "Scan backend": record["scan_backend"],
            "Seeds": ", ".join(f"{name} {seed}" for name, seed in record["seeds"].items()),
            "Data": _data(record["data"]),
            "Weights": record["weights_sha256"] and f"SHA-256 {record['weights_sha256']}",
            "Config": record["config_sha256"] and f"SHA-256 {record['config_sha256']}; all of it is in {FILE}",
            "Started": record["started"],
        }
        return {name: str(value) for name, value in found.items() if value}

    def _made(self, engine: Engine | None) -> dict[str, Any]:
        from ..ops import backend_for

        device = torch.device(workflow_state(engine).device) if engine is not None else torch.device("cpu")
        state = checkout_state(Path(__file__).resolve().parents[1])
        config = None if self.parser is None else shown_config(self.parser)
        packages = {name: number for name, number in package_versions(PACKAGES).items() if name != "python"}
        return {
            "kind": self.kind,
            "started": time.strftime("%Y-%m-%d %H:%M:%S %z"),
            "code": {
                "version": packages.get("medssm-monai"),
                "commit": state and state["commit"],
                "changed": state and state["changed"],
            },
            "packages": packages,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "hardware": hardware(),
            "device": str(device),
            "scan_backend": backend_for(torch.empty(0, device=device), requires_grad=self.kind == "training"),
            "seeds": self.seeds,
            "data": self._data_facts(),
            "weights_sha256": self._weights_digest(),
            "config_sha256": None if self.parser is None else _config_digest(shown_config(self.parser, values=False)),
            "config": config,
        }

    def _weights_digest(self) -> str | None:
        """None without weights, and in a federation, which sends them instead of a file."""
        there = self.weights is not None and Path(self.weights).is_file()
        return file_sha256(self.weights) if there and self.weights is not None else None

    def _data_facts(self) -> dict[str, Any] | None:
        if self.lists is None:
            return None
        items = {part: len(entries) for part, entries in self.lists.items()}
        if not self.fingerprint_data:
            return {"items": items, "of": "not digested (fingerprint_data is false)"}
        return {"items": items, **data_digest(files_of(self.lists))}

    def _started(self, engine: Engine) -> None:
        writable_folder(self.output_dir)
        if not self._record and self.kind == "training":
            keep_previous(self.output_dir / FILE)
        self.record(engine)
        self._write()

    def _completed(self, engine: Engine) -> None:
        written = self.output_dir / WEIGHTS
        if self.kind == "training" and written.is_file():
            self._record["written_weights_sha256"] = file_sha256(written)
            self._write()

    def _write(self) -> None:
        with replace_file(self.output_dir / FILE) as temporary:
            write_text(temporary, json.dumps(self._record, indent=2) + "\n")


def _config_digest(config: Mapping[str, Any]) -> str:
    """The same for every start with the same files and options, whatever the run is called."""
    kept = {key: value for key, value in config.items() if key not in OF_ONE_START}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def _code(code: Mapping[str, Any]) -> str:
    where = "installed package" if code["commit"] is None else f"commit {code['commit']}"
    return f"medssm-monai {code['version']}, {where}{', changed' if code['changed'] else ''}"


def _data(data: Mapping[str, Any] | None) -> str:
    if data is None:
        return ""
    items = ", ".join(f"{part} {count}" for part, count in data["items"].items())
    if data.get("sha256") is None:
        return f"{data['of']}; items: {items}"
    size = f"{data['files']} files, {data['bytes'] / 1e6:.1f} MB"
    return f"{size}, SHA-256 {data['sha256']} over {data['of']}; items: {items}"
