"""Classification for the page: class, calibrated probabilities, where the image speaks for a class."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...bundle.predictions import ClassificationPrediction
from ...data.readers.files import file_stem
from ...visualize import ImageExplanation
from .files import Opened, kept, picture_of
from .models import Model
from .pictures import map_over, shown, shown_map

__all__ = ["Classified", "classify"]


@dataclass(frozen=True)
class Classified:
    """An image and its class; the large arrays lie in files.

    Attributes:
        model: who predicted it.
        opened: the file that was dropped.
        file: what was predicted: that file, or a slice of it.
        folder: of the files of this result.
        prediction: class and probabilities.
        picture: uint8 ``(H, W, 3)``; of a volume that was predicted as a whole one slice of it.
        explanation: of one class; None until it is asked for, and for volumes.
        unsure: of the whole image, see :meth:`medssm_monai.bundle.Predictor.uncertainty`; None until it is asked for.
    """

    model: Model
    opened: Opened
    file: Path
    folder: Path
    prediction: ClassificationPrediction
    picture: np.ndarray
    explanation: ImageExplanation | None = None
    unsure: dict[str, float] | None = None

    @property
    def explainable(self) -> bool:
        """Whether there is something to explain: 2D images."""
        return self.model.spatial_dims == 2

    def explained(self, class_name: str | None = None) -> Classified:
        """The same with the explanation of a class, by default the predicted one."""
        explanation = self.model.predictor.explain(self.file, class_name)
        explanation = replace(
            explanation,
            image=kept(explanation.image, self.folder / "explained.npy"),
            heatmap=kept(explanation.heatmap, self.folder / f"heatmap{explanation.label}.npy"),
        )
        return replace(self, explanation=explanation)

    def with_uncertainty(self) -> Classified:
        """The same with the uncertainty, by Monte Carlo dropout."""
        return replace(self, unsure=self.model.predictor.uncertainty(self.file))

    def drawn(self, opacity: float) -> np.ndarray | None:
        """Preview of the explanation; None without one."""
        if self.explanation is None:
            return None
        return map_over(shown(self.picture), shown_map(self.explanation.heatmap), opacity)

    def save(self) -> list[Path]:
        """Write the table of one row, and the picture of the explanation where there is one."""
        target = self.folder / "files"
        target.mkdir(exist_ok=True)
        stem = file_stem(self.file)
        named = replace(self.prediction, source=self.file.name)  # the table tells no folder
        files = [named.save(target / f"{stem}_prediction.csv")]
        if self.explanation is not None:
            files.append(self.explanation.save(target / f"{stem}_explained.png"))
        return files


def classify(model: Model, opened: Opened, number: int, folder: Path) -> Classified:
    """Classify a picture, one slice of a volume, or a volume as a whole, as the weights are.

    Args:
        model: a classification.
        opened: the file.
        number: of the slice, from 1; of no meaning for a picture, and of a volume that is taken as a whole only shown.
        folder: for the files of the result.

    Raises:
        what :meth:`medssm_monai.bundle.Predictor.predict` raises.
    """
    plane = opened.plane(number, folder)
    file = plane if model.spatial_dims == 2 else opened.path
    prediction = model.predictor.predict(file)
    picture = kept(picture_of(plane), folder / "picture.npy")
    found = Classified(model, opened, file, folder, prediction, picture)
    return found.explained() if found.explainable else found
