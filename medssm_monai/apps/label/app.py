"""The app: tasks of the bundles that ``--conf models`` names, on a local folder of images."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.batch_infer import BatchInferTask
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.tasks.activelearning.epistemic import Epistemic
from monailabel.tasks.activelearning.random import Random

from ... import __version__
from ...bundle.find import list_bundles
from ..uploads import forget_upload
from .datastore import StudyDatastore
from .errors import BAD_INPUT, NOT_FOUND, as_http_error
from .infer import BundleInfer, image_file, infer_task
from .inference_queue import Busy, InferenceQueue, TookTooLong
from .names import plain_name
from .options import ServerOptions, current_options
from .places import hide_places
from .requests import is_handed_over
from .scoring import DropoutScoring, score_key
from .served import ServedModel
from .sessions import PrivateSessions
from .train import BundleTrain

__all__ = ["BundleApp"]

logger = logging.getLogger(__name__)
RUNNING, BUSY, TOO_LONG = 429, 503, 504


class OneByOne(BatchInferTask):
    """Many images, one after the other, on the device of the app."""

    def __call__(self, request: Mapping[str, Any], datastore: Datastore, infer: Any) -> dict[str, Any]:
        return super().__call__({**request, "multi_gpu": False, "device": "cpu", "max_workers": 1}, datastore, infer)


class BundleApp(MONAILabelApp):
    """MONAI Label with the bundles of this package.

    Keys of ``--conf``: ``models`` (names of bundles, separated by commas; ``all`` for every one that is found),
    ``device`` (``cpu``, ``cuda:0``), ``auto_update_scoring`` (``true``: score after every training and sample; by
    default only when asked for), ``unguarded`` (``true``: serve also where MONAI Label's own command has started this
    app, without token and limits). ``zoo_source`` and ``sam2`` are taken and not needed.

    Args:
        app_dir: where logs and trainings are kept.
        studies: folder of the images.
        conf: see above.

    Raises:
        ValueError: a bundle that lies in the folder of images, where requests write.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        wanted = [name.strip() for name in str(conf.get("models", "all")).split(",") if name.strip()]
        names = sorted(list_bundles()) if wanted == ["all"] else wanted
        hide_places(studies, app_dir)
        self.device = conf.get("device") or None
        self.limits = (current_options() or ServerOptions()).limits
        self.queue: InferenceQueue[dict[str, Any]] = InferenceQueue(
            self.limits.parallel,
            self.limits.waiting,
            self.limits.seconds,
            lambda late: forget_upload(str(late["file"])),
        )
        self._at_work = {"train": threading.Lock(), "scoring": threading.Lock()}
        self.served = {name: ServedModel(name, device=self.device) for name in names}
        for model in self.served.values():
            if Path(os.path.realpath(model.root)).is_relative_to(os.path.realpath(studies)):
                raise ValueError(f"bundle {model.root} lies in the studies, where requests write; keep it elsewhere.")
        self.tasks: dict[str, BundleInfer] = {name: infer_task(model) for name, model in self.served.items()}
        super().__init__(
            app_dir=app_dir,
            studies=studies,
            conf=conf,
            name="medssm-monai",
            description=f"State-space networks for medical images: {', '.join(names)}. Not a medical device.",
            version=__version__,
        )
        self._auto_update_scoring = str(conf.get("auto_update_scoring", "false")).lower() == "true"

    def init_datastore(self) -> Datastore:
        return StudyDatastore(
            self.studies,
            auto_reload=settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD,
            read_only=settings.MONAI_LABEL_DATASTORE_READ_ONLY,
        )

    def _load_sessions(self, load: bool = False) -> PrivateSessions | None:
        if not load:
            return None
        return PrivateSessions(settings.MONAI_LABEL_SESSION_PATH, settings.MONAI_LABEL_SESSION_EXPIRY, self.limits)

    def on_init_complete(self) -> None:
        """A server has built the app.

        Raises:
            RuntimeError: a server without the guards of this package.
        """
        if current_options() is None and str(self.conf.get("unguarded", "false")).lower() != "true":
            raise RuntimeError(
                "MONAI Label's own command lets everyone write and delete; start the server with python -m "
                "medssm_monai.apps.label, or add --conf unguarded true where nobody else can reach it."
            )
        super().on_init_complete()

    def init_batch_infer(self) -> OneByOne:
        return OneByOne()

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
        found["_deadline"] = time.monotonic() + self.limits.seconds
        with as_http_error(BAD_INPUT, str(found.get("model"))):
            plain_name(tag, "label_tag")
            try:
                return self.queue.run(lambda: super(BundleApp, self).infer(found, store))
            except Busy as error:
                raise HTTPException(BUSY, str(error), {"Retry-After": "5"}) from error
            except TookTooLong as error:
                raise HTTPException(TOO_LONG, str(error)) from error

    def train(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self._require(request.get("model"), self._trainers)
        with as_http_error(BAD_INPUT, f"training of {request.get('model')}"), self._one("train"):
            return super().train(request)

    def check_training(self, name: str, params: Mapping[str, Any]) -> None:
        """Answer params that a training cannot take, before it starts in the background.

        Raises:
            ValueError: overrides that a request cannot give.
        """
        self._trainers[name].overrides(params.get("overrides", {}))

    def scoring(self, request: Mapping[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        self._require(request.get("method"), self._scoring_methods)
        with as_http_error(BAD_INPUT, f"scoring by {request.get('method')}"), self._one("scoring"):
            return super().scoring(request, datastore)

    def scoring_method(self, name: str) -> None:
        """Answer 404 for an unknown one, before it starts in the background."""
        self._require(name, self._scoring_methods)

    def next_sample(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self._require(request.get("strategy") or "random", self._strategies)
        return super().next_sample(request)

    def bundle_path(self, model: str | None) -> str | None:
        """None: our trainings know their bundle. MONAI Label asks this before it starts a task in the background, the
        one place where an unknown model can still be answered."""
        if model is not None:
            self._require(model, self._infers)
        return super().bundle_path(model)

    @contextmanager
    def _one(self, work: str) -> Iterator[None]:
        """One training, and one scoring, for whose end a request waits."""
        if not self._at_work[work].acquire(blocking=False):
            raise HTTPException(RUNNING, f"another {work} is running.")
        try:
            yield
        finally:
            self._at_work[work].release()

    @staticmethod
    def _require(name: str | None, known: Mapping[str, Any]) -> None:
        if not isinstance(name, str) or name not in known:
            raise HTTPException(
                NOT_FOUND, f"there is no {name!r} here; there are {', '.join(sorted(known)) or 'none'}."
            )
