"""A fixed evaluation set, by its content, and the evaluation of weights on it by the bundle's own configs."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from monai.bundle import ConfigParser

from ...bundle.find import bundle_config
from ...bundle.settings import settings_file
from ...data.data_digest import file_behind
from ...experiments import programs
from ...utils import file_sha256, unwrapped
from ...utils.object_digest import object_digest
from ...utils.tracking import local_uri
from ...utils.versions import package_versions
from ..cli.bundle_run import config_files
from .figures import Figures, read_figures

__all__ = ["EvaluationSet", "fingerprint", "require_same_task", "weights_fingerprint"]

logger = logging.getLogger(__name__)
KEYS = ("image", "image_a", "image_b", "label")
"""What counts of an item: the files' contents, and labels."""
PLACES = ("dataset_dir", "bundle_root", "output_dir", "work_dir", "ckpt_dir", "ckpt_path", "run_dir", "run_name")


@dataclass(frozen=True)
class EvaluationSet:
    """Images and labels, and how weights are evaluated on them.

    Attributes:
        root: the bundle, whose ``train.yaml`` and ``evaluate.yaml`` say how.
        dataset_dir: as the bundle's evaluation takes it; absolute, or the word for a demo set.
        part: which part of it.
        overlays: configs of the bundle, between the two.
        overrides: other values for their keys.
    """

    root: Path
    dataset_dir: str
    part: str = "test"
    overlays: tuple[str, ...] = ()
    overrides: Mapping[str, Any] | None = None

    def files(self) -> list[str]:
        """Config files.

        Raises:
            FileNotFoundError: no such overlay, or a bundle without an evaluation.
        """
        if bundle_config(self.root, "evaluate") is None:
            raise FileNotFoundError(f"{self.root.name} has no configs/evaluate.yaml to compare versions by.")
        return config_files(self.root, "train", "evaluate", overlays=self.overlays)

    def items(self, weights: Path, folder: Path) -> tuple[str, ...]:
        """SHA-256 of each item of the part, in the order of the data: of the files' contents and the labels, whatever
        the files are called.

        Args:
            weights: whose settings say what the data are read for.
            folder: for a demo set, which is generated.

        Raises:
            ValueError, FileNotFoundError: what the bundle's data list raises.
        """
        parser = ConfigParser()
        parser.read_config(self.files())
        parser.update(self._settings(weights, folder))
        with unwrapped():
            items = parser.get_parsed_content("validate#dataset#data")
        return tuple(_digest_of(items[number]) for number in range(len(items)))

    def settings_fingerprint(self) -> str:
        """SHA-256 of all that decides an evaluation but for weights and data: the merged configs, the overrides, and
        the version of this package."""
        merged = ConfigParser.load_config_files(self.files())
        given = {key: value for key, value in (self.overrides or {}).items() if key not in PLACES}
        versions = package_versions(["medssm-monai"])
        text = json.dumps([merged, given, self.part, versions["medssm-monai"]], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def evaluate(self, weights: Path, items: tuple[str, ...], folder: Path) -> Figures:
        """Evaluate weights in a process of their own; its MLflow run stays in ``folder``, whatever registry is used.

        Args:
            weights: with their settings beside them.
            items: :meth:`items` of these data.
            folder: of the report.

        Raises:
            RowError: the evaluation failed; the message is the last line of its log.
            ValueError: the images changed meanwhile.
        """
        folder.mkdir(parents=True, exist_ok=True)
        overlay = folder / "evaluating.yaml"
        overlay.write_text(yaml.safe_dump(self._settings(weights, folder), sort_keys=False), encoding="utf8")
        variables = {"MLFLOW_TRACKING_URI": local_uri(folder)}
        programs.run_program("evaluating", [*self.files(), os.fspath(overlay)], folder, variables=variables)
        if self.items(weights, folder) != items:
            raise ValueError("the images of the evaluation set changed while they were evaluated; compare again.")
        return read_figures(
            folder / "report", items, weights_fingerprint(weights), fingerprint(items), self.settings_fingerprint()
        )

    def _settings(self, weights: Path, folder: Path) -> dict[str, Any]:
        return {
            **(self.overrides or {}),
            "dataset_dir": self.dataset_dir,
            "part": self.part,
            "bundle_root": os.fspath(self.root),
            "output_dir": os.fspath(folder),
            "ckpt_path": os.fspath(weights),
            "run_dir": os.fspath(folder / "report"),
            "run_name": "promotion",
        }


def fingerprint(items: Sequence[str]) -> str:
    """SHA-256 of a data set: of those of its items, in their order."""
    return hashlib.sha256("\n".join(items).encode()).hexdigest()


def weights_fingerprint(weights: Path) -> str:
    """SHA-256 of weights and of their settings, such as the temperature, together."""
    return hashlib.sha256(f"{file_sha256(weights)} {file_sha256(settings_file(weights))}".encode()).hexdigest()


def require_same_task(weights: Path, other: Path) -> None:
    """Make sure that two weights answer the same question.

    Raises:
        ValueError: other classes, labels, dimensions or sources.
    """
    first, second = (json.loads(settings_file(path).read_text(encoding="utf8")) for path in (weights, other))
    keys = ("class_names", "labels", "spatial_dims", "sources")
    wrong = [f"{key} {first[key]}, champion {second[key]}" for key in keys if _both(key, first, second)]
    if wrong:
        raise ValueError(f"the two versions are for different tasks and cannot be compared: {'; '.join(wrong)}.")


def _both(key: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    return None not in (first.get(key), second.get(key)) and first[key] != second[key]


def _digest_of(item: Mapping[str, Any]) -> str:
    return hashlib.sha256("\n".join(f"{key} {_content(item[key])}" for key in KEYS if key in item).encode()).hexdigest()


def _content(value: Any) -> str:
    """What is read there, whatever it is called: SHA-256 of files, and the address within one (arrays, frames)."""
    files = getattr(value, "files", value)  # of a DICOM series, of segments
    if isinstance(files, (list, tuple)) and files and all(isinstance(one, (str, os.PathLike)) for one in files):
        return " ".join(map(_content, files))
    if isinstance(value, (str, os.PathLike)):
        file = file_behind(value)
        if file is not None:
            return f"{file_sha256(file)} {Path(value).relative_to(file).as_posix()}"
    return object_digest(value)
