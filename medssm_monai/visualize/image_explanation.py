"""Where one image speaks for a class, shown on the image as its file has it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Invertd, InvertibleTransform

from ..data.readers.files import file_stem
from ..transforms import CopyMetad
from ..utils import replace_file, writable_folder
from ..utils.text_files import printable
from .grad_cam import grad_cam
from .heatmap import overlay_heatmap
from .overlay import save_png, to_rgb

__all__ = ["ImageExplainer", "ImageExplanation"]

SMALLEST = 320  # pixels; smaller images are enlarged by a whole factor in the picture
NARROWEST = 460
LINE, GAP, BAR = 18, 4, 160
BACKGROUND, TEXT = (24, 24, 24), (255, 255, 255)


@dataclass(frozen=True)
class ImageExplanation:
    """Attributes:
    source: file of the image, ``"array"`` for pixels in memory.
    image: uint8 ``(H, W, 3)``, the image at the size of its file.
    heatmap: float32 ``(H, W)``, not negative: Grad-CAM in units of the class's logit, at the same size.
    layer: the layer that was asked.
    label, class_name, confidence: number, name and probability of the class that is explained.
    predicted: name of the predicted class.
    """

    source: str
    image: np.ndarray = field(repr=False)
    heatmap: np.ndarray = field(repr=False)
    layer: str
    label: int
    class_name: str
    confidence: float
    predicted: str

    @property
    def peak(self) -> float:
        """Largest value of the heat map; 0 when nothing in the image speaks for the class in this layer."""
        return float(self.heatmap.max())

    @property
    def overlay(self) -> np.ndarray:
        """uint8 ``(H, W, 3)``: the heat map on the image, dark violet is nothing, yellow the peak."""
        return overlay_heatmap(self.image.transpose(2, 0, 1) / 255.0, self.heatmap, min_size=1)

    def picture(self) -> np.ndarray:
        """uint8 ``(height, width, 3)``: image and overlay side by side, with class, file and color legend."""
        from matplotlib import colormaps
        from PIL import Image, ImageDraw, ImageFont

        factor = max(1, -(-SMALLEST // max(self.image.shape[:2])))
        shown = [part.repeat(factor, axis=0).repeat(factor, axis=1) for part in (self.image, self.overlay)]
        height, width = shown[0].shape[:2]
        canvas = Image.new("RGB", (max(2 * width + GAP, NARROWEST), 2 * LINE + height + LINE + 4), BACKGROUND)
        draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(13)
        for line, text in enumerate(self._lines()):
            while len(text) > 4 and draw.textlength(text, font) > canvas.width - 8:
                text = text[:-4] + "..."
            draw.text((4, line * LINE + 1), text, TEXT, font)
        for number, part in enumerate(shown):
            canvas.paste(Image.fromarray(part), (number * (width + GAP), 2 * LINE))
        foot = 2 * LINE + height + 2
        if self.peak > 0:
            colors = (colormaps["viridis"](np.linspace(0, 1, BAR))[:, :3] * 255 + 0.5).astype(np.uint8)
            draw.text((4, foot), "nothing", TEXT, font)
            canvas.paste(Image.fromarray(np.repeat(colors[None], LINE - 6, axis=0)), (60, foot + 3))
            draw.text((60 + BAR + 6, foot), f"most (peak {self.peak:.3g}, own to each image)", TEXT, font)
        else:
            draw.text((4, foot), "nothing in the image speaks for this class", TEXT, font)
        return np.asarray(canvas)

    def _lines(self) -> list[str]:
        other = "" if self.class_name == self.predicted else f"; predicted: {self.predicted}"
        return [
            printable(f"{self.class_name} {self.confidence:.3f}{other} | {Path(self.source).name}"),
            printable(f"where {self.layer} speaks for {self.class_name} (Grad-CAM)"),
        ]

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture.

        Args:
            path: a picture file, or a folder, where it is called ``<name of the image>_explained.png``.

        Raises:
            ValueError: the image itself.
        """
        target = Path(path)
        if target.is_dir() or not target.suffix:
            target = target / f"{file_stem(Path(self.source))}_explained.png"
        if target.exists() and os.path.exists(self.source) and os.path.samefile(target, self.source):
            raise ValueError(f"{target} is the image itself; give the picture another name.")
        writable_folder(target.parent)
        with replace_file(target) as temporary:
            save_png(self.picture(), temporary)
        return target


class ImageExplainer:
    """Explains the prediction of a 2D classification by Grad-CAM of one layer, in two steps: ``activation`` runs the
    network, ``explanation`` brings the map to the size of the file.

    Args:
        layer: name of a layer whose output is a map, see ``grad_cam``.
        load: transform that gives ``{"image": ...}`` from ``{"image": file or array}``, as the preprocessing starts.
        preprocessing: what made the network's input; its spatial steps are inverted for the heat map.
        class_names: in the order of the network's outputs.
        channel_dim: where the layer's map has its channels, see ``grad_cam``.
    """

    def __init__(
        self,
        layer: str,
        load: Callable[[Mapping[str, Any]], Mapping[str, Any]],
        preprocessing: InvertibleTransform,
        class_names: Sequence[str],
        channel_dim: int = 1,
    ) -> None:
        self.layer, self.load, self.channel_dim = layer, load, channel_dim
        self.class_names = [str(name) for name in class_names]
        self._metadata = CopyMetad("heat", ref_key="image")
        self._invert = Invertd("heat", transform=preprocessing, orig_keys="image", nearest_interp=False)

    def number_of(self, class_name: str | int | None, probabilities: Any) -> int:
        """Number of a class, by default the most probable one.

        Raises:
            ValueError: no such class.
        """
        if class_name is None:
            return int(np.asarray(probabilities).reshape(-1).argmax())
        if isinstance(class_name, str) and class_name in self.class_names:
            return self.class_names.index(class_name)
        if isinstance(class_name, int) and 0 <= class_name < len(self.class_names):
            return class_name
        raise ValueError(f"no class {class_name!r}; the classes are {', '.join(self.class_names)}.")

    def activation(self, network: torch.nn.Module, image: torch.Tensor, label: int) -> torch.Tensor:
        """Grad-CAM map ``(1, h, w)`` of the network's input ``(C, h, w)``, on its device.

        Raises:
            ValueError: a volume; a layer that the network lacks or that gives no map.
        """
        if image.ndim != 3:
            raise ValueError(f"explanations show 2D images (C, H, W), got shape {tuple(image.shape)}.")
        plain = image.as_tensor() if isinstance(image, MetaTensor) else image
        return grad_cam(network, plain[None], self.layer, label, self.channel_dim)[0]

    def explanation(
        self, source: Any, item: Mapping[str, Any], activation: torch.Tensor, probabilities: Any, label: int
    ) -> ImageExplanation:
        """The map on the image.

        Args:
            source: the file, or the pixels, that ``load`` takes.
            item: the preprocessed item, whose ``image`` knows what was done to it.
            activation: of ``activation``.
            probabilities: ``(K,)``.
            label: the class that is explained.
        """
        values = np.asarray(probabilities, dtype=np.float64).reshape(-1)
        image = item["image"]
        heat = self._invert(self._metadata({"image": image.cpu(), "heat": activation.cpu()}))["heat"]
        picture = to_rgb(torch.as_tensor(self.load({"image": source})["image"]))
        heatmap = torch.as_tensor(heat).clamp(min=0)[0].float().numpy()
        if heatmap.shape != picture.shape[:2]:
            raise ValueError(
                f"the map comes back as {heatmap.shape}, the image has {picture.shape[:2]} rows and columns; the "
                "preprocessing has a spatial step that MONAI's Invertd cannot undo."
            )
        return ImageExplanation(
            source=str(image.meta.get("filename_or_obj", "")),
            image=picture,
            heatmap=heatmap,
            layer=self.layer,
            label=label,
            class_name=self.class_names[label],
            confidence=float(values[label]),
            predicted=self.class_names[int(values.argmax())],
        )
