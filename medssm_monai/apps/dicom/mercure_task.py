"""One task of the router mercure: images and ``task.json`` in a folder, results into another, all of them or none."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...utils.files import replace_file, writable_folder

if TYPE_CHECKING:
    from ...dicom.engine import StudyEngine

__all__ = ["RESULT", "TASK", "Engines", "TaskError", "read_settings", "run_task", "with_settings"]

TASK, RESULT = "task.json", "result.json"
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
ENGINES = 2  # kept loaded


class TaskError(RuntimeError):
    """A task that cannot be done: its settings are wrong, or images of it cannot be used."""


def _name(value: Any) -> str:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise ValueError("a name is expected, not a path (paths belong on the command line)")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a text is expected")
    return value


def _texts(value: Any) -> list[str]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
        raise ValueError("a text, or a list of texts, is expected")
    return values


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false is expected")
    return value


def _pairs(value: Any) -> list[str]:
    if not isinstance(value, dict):
        raise ValueError("an object is expected")
    return [f"{name}={one if isinstance(one, str) else json.dumps(one)}" for name, one in value.items()]


SETTINGS: dict[str, Callable[[Any], Any]] = {
    "bundle": _name,
    "weights": _name,
    "device": _name,
    "set": _pairs,
    "modality": _texts,
    "body_part": _text,
    "description": _text,
    "source": _pairs,
    "objects": _texts,
    "fractional": _flag,
}
"""Settings of a task, each in place of the option of its name."""


def read_settings(folder: Path) -> dict[str, Any]:
    """Settings of a task: ``process.settings`` of its ``task.json``; none where there is no file.

    Of several processes it is the one whose settings name a bundle.

    Raises:
        TaskError: no JSON, or not of this form.
    """
    path = folder / TASK
    if not path.exists():
        return {}
    try:
        process = json.loads(path.read_text(encoding="utf-8")).get("process") or {}
        steps = process if isinstance(process, list) else [process]
        found = [step.get("settings") or {} for step in steps]
        if len(found) > 1:
            found = [settings for settings in found if "bundle" in settings]
        if len(found) != 1 or not isinstance(found[0], dict):
            raise TaskError(
                f"{TASK}: {len(found)} of its {len(steps)} processes name a bundle in their settings, not 1."
            )
        return found[0]
    except (OSError, ValueError, AttributeError, TypeError):
        raise TaskError(f"{TASK} cannot be read: an object with process.settings is expected.") from None


def with_settings(options: argparse.Namespace, settings: dict[str, Any]) -> argparse.Namespace:
    """Options of the command line with those of a task in their places.

    Raises:
        TaskError: naming every setting that is unknown or wrong.
    """
    changed, wrong = dict(vars(options)), []
    for name, value in settings.items():
        if name not in SETTINGS:
            wrong.append(f"unknown setting {name!r} (known: {', '.join(SETTINGS)})")
            continue
        try:
            changed[name] = SETTINGS[name](value)
        except ValueError as error:
            wrong.append(f"{name}: {error}")
    if wrong:
        raise TaskError("; ".join(wrong) + ".")
    return argparse.Namespace(**changed)


class Engines:
    """Engines by the settings of tasks; the last few stay loaded.

    Args:
        options: of the command line.
        build: makes an engine from options.
    """

    def __init__(self, options: argparse.Namespace, build: Callable[[argparse.Namespace], StudyEngine]) -> None:
        self.options, self.build = options, build
        self._loaded: dict[str, StudyEngine] = {}

    def engine(self, settings: dict[str, Any]) -> StudyEngine:
        """The engine that settings ask for.

        Raises:
            TaskError: wrong settings.
        """
        key = json.dumps(settings, sort_keys=True)
        if key not in self._loaded:
            made = self.build(with_settings(self.options, settings))
            while len(self._loaded) >= ENGINES:
                del self._loaded[next(iter(self._loaded))]
            self._loaded[key] = made
        return self._loaded[key]


def run_task(
    engine: StudyEngine,
    inputs: Path,
    output: Path,
    go_on: Callable[[], None] = lambda: None,
    work: Path | None = None,
) -> dict[str, Any]:
    """Predict the images of a folder, and write the objects and ``result.json`` into another.

    Objects are named as mercure names images, ``<series UID>#<instance UID>.dcm``. Nothing is written unless all is
    done.

    Args:
        engine: of the bundle.
        inputs: folder of the images.
        output: folder of the results.
        go_on: called between predictions; may raise.
        work: folder for results until all are there; None takes a temporary one.

    Returns:
        what ``result.json`` says: the model, and each prediction by the identifiers of its image.

    Raises:
        TaskError: a prediction has failed, or an image could not be read.
        OSError: the results cannot be written.
    """
    plan = engine.plan(inputs)
    failures = [f"files not used: {reason}" for reason in sorted({reason for _, reason in plan.lost})]
    with tempfile.TemporaryDirectory(prefix="medssm_task_", dir=work) as place:
        predictions: list[dict[str, Any]] = []
        objects: dict[str, Path] = {}
        for result in engine.run(plan, place):
            go_on()
            if result.state == "failed":
                failures.append(f"series {result.series_uid}: {result.reason}")
                continue
            named = {_mercure_name(path): path for path in result.objects}
            objects |= named
            predictions.append(
                {
                    "study_uid": result.study_uid,
                    "series_uid": result.series_uid,
                    "instance_uid": result.instance_uid,
                    "frame": result.frame,
                    "answer": result.answer,
                    "unlike_training": list(result.unlike_training),
                    "objects": list(named),
                }
            )
        if failures:
            raise TaskError("; ".join(failures))
        passed = sorted({one.reason for one in plan.passed})
        said = {"model": engine.about.described, "predictions": predictions, "not_predicted": passed}
        _write(objects, said, output)
    return said


def _mercure_name(path: Path) -> str:
    from pydicom import dcmread

    header = dcmread(path, stop_before_pixels=True, specific_tags=["SeriesInstanceUID", "SOPInstanceUID"])
    return f"{header.SeriesInstanceUID}#{header.SOPInstanceUID}.dcm"


def _write(objects: Mapping[str, Path], said: dict[str, Any], output: Path) -> None:
    """All files, or none of them."""
    writable_folder(output, remedy="MERCURE_OUT_DIR must be writable.")
    parts: list[tuple[Path, Path]] = []
    try:
        for name, path in objects.items():
            part = output / f".{name}.part"
            parts.append((part, output / name))
            shutil.copyfile(path, part)
        for part, final in parts:
            os.replace(part, final)
        with replace_file(output / RESULT) as file:
            file.write_text(json.dumps(said, indent=2, ensure_ascii=False), encoding="utf-8")
    except BaseException:
        for paths in parts:
            for path in paths:
                path.unlink(missing_ok=True)
        raise
