"""A bundle with its weights as the folder of an MLflow model: whole, described, and tried before it goes anywhere."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ...bundle.contents import LICENSE, weights_and_beside
from ...bundle.find import bundle_name
from ...bundle.packed_weights import require_usable
from ...bundle.predictor import Predictor, load
from ...bundle.registered import BUNDLE, CARD_SHA256, SETTINGS_SHA256, WEIGHTS_FILE, WEIGHTS_SHA256
from ...bundle.settings import DOMAIN, TRAINED_ON, saved_settings, settings_file
from ...bundle.version import METADATA, read_version
from ...utils.files import file_sha256
from ...utils.tracking import environment
from ...utils.versions import package_versions
from .pyfunc_model import CHECKSUMS, record

__all__ = ["describe", "write_model"]

LOADER = "medssm_monai.apps.registry.pyfunc_model"
PINNED = (
    *("medssm-monai", "mlflow", "monai", "torch", "numpy", "pytorch-ignite", "numba", "scipy", "scikit-image"),
    *("scikit-learn", "pandas", "nibabel", "itk", "pillow", "matplotlib"),
)
ABSOLUTE = re.compile(r"(/|~[^/\s]*/|[A-Za-z]:[\\/])[^\s/\\].*")
QUOTED = re.compile(r"""(?<!\+ )(?<!\+)["']((?:/|~[^/\s]*/|[A-Za-z]:[\\/])[^\s/\\][^"']*)["']""")  # nothing before it
CONFIGS = "configs"
EXPORT = "models/export.json"
PLACES = ("images", "weights")  # of an export report: where things were


def write_model(
    root: Path, weights: Path, metrics: Mapping[str, Any], export: Path | None, folder: Path
) -> dict[str, Any]:
    """Write an MLflow model into ``folder`` (which is not there yet), load it again, and compare a prediction.

    Args:
        root: the bundle.
        weights: with their settings beside them, and perhaps a model card.
        metrics: of an evaluation, kept in the description.
        export: a verified-export report (``*_export.json``) to keep as well.
        folder: of the model.

    Returns:
        What it is (:func:`describe`).

    Raises:
        FileNotFoundError: no settings beside the weights, or no such export report.
        ValueError: weights that the bundle cannot use, a config with an absolute path, an export report of a failed
            export or of other weights.
        RuntimeError: the model does not predict what the bundle's predictor does.
    """
    import mlflow

    require_usable(root, weights)
    name = bundle_name(root) or root.name
    predictor = load(root, ckpt_path=weights, device="cpu")
    facts = describe(root, weights, predictor, metrics)
    inside = folder.with_name(f"{folder.name}_bundle") / name
    _copy(root, weights, export, facts[WEIGHTS_SHA256], inside)
    example = example_of(predictor)
    with environment({"MLFLOW_UV_AUTO_DETECT": "false"}):  # which takes along the files of the project one stands in
        mlflow.pyfunc.save_model(
            path=os.fspath(folder),
            loader_module=LOADER,
            data_path=os.fspath(inside),
            signature=signature_of(predictor),
            input_example=example,
            pip_requirements=requirements(),
            metadata=facts,
        )
    shutil.rmtree(inside.parent)
    _try(folder, predictor, example)
    return facts


def describe(root: Path, weights: Path, predictor: Predictor, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What a registered model is: bundle, task, weights by their SHA-256, what they were trained for, and figures."""
    own = saved_settings(weights) or {}
    card = weights.with_suffix(".md")
    facts = {
        BUNDLE: bundle_name(root) or root.name,
        "bundle_version": read_version(root / METADATA),
        "task": predictor.kind,
        WEIGHTS_SHA256: file_sha256(weights),
        SETTINGS_SHA256: file_sha256(settings_file(weights)),
        **({CARD_SHA256: file_sha256(card)} if card.is_file() else {}),
        "inputs": list(predictor.task.keys),
        "classes": list(predictor.task.class_names),
        TRAINED_ON: own.get(TRAINED_ON),
        DOMAIN: own.get(DOMAIN),
        "metrics": dict(metrics),
        "versions": package_versions(PINNED),
    }
    plain: dict[str, Any] = json.loads(json.dumps(facts))
    return plain


def requirements() -> list[str]:
    """What pip installs for the model: this package and what figures depend on, in the versions of now."""
    versions = package_versions(PINNED)
    return [f"{name}=={versions[name].split('+')[0]}" for name in PINNED if name in versions]


def signature_of(predictor: Predictor) -> Any:
    """Images by name as arrays or names of files, of any size, and the parameter ``pixels``."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
    from mlflow.types.schema import AnyType, Map

    anything = np.dtype("O")  # arrays of any size and type, and texts; the predictor says what is wrong with one
    inputs = Schema([TensorSpec(anything, (-1,), name=key) for key in predictor.task.keys])
    of_kind: dict[str, dict[str, Any]] = {
        "segmentation": {"mask": AnyType(), "probability": AnyType(), "confidence": DataType.double},
        "classification": {
            "class_name": DataType.string,
            "confidence": DataType.double,
            "probabilities": Map(DataType.double),
        },
        "fusion": {"image": AnyType()},
    }
    fields = {**of_kind[predictor.kind], "trained_for": DataType.string, "unlike_training": AnyType()}
    optional = ("confidence",) if predictor.kind == "segmentation" else ()
    outputs = Schema([ColSpec(kind, name, required=name not in optional) for name, kind in fields.items()])
    return ModelSignature(inputs, outputs, ParamSchema([ParamSpec("pixels", DataType.string, "uint8")]))


def example_of(predictor: Predictor) -> dict[str, np.ndarray]:
    """A made-up image in the size of the training's, a ramp, for each source; uint8."""
    settings = predictor.settings
    dims = int(settings.get("spatial_dims", 2))
    size = settings.get("image_size") or settings.get("roi_size") or [32] * dims
    sides = [int(side) for side in (size if isinstance(size, (list, tuple)) else [size] * dims)]
    channels = settings.get("channels") or [settings.get("in_channels", 1)]
    examples = {}
    for number, key in enumerate(predictor.task.keys):
        shape = (*sides, *((3,) if int(channels[number]) == 3 else ()))
        ramp = np.linspace(0, 255, int(np.prod(shape))).astype(np.uint8).reshape(shape)
        examples[key] = (ramp if number == 0 else 255 - ramp)[None]
    return examples


def _copy(root: Path, weights: Path, export: Path | None, digest: str, inside: Path) -> None:
    """The files of the bundle that a prediction needs, and their sums."""
    configs = [
        path for path in sorted((root / CONFIGS).rglob("*")) if path.suffix in (".yaml", ".yml", ".json", ".conf")
    ]
    named = {path.relative_to(root).as_posix(): path for path in configs if not path.name.startswith(".")}
    if (root / LICENSE).is_file():
        named[LICENSE] = root / LICENSE
    _require_no_paths(named)
    for path in weights_and_beside(weights):
        named[Path(WEIGHTS_FILE).with_suffix(path.suffix).as_posix()] = path
    for name, source in named.items():
        (inside / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, inside / name)
    if export is not None:
        (inside / EXPORT).write_text(_export_facts(export, digest), encoding="utf8")
    sums = {name: file_sha256(inside / name) for name in [*named, *([EXPORT] if export else [])]}
    lines = "".join(f"{one}  {name}\n" for name, one in sorted(sums.items()))
    (inside / CHECKSUMS).write_text(lines, encoding="utf8")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for entry in value.values():
            yield from _texts(entry)
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from _texts(entry)
    elif isinstance(value, str):
        yield value


def _require_no_paths(files: Mapping[str, Path]) -> None:
    """A registry is read by others: no config names a place of this computer.

    Raises:
        ValueError: all that do.
    """
    found = [
        f"{name}: {text}"
        for name, path in files.items()
        if path.suffix in (".yaml", ".yml", ".json")
        for text in _texts(yaml.safe_load(path.read_text(encoding="utf8")))
        if ABSOLUTE.fullmatch(text) or (text.startswith("$") and QUOTED.search(text))
    ]
    if found:
        raise ValueError(
            f"configs of the bundle name places of this computer, which a registry would show to others: "
            f"{'; '.join(found)}. Take them out and pass them on the command line."
        )


def _export_facts(export: Path, digest: str) -> str:
    """What an export report says, without the names of files on this computer.

    Raises:
        FileNotFoundError: no such report.
        ValueError: of an export that failed, or of other weights.
    """
    if not export.is_file():
        raise FileNotFoundError(
            f"no export report {export.name}: name the *_export.json that medssm export has written."
        )
    report = json.loads(export.read_text(encoding="utf8"))
    if digest[:12] not in str(report.get("weights")):
        raise ValueError(f"{export.name} is the report of an export of other weights than {digest[:12]}….")
    if report.get("passed") is not True:
        raise ValueError(f"{export.name}: the export did not pass its checks. Export again, or leave the report out.")
    return json.dumps({key: value for key, value in report.items() if key not in PLACES} | {WEIGHTS_SHA256: digest})


def _try(folder: Path, predictor: Predictor, example: Mapping[str, np.ndarray]) -> None:
    """Load the model as others will, and compare.

    Raises:
        RuntimeError: another prediction.
    """
    import mlflow

    (given,) = mlflow.pyfunc.load_model(os.fspath(folder), suppress_warnings=True).predict(dict(example))
    images = tuple(array[0] for array in example.values())
    wanted = record(predictor.predict(images[0] if len(images) == 1 else images))
    same = given.keys() == wanted.keys() and all(np.array_equal(given[key], wanted[key]) for key in wanted)
    if not same:
        raise RuntimeError("the model as MLflow loads it does not predict what the bundle does; it is not registered.")
