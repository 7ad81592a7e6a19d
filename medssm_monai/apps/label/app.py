"""The app: tasks of the bundles that ``--conf models`` names, on a local folder of images."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.tasks.activelearning.epistemic import Epistemic
from monailabel.tasks.activelearning.random import Random

import medssm_monai

from ..bundles import list_bundles
from .datastore import StudyDatastore
from .errors import BAD_INPUT, NOT_FOUND, answered
from .infer import BundleInfer, image_file, infer_task
from .requests import is_handed_over
from .scoring import DropoutScoring, score_key
from .served import ServedModel
from .train import BundleTrain
from .uploads import forget_upload

__all__ = ["BundleApp"]

logger = logging.getLogger(__name__)


class BundleApp(MONAILabelApp):
    """MONAI Label with the bundles of this package.

    Keys of ``--conf``: ``models`` (names of bundles, separated by commas; ``all`` for every one that is found),
    ``device`` (``cpu``, ``cuda:0``), ``auto_update_scoring`` (``true``: score after every training and sample; by
    default only when asked for). ``zoo_source`` and ``sam2`` are taken and not needed.

    Args:
        app_dir: where logs and trainings are kept.
        studies: folder of the images.
        conf: see above.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        wanted = [name.strip() for name in str(conf.get("models", "all")).split(",") if name.strip()]
        names = sorted(list_bundles()) if wanted == ["all"] else wanted
        self.device = conf.get("device") or None
        self.served = {name: ServedModel(name, device=self.device) for name in names}
        self.tasks: dict[str, BundleInfer] = {name: infer_task(model) for name, model in self.served.items()}
        super().__init__(
            app_dir=app_dir,
            studies=studies,
            conf=conf,
            name="medssm-monai",
            description=f"State-space networks for medical images: {', '.join(names)}. Not a medical device.",
            version=medssm_monai.__version__,
        )
        self._auto_update_scoring = str(conf.get("auto_update_scoring", "false")).lower() == "true"

    def init_datastore(self) -> Datastore:
        return StudyDatastore(
            self.studies,
            auto_reload=settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD,
            read_only=settings.MONAI_LABEL_DATASTORE_READ_ONLY,
        )

    def init_infers(self) -> dict[str, BundleInfer]:
        return dict(self.tasks)

    def init_trainers(self) -> dict[str, BundleTrain]:
        runs = Path(self.app_dir) / "trainings"
        return {name: BundleTrain(model, runs, self.device) for name, model in self.served.items()}

    def init_scoring_methods(self) -> dict[str, DropoutScoring]:
        return {score_key(name): DropoutScoring(task) for name, task in self.tasks.items()}

    def init_strategies(self) -> dict[str, Strategy]:
        epistemic = {
            score_key(name): Epistemic(key=score_key(name), desc=f"Image that {name} is least sure about")
            for name in self.tasks
        }
        return {"random": Random(), **epistemic}

    def infer(self, request: Mapping[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """As in MONAI Label; errors are answers that say what is wrong, and a file that was sent with a request that
        failed is removed (MONAI Label does so after good ones only)."""
        try:
            return self._infer(request, datastore)
        except BaseException:
            forget_upload(str(request.get("image")))
            raise

    def _infer(self, request: Mapping[str, Any], datastore: Datastore | None) -> dict[str, Any]:
        found, store = dict(request), datastore or self.datastore()
        self._require(found.get("model"), self._infers)
        if found.get("image_b"):  # MONAI Label looks up the first image only
            found["image_b"] = image_file(store.get_image_uri(str(found["image_b"])), "image_b")
        image, tag = found.get("image"), str(found.get("label_tag") or "original")
        allowed = (self.studies, *([self._sessions.store_path] if self._sessions else []))
        if isinstance(image, str) and os.path.exists(image) and not is_handed_over(image, *allowed):
            found["image"] = image_file(store.get_image_uri(image), "image")  # a path where the server runs is no id
        if tag in (".", "..") or set(tag) & set("/\\"):
            raise HTTPException(BAD_INPUT, f"label_tag must be a name without slashes, got {tag!r}.")
        with answered(BAD_INPUT, str(found.get("model"))):
            return super().infer(found, datastore)

    def train(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self._require(request.get("model"), self._trainers)
        with answered(BAD_INPUT, f"training of {request.get('model')}"):
            return super().train(request)

    def scoring(self, request: Mapping[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        self._require(request.get("method"), self._scoring_methods)
        with answered(BAD_INPUT, f"scoring by {request.get('method')}"):
            return super().scoring(request, datastore)

    def next_sample(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self._require(request.get("strategy") or "random", self._strategies)
        return super().next_sample(request)

    def bundle_path(self, model: str | None) -> str | None:
        """None: our trainings know their bundle. MONAI Label asks this before it starts a task in the background, the
        one place where an unknown model can still be answered."""
        if model is not None:
            self._require(model, self._infers)
        return super().bundle_path(model)

    @staticmethod
    def _require(name: str | None, known: Mapping[str, Any]) -> None:
        if not isinstance(name, str) or name not in known:
            raise HTTPException(
                NOT_FOUND, f"there is no {name!r} here; there are {', '.join(sorted(known)) or 'none'}."
            )
