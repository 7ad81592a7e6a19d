"""Fine-tuning on the labels that a user has saved: the bundle's own training, on a folder made of them."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from monai.bundle import ConfigParser
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.interfaces.tasks.train import TrainTask

from ...bundle import publish_weights
from ...bundle.config import command_word
from ...bundle.settings_schema import SETTING_RULES, check_settings
from ...bundle.tasks import SegmentationTask
from ...bundle.weights import TRAINED
from ...bundle.work_place import work_folder
from ...data.labels import LabelSet
from .channels import channel_name, channel_number, channel_stem
from .figures import last_figures
from .formats import is_volume
from .requests import plain_overrides
from .served import ServedModel
from .training_data import (
    RGB,
    class_of,
    other_channels,
    unusable,
    write_classes,
    write_masks,
    write_pairs,
    write_volumes,
)

__all__ = ["BundleTrain"]

logger = logging.getLogger(__name__)

CONFIG = {"max_epochs": 20, "batch_size": 4, "val_split": 0.2, "from_scratch": False, "overrides": {}}
OUTPUT_LINES = 15
REMEDY = "Ask for another value."
SET_BY_DATA = ("class_names", "temperature", "sources")  # settings that a training finds out itself, or is told


class BundleTrain(TrainTask):
    """Train a bundle on the saved labels, and put the new weights where inference picks them up.

    The bundle's ``train.yaml`` runs as a program of its own, starting from the weights that are served, with their
    settings. Its best weights replace ``models/trained/model.pt`` of the bundle when it has ended well; the
    earlier ones are kept under a dated name. A training that fails changes nothing.

    Labels: of a segmentation the masks saved as final (several classes: label maps with the numbers that the inference
    names); of a classification JSON files, ``{"class": NAME}``; of a fusion
    none, all complete pairs of the studies folder (of volumes in 3D) are used.

    Params of a request: ``max_epochs``, ``batch_size``, ``val_split`` (share of the images for validation),
    ``from_scratch`` (true: the settings of the served weights, but not the weights, to start from), ``overrides``
    (other settings of ``train.yaml`` with plain values, :func:`~.requests.plain_overrides`).

    Args:
        model: the bundle.
        runs: folder for the data, logs and reports of the trainings.
        device: as ``--device`` of the app; None takes a GPU where there is one.
    """

    def __init__(self, model: ServedModel, runs: Path, device: str | None = None) -> None:
        super().__init__(f"Fine-tune {model.name} on the saved labels")
        self.model, self.runs, self.device = model, runs, device

    def config(self) -> dict[str, Any]:
        """Params of a request and their defaults."""
        return dict(CONFIG)

    def stats(self) -> dict[str, Any]:
        """Figures of the last epoch of the last training."""
        done = sorted(self.runs.glob(f"{self.model.name}/*/*/history.csv"), key=lambda path: path.stat().st_mtime)
        return last_figures(done[-1]) if done else {}

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Run the training; returns its last figures.

        Raises:
            ValueError: too few labels, unusable ones, or overrides that a request cannot give.
            RuntimeError: the training failed; the message ends with what it printed last.
        """
        wanted = {key: request.get(key, default) for key, default in CONFIG.items()}
        overrides = self.overrides(wanted["overrides"])
        run = self.runs / self.model.name / f"{time.strftime('%Y%m%d-%H%M%S')}_{os.getpid()}"
        share = float(wanted["val_split"])
        settings, left_out = self._data_settings(run / "saved_labels", datastore, share, overrides)
        weights = self.model.weights
        if weights is not None:
            kept = {k: v for k, v in self.model.predictor().settings.items() if k not in SET_BY_DATA}
            start = {} if wanted["from_scratch"] else {"init_from": weights}
            settings = {**kept, **settings, **start}
        settings |= {"max_epochs": int(wanted["max_epochs"]), "batch_size": int(wanted["batch_size"])}
        check_settings({k: v for k, v in {**settings, **overrides}.items() if k in SETTING_RULES}, "training", REMEDY)
        self._run({**settings, **overrides}, run)
        published = Path(work_folder(self.model.root)) / "models" / TRAINED
        if publish_weights(run / "models", published) is None:
            raise RuntimeError(f"the training left no weights in {run}; more epochs or images may give some.")
        logger.info("%s: new weights in %s", self.model.name, published)
        last = last_figures(run / "training" / "history.csv")
        return {"model": self.model.name, "run": str(run), "last_epoch": last, "left_out": left_out}

    def overrides(self, given: Any) -> dict[str, Any]:
        """Settings of ``train.yaml`` that a request gives (:func:`~.requests.plain_overrides`)."""
        return plain_overrides(given, ConfigParser.load_config_file(str(self._train_config)))

    def _data_settings(
        self, folder: Path, datastore: Datastore, share: float, overrides: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """Write the data folder; settings of the training that name it, and the labels that it leaves out, with the
        reason."""
        kind = self.model.predictor().task.kind
        final = DefaultLabelTag.FINAL
        labeled = {
            image: (Path(datastore.get_image_uri(image)), Path(datastore.get_label_uri(image, final)))
            for image in datastore.get_labeled_images()
        }
        given = {**self.model.predictor().settings, **overrides}
        volumes = int(given.get("spatial_dims", 2)) == 3
        masks = {name: label for name, (_, label) in labeled.items()}
        left_out = {} if kind == "fusion" else unusable(kind, masks, volumes)
        if kind == "segmentation" and volumes:
            count = len(self._channel_names(overrides, volumes))
            one_file = {
                name: image for name, (image, _) in labeled.items() if count == 1 or channel_number(name) is None
            }
            left_out = {**other_channels(one_file, count), **left_out}
        for name, reason in left_out.items():
            logger.warning("%s: the label of %s is left out: %s", self.model.name, name, reason)
        usable = {name: files for name, files in labeled.items() if name not in left_out}
        try:
            if kind == "segmentation":
                settings = self._write_masks(folder, usable, datastore, share, overrides, volumes)
            else:
                settings = self._write(kind, folder, usable, datastore, share)
        except ValueError as error:
            if not left_out:
                raise
            reasons = "; ".join(sorted(set(left_out.values())))
            raise ValueError(f"{error} Left out: {', '.join(sorted(left_out))} ({reasons}).") from error
        return {"dataset_dir": folder, **settings}, left_out

    def _write(
        self, kind: str, folder: Path, labeled: Mapping[str, tuple[Path, Path]], datastore: Datastore, share: float
    ) -> dict[str, Any]:
        if kind == "classification":
            named = {name: (image, class_of(label)) for name, (image, label) in labeled.items()}
            known = self.model.predictor().task.class_names if self.model.weights else ()
            split, classes = write_classes(folder, named, known, share)
            return {"layout": "folders", "split_file": split, "datalists#class_names": classes}
        pairs = self._pairs(datastore)
        endings = self.model.sources
        return {"sources": list(endings), "split_file": write_pairs(folder, pairs, endings, share)}

    def _write_masks(
        self,
        folder: Path,
        labeled: Mapping[str, tuple[Path, Path]],
        datastore: Datastore,
        share: float,
        overrides: Mapping[str, Any],
        volumes: bool,
    ) -> dict[str, Any]:
        predictor = self.model.predictor()
        labels = cast(SegmentationTask, predictor.task).labels
        if isinstance(overrides.get("labels"), Mapping):
            labels = LabelSet.of(overrides["labels"])
        named = self._channel_names(overrides, volumes)
        if not volumes:
            return {"layout": "plain", "split_file": write_masks(folder, labeled, share, labels, named)}
        cases = {
            channel_stem(name): (self._channels(name, image, named, datastore), mask)
            for name, (image, mask) in labeled.items()
        }
        return {"layout": "nnunet", "split_file": write_volumes(folder, cases, share, labels, named)}

    def _channel_names(self, overrides: Mapping[str, Any], volumes: bool) -> Sequence[str]:
        given = {"in_channels": 1, **self.model.predictor().settings, **overrides}
        named = given.get("channel_names")
        if isinstance(named, Sequence) and not isinstance(named, str):
            return named
        count = int(given["in_channels"])  # null, or auto
        return RGB if count == len(RGB) and not volumes else [f"channel_{number}" for number in range(count)]

    @staticmethod
    def _channels(name: str, image: Path, channels: Sequence[str], datastore: Datastore) -> list[Path]:
        """Files of a case's channels in the studies folder, by the ends of their ids."""
        if len(channels) == 1 or channel_number(name) is None:
            return [image]
        known = set(datastore.list_images())
        ids = [channel_name(name, number) for number in range(len(channels))]
        if missing := [one for one in ids if one not in known]:
            raise ValueError(f"{name}: no {', no '.join(missing)} among the images; a case needs all its channels.")
        return [Path(datastore.get_image_uri(one)) for one in ids]

    def _pairs(self, datastore: Datastore) -> dict[str, tuple[Path, Path]]:
        """Complete pairs of the model's dimension in the studies folder, by their name without ending."""
        ending, every = self.model.sources[0], set(datastore.list_images())
        volumes = self.model.predictor().settings["spatial_dims"] == 3
        found = {}
        for image in sorted(name for name in every if name.endswith(ending)):
            partner = self.model.partner(image)
            if partner in every:
                files = (Path(datastore.get_image_uri(image)), Path(datastore.get_image_uri(partner)))
                if is_volume(files[0]) == volumes:
                    found[image[: -len(ending)]] = files
        return found

    @property
    def _train_config(self) -> Path:
        return self.model.root / "configs" / "train.yaml"

    def _run(self, settings: Mapping[str, Any], run: Path) -> None:
        configs = self.model.root / "configs"
        files = [str(self._train_config)]
        if settings.get("spatial_dims") == 3 and (configs / "volume.yaml").is_file():
            files.append(str(configs / "volume.yaml"))
        folders = {
            "bundle_root": self.model.root,
            "output_dir": run,
            "ckpt_dir": run / "models",
            "run_name": "training",
        }
        command = [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file", str(files)]
        options = {**folders, **settings}
        command += [word for key, value in options.items() for word in (f"--{key}", command_word(value))]
        command += ["--device", f"$torch.device({self.device!r})"] if self.device else []
        logger.info("training: %s", subprocess.list2cmdline(command))
        lines: list[str] = []
        with subprocess.Popen(
            command, cwd=self.model.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as process:
            for line in process.stdout or ():
                lines = [*lines, line.rstrip()][-OUTPUT_LINES:]
                logger.info("%s", line.rstrip())
        if process.returncode != 0:
            raise RuntimeError(f"training of {self.model.name} failed:\n" + "\n".join(lines))
