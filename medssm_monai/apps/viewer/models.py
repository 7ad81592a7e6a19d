"""What the viewer offers: bundles with weights, by the kind of their task."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...bundle.find import find_bundle, list_bundles
from ...bundle.predictor import Predictor, load
from ...bundle.settings import saved_settings
from ...bundle.weights import named_weights, require_weights
from ...utils.shown_names import remember_place, shown_text
from .files import Opened

__all__ = ["Model", "find_models", "require_dimensions"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Model:
    """A bundle with one file of weights.

    Attributes:
        label: what the page calls it.
        predictor: who predicts.
        kind: ``"segmentation"``, ``"classification"`` or ``"fusion"``.
        spatial_dims: 2 for pictures and single slices, 3 for volumes.
    """

    label: str
    predictor: Predictor
    kind: str
    spatial_dims: int

    @property
    def temperature(self) -> float | None:
        """The temperature that is stored with the weights of a classification; None where there is none."""
        stored = (saved_settings(self.predictor.ckpt_path) or {}).get("temperature")
        return None if stored is None else float(stored)


def find_models(
    names: Sequence[str] = (), ckpt_path: str | os.PathLike[str] | None = None, device: str | None = None
) -> dict[str, list[Model]]:
    """Bundles and their weights, by kind; of a bundle those first that it would take by itself.

    Args:
        names: bundles, by name or folder; none takes all that are found and have weights.
        ckpt_path: weights of the one bundle that is named, instead of its own.
        device: default a GPU where there is one.

    Raises:
        FileNotFoundError: no such bundle; one that is named has no weights; none at all has any.
        ValueError: ``ckpt_path`` without exactly one name.
    """
    if ckpt_path is not None and len(names) != 1:
        raise ValueError(f"--ckpt_path names weights of one bundle; name that bundle too, got {len(names)} names.")
    roots = [find_bundle(name) for name in names] if names else list(list_bundles().values())
    found: dict[str, list[Model]] = {}
    for root in dict.fromkeys(roots):
        remember_place(root, root.name)
        if ckpt_path is not None:
            remember_place(Path(ckpt_path).absolute().parent, "weights")
        files = _weights(root, ckpt_path, bool(names))
        for file in files:
            model = _model(root, file, device, ckpt_path is not None or len(files) > 1)
            found.setdefault(model.kind, []).append(model)
    if not found:
        raise FileNotFoundError(
            "no bundle with weights was found. Train one first (python -m monai.bundle run training --config_file "
            "BUNDLE/configs/train.yaml), or name a bundle's folder."
        )
    return found


def _weights(root: Path, ckpt_path: str | os.PathLike[str] | None, wanted: bool) -> list[Path]:
    """The bundle's own choice, then the other files beside it that know their settings."""
    if ckpt_path is not None:
        return [Path(require_weights(named_weights(root, ckpt_path))).absolute()]
    first = Path(load(root).ckpt_path)
    others = [path for path in sorted((root / "models").glob("*.pt")) if path.with_suffix(".json").is_file()]
    there = [path for path in dict.fromkeys([first, *others]) if path.is_file()]
    if not there and wanted:
        require_weights(first, f"trained weights of {root.name}")
    if not there:
        logger.warning("%s is left out: it has no weights (models/trained/model.pt or models/model.pt)", root.name)
    return there


def _model(root: Path, file: Path, device: str | None, named: bool) -> Model:
    """``named``: whether the label says which file of the bundle it is."""
    predictor = load(root, ckpt_path=file, device=device)
    dims = int(predictor.settings.get("spatial_dims", 2))
    place = f", {shown_text(str(file)).removeprefix('models/')}" if named else ""
    return Model(f"{root.name}{place}, {dims}D", predictor, predictor.kind, dims)


def require_dimensions(model: Model, files: Sequence[Opened], models: Sequence[Model]) -> None:
    """Say which weights to choose where those chosen are for images of other dimensions.

    Raises:
        ValueError: a volume for weights of pictures, or a picture for weights of volumes.
    """
    for file in files:
        dims = 3 if file.slices else 2
        if dims != model.spatial_dims:
            what, wanted = ("a volume", "volumes") if dims == 3 else ("a picture", "pictures")
            others = "; ".join(f"'{other.label}'" for other in models if other.spatial_dims == dims)
            remedy = f"choose other weights from the list: {others}" if others else f"none here are for {wanted}"
            raise ValueError(f"{file.name} is {what}, and these weights are not for {wanted}; {remedy}.")
