"""A bundle as the server holds it: one predictor, exchanged when its weights have changed."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any, cast

from ...bundle.find import find_bundle
from ...bundle.predictor import Predictor, load
from ...bundle.tasks import FusionTask
from ...bundle.work_place import work_folder
from ...utils import file_sha256
from ...utils.shown_names import remember_place

__all__ = ["ServedModel"]

logger = logging.getLogger(__name__)
Stamp = tuple[tuple[str, int, int], ...]


class ServedModel:
    """The predictor of a bundle, rebuilt after a training has written new weights or settings.

    Args:
        name: name of the bundle.
        overrides: arguments of :func:`medssm_monai.load`.
    """

    def __init__(self, name: str, **overrides: Any) -> None:
        self.name, self.root, self._overrides = name, find_bundle(name), overrides
        remember_place(self.root, self.name)
        self._lock = threading.Lock()
        self._predictor: Predictor | None = None
        self._stamp: Stamp = ()

    def predictor(self) -> Predictor:
        """The predictor of the weights that lie there now. Whoever still uses an earlier one may finish with it."""
        with self._lock:
            stamp = self._weights_stamp()
            if self._predictor is None or stamp != self._stamp:
                if self._predictor is not None:
                    logger.info("%s: weights or settings have changed, they are loaded again", self.name)
                self._predictor, self._stamp = load(self.root, **self._overrides), stamp
            return self._predictor

    def _weights_stamp(self) -> Stamp:
        places = sorted({self.root / "models", Path(work_folder(self.root)) / "models"})
        files = [path for place in places for end in ("pt", "json") for path in sorted(place.rglob(f"*.{end}"))]
        found = []
        for path in files:
            try:
                status = path.stat()
            except FileNotFoundError:  # renamed since it was listed
                continue
            found.append((path.as_posix(), status.st_mtime_ns, status.st_size))
        return tuple(found)

    @property
    def weights(self) -> Path | None:
        """The checkpoint that is served, or None where there is none yet."""
        path = Path(self.predictor().ckpt_path)
        return path if path.is_file() else None

    @property
    def weights_sha256(self) -> str | None:
        """SHA-256 of the checkpoint that is served."""
        path = self.weights
        return None if path is None else file_sha256(path)

    @property
    def sources(self) -> tuple[str, str]:
        """Endings of image ids that tell the sources of a fusion apart, ``_MRI`` and ``_CT`` for ``MRI`` and ``CT``."""
        task = cast(FusionTask, self.predictor().task)
        a, b = (name if name.startswith("_") else f"_{name}" for name in task.sources)
        return a, b

    def partner(self, image_id: str) -> str:
        """Id of source B that belongs to the id of source A.

        Raises:
            ValueError: the id has not the ending of source A.
        """
        ending_a, ending_b = self.sources
        if not image_id.endswith(ending_a):
            raise ValueError(
                f"{image_id!r} does not end in {ending_a}, so its partner cannot be told by name; ask for the image of "
                f"source A, or name the other one in the request's params: {{'image_b': ID}}."
            )
        return image_id[: -len(ending_a)] + ending_b
