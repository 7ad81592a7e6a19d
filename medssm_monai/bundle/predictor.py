"""Prediction from Python: a bundle's own inference config, built once, asked for one image after the other."""

from __future__ import annotations

import copy
import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import torch
from monai.inferers import Inferer
from monai.transforms import Compose
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from ..data.fingerprint import NOT_RECORDED, flag_reasons
from ..data.readers.arrays import is_array
from ..data.readers.series_files import SeriesFiles
from ..transforms.unlike_training import UNLIKE_TRAINING, FlagUnlikeTrainingd
from ..utils import prepare_process, unwrapped
from .checkpoint import load_weights
from .config import read_inference_config
from .find import find_bundle
from .image_fit import require_fitting_images
from .predictions import ClassificationPrediction
from .tasks import ClassificationTask, FusionTask, SegmentationTask
from .weights import describe_weights, named_weights, require_weights

if TYPE_CHECKING:
    from ..visualize import ImageExplanation

__all__ = ["Predictor", "load"]

logger = logging.getLogger(__name__)
Image = str | os.PathLike | SeriesFiles | np.ndarray | torch.Tensor
Task = SegmentationTask | ClassificationTask | FusionTask
Result = TypeVar("Result")
MEASURED = "measured"  # of an item: what its images were compared by


def load(
    bundle: str | os.PathLike[str],
    *,
    ckpt_path: str | os.PathLike[str] | None = None,
    tracking_uri: str | None = None,
    device: str | torch.device | None = None,
    **overrides: Any,
) -> Predictor:
    """A bundle's predictor: preprocessing, network, inferer and post-processing of its ``inference.yaml``.

    Nothing is built and no weights are read before the first prediction.

    Args:
        bundle: ``"mamba_mis"``, ``"medconvmamba"``, ``"medspectralnet"``, ``"clinical_fmamba"``, or a bundle's folder;
            :func:`~medssm_monai.bundle.find_bundle` says where names are looked for.
        ckpt_path: weights, a file, the name of one in the bundle's ``models/``, such as ``"volume"``, or
            ``"models:/NAME@champion"`` in an MLflow registry, which is asked now; default those the bundle itself would
            take, of your last training or shipped with it.
        tracking_uri: of that registry; default ``MLFLOW_TRACKING_URI``, else the bundle's own ``eval/mlruns.db``.
        device: default ``"cuda:0"`` where there is one, else ``"cpu"``.
        overrides: other values for keys of ``inference.yaml``, such as ``threshold=0.3`` or
            ``precision="bfloat16"``; texts are taken as they are.

    Raises:
        FileNotFoundError: no such bundle, or no such model in the registry.
        ConnectionError: a registry that does not answer.
        ValueError: a registered model of another bundle, or changed since; a key that the bundle's ``inference.yaml``
            lacks, a device that is not there, or a bundle without ``prediction``; by the first prediction, a
            ``precision`` that is unknown or not for the device.

    Example::

        predictor = medssm_monai.load("mamba_mis")
        prediction = predictor.predict("lesion.jpg")
        prediction.mask.sum(), prediction.save("mask.png")
    """
    settings, root = dict(overrides), find_bundle(bundle)
    if ckpt_path is not None:
        settings["ckpt_path"] = named_weights(root, ckpt_path, tracking_uri)  # may be there by the first prediction
    if device is not None:
        settings["device"] = device
    return Predictor(root, settings)


@dataclass(frozen=True)
class _Pipeline:
    """The parts of an inference config that a prediction passes, weights loaded."""

    weights: str
    device: torch.device
    preprocessing: Compose
    network: nn.Module
    inferer: Inferer
    postprocessing: Compose


class Predictor:
    """What :func:`load` returns. May be used by several threads at once.

    Args:
        root: the bundle's folder.
        overrides: other values for keys of its ``inference.yaml``.

    Attributes:
        root: the bundle's folder.
        overrides: as given.
    """

    def __init__(self, root: Path, overrides: Mapping[str, Any] | None = None) -> None:
        self.root, self.overrides = Path(root), dict(overrides or {})
        self._parser = read_inference_config(self.root, dict(self.overrides))
        self._building = threading.RLock()
        self._transforming = threading.Lock()  # MONAI's Invertd changes flags of the transforms while it works
        self._sampling = threading.Lock()
        self._built: _Pipeline | None = None
        self._noisy: nn.Module | None = None
        self._explaining = threading.Lock()
        self._watched: nn.Module | None = None
        self._warned: set[str] = set()

    @property
    def name(self) -> str:
        """Name of the bundle."""
        return self.root.name

    @property
    def task(self) -> Task:
        """What the bundle takes and predicts; builds no network."""
        return self._content("prediction")

    @property
    def kind(self) -> str:
        """``"segmentation"``, ``"classification"`` or ``"fusion"``."""
        return self.task.kind

    @property
    def ckpt_path(self) -> str:
        """File of the weights that are used, whether it is there or not."""
        return str(self._content("weights_file" if "weights_file" in self._parser.get() else "ckpt_path"))

    @property
    def weights(self) -> str:
        """One line about the weights: which file, whose, trained on what (:func:`~.weights.describe_weights`).
        Once the network is built, those that it holds."""
        built = self._built
        return describe_weights(self.ckpt_path, self.ckpt_path) if built is None else built.weights

    @property
    def settings(self) -> dict[str, Any]:
        """Settings that the weights were trained with."""
        return dict(self._content("model_settings"))

    @property
    def network(self) -> nn.Module:
        """The network with its weights, in evaluation mode."""
        return self._pipeline().network

    @property
    def domain(self) -> dict[str, Any] | None:
        """What the weights were trained for: ``text``, and ``fingerprints`` of their training images
        (:func:`~medssm_monai.bundle.read_domain`); None where that is not recorded."""
        return self._content("domain") if "domain" in self._parser.get() else None

    @property
    def channel_files(self) -> tuple[str, ...]:
        """Names of the channels that a volume may have in files of their own (a tuple of files for :meth:`predict`);
        none where an image is one file, as every picture is."""
        settings = self.settings
        count = int(settings.get("in_channels", 1))
        if self.kind != SegmentationTask.kind or settings.get("spatial_dims") != 3 or count == 1:
            return ()
        return tuple(map(str, settings.get("channel_names") or range(count)))

    def predict(self, source: Image | Sequence[Any] | Mapping[str, Any]) -> Any:
        """Predict one image, or a list of them.

        Args:
            source: a file (whatever the bundle's loader reads), a NumPy array ``(H, W)`` or ``(H, W, C)``, a tensor
                ``(C, H, W)`` (see :func:`~medssm_monai.data.readers.arrays.array_pixels`; volumes have one axis more),
                the source of a sorted DICOM series (:attr:`medssm_monai.dicom.Series.source`), or a list of such. A
                segmentation of volumes of several channels takes one file for each too, as a tuple (a list is several
                images) or ``{"image": [...]}``. A fusion takes pairs: a tuple ``(a, b)``, a dict with ``image_a`` and
                ``image_b``, or a list of such.

        Returns:
            :class:`SegmentationPrediction`, :class:`ClassificationPrediction` or :class:`FusionPrediction`; for a list
            a list of them.

        Raises:
            FileNotFoundError: no weights, or no such image.
            ImageReadError: an image that cannot be read, or of another number of dimensions or channels.
            ValueError: weights that do not load or belong to another network; a source of the wrong form; NaN.
        """
        if isinstance(source, list):
            return [self.predict(one) for one in source]
        pipeline = self._pipeline()
        item = self._prepare(pipeline, source)
        measured = item.pop(MEASURED, {})
        result = self.task.result(self._finish(pipeline, item, pipeline.network))
        unlike = flag_reasons(item.get(UNLIKE_TRAINING))
        self._warn(unlike)
        result = replace(result, weights=pipeline.weights, trained_for=self._trained_for)
        return replace(result, unlike_training=unlike, measured=measured)

    def uncertainty(self, source: Any, samples: int = 8, dropout: float = 0.1, seed: int = 0) -> dict[str, float]:
        """How unsure the network is about one image, by Monte Carlo dropout (Gal & Ghahramani, ICML 2016).

        The image is predicted ``samples`` times with every dropout layer active, on a copy of the network.

        Args:
            source: one image or pair, see :meth:`predict`.
            samples: 2 or more.
            dropout: probability in every dropout layer, above 0 and below 1.
            seed: the same seed gives the same result on one machine.

        Returns:
            ``epistemic``: mutual information between prediction and weights (Houlsby et al., 2011), what more labels
            could reduce, and ``entropy`` of the mean prediction; both from 0 to 1 (of equal probabilities), in a
            segmentation the mean over the pixels. Of a fusion ``epistemic`` alone, the standard deviation of the fused
            image, mean over the pixels.

        Raises:
            ValueError: bad arguments, or a network without dropout layers; and what :meth:`predict` raises.
        """
        return self._sampled(source, samples, dropout, seed, self.task.uncertainty)

    def uncertainty_map(self, source: Any, samples: int = 8, dropout: float = 0.1, seed: int = 0) -> np.ndarray:
        """Where the network is unsure: ``epistemic`` of :meth:`uncertainty`, of each pixel.

        Args:
            source, samples, dropout, seed: see :meth:`uncertainty`.

        Returns:
            float32 in the size of the file: ``(H, W)`` of a segmentation, from 0 to 1; ``(H, W)`` or ``(X, Y, Z)`` of a
            fusion, the standard deviation, mean over the colors. Its mean is what :meth:`uncertainty` gives.

        Raises:
            ValueError: a classification, which predicts no pixels; and what :meth:`uncertainty` raises.
        """
        task = self.task
        if isinstance(task, ClassificationTask):
            raise ValueError(f"{self.name} does {task.kind}, which predicts no pixels; ask for uncertainty().")
        return self._sampled(source, samples, dropout, seed, task.uncertainty_map)

    def _sampled(
        self, source: Any, samples: int, dropout: float, seed: int, read: Callable[[Iterable[np.ndarray]], Result]
    ) -> Result:
        """What ``read`` makes of the predictions with dropout."""
        if samples < 2 or not 0 < dropout < 1:
            raise ValueError(f"samples must be 2 or more and dropout in (0, 1), got {samples} and {dropout}.")
        pipeline = self._pipeline()
        item = self._prepare(pipeline, source)
        with self._sampling, torch.random.fork_rng(_cuda(pipeline.device)):
            network = self._with_dropout(pipeline.network, dropout)
            torch.manual_seed(seed)
            drawn = (self._finish(pipeline, item, network)[self.task.output] for _ in range(samples))
            return read(torch.as_tensor(values).double().numpy() for values in drawn)

    def explain(self, source: Image, class_name: str | int | None = None) -> ImageExplanation:
        """Where an image speaks for its class: Grad-CAM of the layer that ``explain_layer`` names.

        Args:
            source: one image, see :meth:`predict`.
            class_name: name or number of another class than the predicted one.

        Returns:
            an :class:`~medssm_monai.visualize.ImageExplanation`: ``heatmap`` and ``overlay`` at the size of the file,
            class and confidence; ``save(path)`` writes the picture.

        Raises:
            ValueError: no classification of 2D images, no such class or layer; and what :meth:`predict` raises.
        """
        if self.kind != ClassificationTask.kind or "explanation" not in self._parser.get():
            raise ValueError(
                f"{self.name} has nothing to explain: explain() shows where an image speaks for its class, in bundles "
                f"for classification whose inference.yaml has a key 'explanation'; this one does {self.kind}."
            )
        pipeline = self._pipeline()
        explainer = self._content("explanation")
        (image,) = self._images(source)
        item = self._prepare(pipeline, source)
        result = self.task.result(self._finish(pipeline, item, pipeline.network))
        probabilities = cast(ClassificationPrediction, result).probabilities
        label = explainer.number_of(class_name, probabilities)
        with self._explaining:
            if self._watched is None:
                self._watched = _twin(pipeline.network)
            activation = explainer.activation(self._watched, item["image"].to(pipeline.device), label)
        with self._transforming, unwrapped():
            return explainer.explanation(image, item, activation, probabilities, label)

    @property
    def _trained_for(self) -> str:
        domain = self.domain
        return NOT_RECORDED if domain is None else str(domain["text"])

    def _warn(self, reasons: Sequence[str]) -> None:
        """Log each reason the first time that it comes up."""
        with self._building:
            new = [reason for reason in reasons if reason not in self._warned]
            self._warned.update(new)
        for reason in new:
            logger.warning(
                "%s: an image is unlike those that the weights were trained with (%s): %s. Its result may be wrong "
                "however sure it looks; this is logged once, unlike_training of each prediction says it",
                *(self.name, self._trained_for, reason),
            )

    def _content(self, key: str) -> Any:
        with self._building, unwrapped():
            return self._parser.get_parsed_content(key)

    def _pipeline(self) -> _Pipeline:
        with self._building:
            if self._built is None:
                self._built = self._build()
            return self._built

    def _build(self) -> _Pipeline:
        config = self.root / "configs" / "train.yaml"
        remedy = (
            f"Train first: python -m monai.bundle run training --config_file {config}; or name a file with ckpt_path."
        )
        prepare_process()
        path = require_weights(self.ckpt_path, f"trained weights of {self.name}", remedy)
        network, weights = self._load_network(path)
        parts = {key: self._content(key) for key in ("device", "preprocessing", "postprocessing")}
        inferer = self._content("evaluator#inferer")  # the whole of it: windows, flips, precision
        logger.info("%s runs on %s in %s", self.name, parts["device"], getattr(inferer, "precision", "float32"))
        logger.info("what the weights were trained for: %s", self._trained_for)
        return _Pipeline(weights=weights, network=network.eval(), inferer=inferer, **parts)

    def _load_network(self, path: str) -> tuple[nn.Module, str]:
        """The network with the weights of a file, and the line about them."""
        network = self._content("network")
        classes = len(self.task.class_names) if self.kind == ClassificationTask.kind else None
        return network, load_weights(network, path, classes)

    def _prepare(self, pipeline: _Pipeline, source: Any) -> dict[str, Any]:
        """Preprocessed item of one image or pair."""
        item = dict(zip(self.task.keys, self._images(source), strict=True))
        dims = self.settings.get("spatial_dims")
        # The reader of pictures says itself what a volume holds, and what to do.
        if dims is not None and (self.kind, int(dims)) != (SegmentationTask.kind, 2):
            require_fitting_images([item], int(dims), self.ckpt_path)
        with self._transforming, unwrapped():
            prepared = dict(pipeline.preprocessing(item))
            compared = [one for one in pipeline.preprocessing.transforms if isinstance(one, FlagUnlikeTrainingd)]
            return {**prepared, MEASURED: compared[0].measured} if compared else prepared

    def _images(self, source: Any) -> list[Any]:
        keys = self.task.keys
        if channels := self.channel_files:
            image = source.get("image") if isinstance(source, Mapping) else source
            if isinstance(image, (tuple, list)):
                if len(image) != len(channels):
                    named = ", ".join(channels)
                    raise ValueError(
                        f"{self.name} takes one image, or {len(channels)} files of its channels: {named}; got "
                        f"{len(image)}."
                    )
                return [[_checked_file(one) for one in image]]
        if isinstance(source, Mapping):
            missing = [key for key in keys if key not in source]
            if missing:
                raise ValueError(f"{self.name} takes {' and '.join(keys)}; {' and '.join(missing)} not given.")
            images = [source[key] for key in keys]
        else:
            images = list(source) if isinstance(source, tuple) else [source]
        if len(images) != len(keys):
            wanted = "one image" if len(keys) == 1 else f"a pair, the tuple ({', '.join(keys)})"
            raise ValueError(f"{self.name} takes {wanted}, got {len(images)} image(s).")
        return [_checked(image) for image in images]

    def _finish(self, pipeline: _Pipeline, item: Mapping[str, Any], network: nn.Module) -> dict[str, Any]:
        """Item with ``pred`` in the geometry of the file."""
        with torch.no_grad():
            pred = pipeline.inferer(item["image"][None].to(pipeline.device), network)[0].float().cpu()
        with self._transforming, unwrapped():
            return dict(pipeline.postprocessing({**item, "pred": pred}))

    def _with_dropout(self, network: nn.Module, probability: float) -> nn.Module:
        """The copy of the network whose dropout layers, and no others, are in training mode."""
        if self._noisy is None:
            self._noisy = copy.deepcopy(network)
        layers = [module for module in self._noisy.modules() if isinstance(module, _DropoutNd)]
        if not layers:
            raise ValueError(f"{type(network).__name__} has no dropout layer: its uncertainty cannot be sampled.")
        for layer in layers:
            layer.p = probability
            layer.train()
        return self._noisy


def _checked(image: Any) -> Any:
    if is_array(image) or isinstance(image, SeriesFiles):
        return image
    if not isinstance(image, (str, os.PathLike)):
        raise ValueError(f"an image is a file name, an array or a tensor, got {type(image).__name__}.")
    return os.fspath(image)


def _checked_file(image: Any) -> str | SeriesFiles:
    if isinstance(image, SeriesFiles):
        return image
    if not isinstance(image, (str, os.PathLike)):
        raise ValueError(f"the channels of an image are file names, got {type(image).__name__}; stack arrays to one.")
    return os.fspath(image)


def _twin(network: nn.Module) -> nn.Module:
    """A copy with hooks of its own and the same weights, so that Grad-CAM sees no other thread's images."""
    return copy.deepcopy(network, {id(value): value for value in (*network.parameters(), *network.buffers())})


def _cuda(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []
