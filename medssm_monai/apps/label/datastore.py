"""The folder of images and labels that is served: MONAI Label's datastore, with the file formats of this package."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from monailabel.datastore.local import DataModel, ImageLabelModel, LocalDatastore

from .errors import BAD_INPUT
from .formats import CLASS_SUFFIX, IMAGE_SUFFIXES, image_names, is_label, label_names, split_name

__all__ = ["StudyDatastore"]

logger = logging.getLogger(__name__)

WATCHED = [f"*{suffix}" for suffix in IMAGE_SUFFIXES]  # the watcher of files takes upper and lower case


class StudyDatastore(LocalDatastore):
    """Images of a folder and, below it, their labels.

    An image's id is its file name without suffix, upper or lower case; of several images that differ in their suffix
    only the first in natural order has that id, the others their whole name (``same.jpg`` is ``same``, ``same.png``
    is ``same.png``).

    Args:
        studies: the folder.
        auto_reload: watch it for files that come and go.
        read_only: take the index as it is.
    """

    def __init__(self, studies: str, auto_reload: bool = False, read_only: bool = False) -> None:
        super().__init__(studies, extensions=WATCHED, auto_reload=auto_reload, read_only=read_only)

    def _to_id(self, file: str) -> tuple[str, str]:
        return split_name(file)

    def _list_files(self, path: str, patterns: Any) -> dict[str, str]:
        images = os.path.realpath(path) == os.path.realpath(self._datastore.image_path())
        names = image_names(Path(path)) if images else label_names(Path(path))
        return {name: name for name in names}

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """As in MONAI Label; a file that is no label of any model is refused (answer 400)."""
        if not is_label(Path(label_filename)):
            known = ", ".join(sorted((*IMAGE_SUFFIXES, CLASS_SUFFIX)))
            suffix = Path(label_filename).suffix or "a file without suffix"
            raise HTTPException(BAD_INPUT, f"the label of {image_id!r}: {suffix} is no label; labels are {known}.")
        return super().save_label(image_id, label_filename, label_tag, label_info)

    def _add_non_existing_images(self) -> int:
        self._init_from_datastore_file()
        objects = self._datastore.objects
        known = {self._filename(image_id, found.image.ext) for image_id, found in objects.items()}
        new = [name for name in image_names(Path(self._datastore.image_path())) if name not in known]
        for name in new:
            image_id, ext = split_name(name)
            if image_id in objects:
                image_id, ext = name, ""
            logger.info("new image %s: %s", image_id, name)
            objects[image_id] = ImageLabelModel(image=DataModel(info={"ts": int(time.time()), "name": name}, ext=ext))
        return len(new)
