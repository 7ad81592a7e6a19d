"""What MLflow loads of a registered model: the bundle's predictor, asked by arrays or by names of files.

MLflow calls :func:`_load_pyfunc` of this module, which a registered model names as its ``loader_module``: nothing is
unpickled, and the weights are read as tensors.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ...bundle.predictions import ClassificationPrediction, FusionPrediction, SegmentationPrediction
from ...bundle.predictor import Predictor, load
from ...bundle.registered import WEIGHTS_FILE, WEIGHTS_SHA256
from ...utils.files import file_sha256

__all__ = ["CHECKSUMS", "PIXELS", "SERVED_FILES", "RegisteredModel"]

CHECKSUMS = "checksums.sha256"
"""SHA-256 of every other file of the bundle in a registered model."""
SERVED_FILES = "MEDSSM_SERVED_FILES"
"""Environment variable: the folder whose files a model server may read when a request names them."""
SERVING = "_MLFLOW_IS_IN_SERVING_ENVIRONMENT"  # which MLflow's model server sets
PIXELS = {"uint8": 255, "uint16": 65535}
"""Types that whole numbers of a request may be meant as (parameter ``pixels``), and their largest values."""
Prediction = SegmentationPrediction | ClassificationPrediction | FusionPrediction


def _load_pyfunc(data_path: str) -> RegisteredModel:
    """MLflow's entry: the model in a folder that was checked file by file, weights loaded.

    Raises:
        ValueError: a file is missing or was changed after it was registered.
    """
    return RegisteredModel(Path(data_path))


class RegisteredModel:
    """A bundle out of a registry, with MLflow's ``predict``.

    Args:
        root: the bundle's folder within the registered model, ``data/NAME``.

    Attributes:
        predictor: what :func:`medssm_monai.load` gives for this folder.

    Raises:
        ValueError: a file is missing or was changed after it was registered.
    """

    def __init__(self, root: Path) -> None:
        require_unchanged(root)
        self.predictor: Predictor = load(root, ckpt_path=root / WEIGHTS_FILE)
        _ = self.predictor.network  # loads the weights: what is wrong with them is said now

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Predictions of images, one mapping for each.

        Args:
            model_input: arrays ``(N, H, W)`` or ``(N, H, W, C)``, or names of files, by the names ``image`` or
                ``image_a`` and ``image_b``: a mapping, a DataFrame with these columns, and where there is one name the
                array or the list by itself.
            params: ``pixels``, the type of whole numbers in a request to a model server, ``"uint8"`` or ``"uint16"``;
                decimals lie in [0, 1].

        Returns:
            of a segmentation ``mask``, ``probability``, ``confidence``, and ``label_map`` where there are several
            classes; of a classification ``class_name``, ``confidence`` and ``probabilities`` by class; of a fusion
            ``image``. Each with ``trained_for`` and ``unlike_training``.

        Raises:
            ValueError: other names, unequal numbers of images, pixels that fit no type; and what
                :meth:`~medssm_monai.bundle.Predictor.predict` raises.
            PermissionError: a file that a server may not read.
        """
        keys = self.predictor.task.keys
        pixels = str((params or {}).get("pixels", "uint8"))
        if pixels not in PIXELS:
            raise ValueError(f"pixels must be one of {', '.join(PIXELS)}, got {pixels!r}.")
        columns = [[_image(one, pixels) for one in column] for column in _columns(model_input, keys)]
        counts = {key: len(column) for key, column in zip(keys, columns, strict=True)}
        if len(set(counts.values())) > 1:
            raise ValueError(f"as many images are needed of each source, got {counts}.")
        sources = columns[0] if len(keys) == 1 else zip(*columns, strict=True)
        return [record(self.predictor.predict(source)) for source in sources]


def record(prediction: Prediction) -> dict[str, Any]:
    """A prediction as a mapping of arrays, numbers and texts."""
    if isinstance(prediction, SegmentationPrediction):
        found: dict[str, Any] = {
            "mask": prediction.mask,
            "probability": prediction.probability,
            "confidence": prediction.confidence,
        }
        if prediction.labels.out_channels > 1:
            found["label_map"] = prediction.label_map
    elif isinstance(prediction, ClassificationPrediction):
        found = {
            "class_name": prediction.class_name,
            "confidence": prediction.confidence,
            "probabilities": prediction.by_class(),
        }
    else:
        found = {"image": prediction.image}
    return {**found, "trained_for": prediction.trained_for, "unlike_training": list(prediction.unlike_training)}


def require_unchanged(root: Path) -> None:
    """Compare every file of a registered bundle with the sums beside them, and these with MLflow's description.

    Raises:
        ValueError: all files that are missing, changed, or not named.
    """
    sums_file = root / CHECKSUMS
    if not sums_file.is_file():
        raise ValueError(f"a registered model without {CHECKSUMS} was not made by medssm registry register.")
    lines = [line.split("  ", 1) for line in sums_file.read_text(encoding="utf8").splitlines()]
    sums = {name: digest for digest, name in lines}
    there = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
    there = {name: path for name, path in there.items() if "__pycache__" not in name and name != CHECKSUMS}
    wrong = [name for name, digest in sums.items() if name not in there or file_sha256(there[name]) != digest]
    wrong += sorted(there.keys() - sums.keys())
    described = root.parents[1] / "MLmodel"
    said = (yaml.safe_load(described.read_text(encoding="utf8")).get("metadata") or {}) if described.is_file() else {}
    if sums.get(WEIGHTS_FILE) != said.get(WEIGHTS_SHA256):
        wrong.append(f"{WEIGHTS_FILE} (not the weights that MLmodel names)")
    if wrong:
        raise ValueError(
            f"this model was changed after it was registered: {', '.join(wrong)}. Do not use it; register the weights "
            "again."
        )


def _columns(model_input: Any, keys: Sequence[str]) -> list[list[Any]]:
    """The images of each key."""
    if hasattr(model_input, "columns"):  # a DataFrame
        names = list(model_input.columns)
        alone = names[0] if len(keys) == 1 and len(names) == 1 else None
        model_input = {keys[0] if name == alone else name: list(model_input[name]) for name in names}
    if not isinstance(model_input, Mapping):
        if len(keys) > 1:
            raise ValueError(f"give {' and '.join(keys)} by name: a mapping, or a DataFrame with these columns.")
        model_input = {keys[0]: model_input}
    missing = [key for key in keys if key not in model_input]
    if missing:
        raise ValueError(
            f"{' and '.join(missing)} not given; there is {', '.join(map(str, model_input)) or 'nothing'}."
        )
    return [[values] if isinstance(values, str) else list(values) for values in (model_input[key] for key in keys)]


def _image(value: Any, pixels: str) -> Any:
    """One image: a file, an array as it is, or the numbers of a request as the array that they stand for."""
    if isinstance(value, (str, os.PathLike)):
        return _file(os.fspath(value))
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value
    numbers = np.array(value.tolist() if isinstance(value, np.ndarray) else value)
    if numbers.dtype.kind == "f":
        return numbers
    if numbers.dtype.kind == "b":
        return numbers
    if numbers.dtype.kind not in "iu" or numbers.size == 0:
        raise ValueError("an image is an array of numbers whose rows are equally long, or the name of a file.")
    if numbers.min() < 0 or numbers.max() > PIXELS[pixels]:
        raise ValueError(
            f"whole numbers from {numbers.min()} to {numbers.max()} are no {pixels}; give the parameter pixels "
            f"({', '.join(PIXELS)}), or decimals from 0.0 to 1.0."
        )
    return numbers.astype(pixels)


def _file(name: str) -> str:
    """A file's name; for a model server only below the folder that was set free for it.

    Raises:
        PermissionError: another file.
    """
    if os.environ.get(SERVING, "").lower() != "true":
        return name
    free = os.environ.get(SERVED_FILES)
    if not free:
        raise PermissionError(f"this server reads no files; send pixels, or start it with {SERVED_FILES}=FOLDER.")
    folder = Path(free).resolve()
    whole = (folder / name).resolve()
    if not whole.is_relative_to(folder):
        raise PermissionError(f"this server reads files in its folder {SERVED_FILES} alone.")
    return os.fspath(whole)
