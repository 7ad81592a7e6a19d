"""The folder of images and labels that is served: MONAI Label's datastore, which keeps to that folder."""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from monailabel.datastore.local import DataModel, ImageLabelModel, LocalDatastore, LocalDatastoreModel
from monailabel.interfaces.exception import ImageNotFoundException, LabelNotFoundException

from ...utils import replace_file
from .errors import BAD_INPUT
from .formats import (
    CLASS_SUFFIX,
    IMAGE_SUFFIXES,
    NRRD,
    check_nrrd,
    image_kind,
    image_names,
    is_label,
    label_names,
    split_name,
)
from .json_values import storable
from .names import destination, plain_name

__all__ = ["StudyDatastore"]

logger = logging.getLogger(__name__)

IMAGES, LABELS = ".", "labels"  # folders, whatever an index says
WATCHED = [f"*{suffix}" for suffix in IMAGE_SUFFIXES]  # the watcher of files takes upper and lower case


def alone(method: Callable[..., Any]) -> Callable[..., Any]:
    """One thread at a time: requests, the watcher of files and MONAI Label's own threads change one index."""

    @wraps(method)
    def locked(self: StudyDatastore, *args: Any, **kwargs: Any) -> Any:
        with self.changing:
            return method(self, *args, **kwargs)

    return locked


class StudyDatastore(LocalDatastore):
    """Images of a folder and, below it, their labels.

    An image's id is its file name without suffix, upper or lower case; of several images that differ in their suffix
    only the first in natural order has that id, the others their whole name (``same.jpg`` is ``same``, ``same.png``
    is ``same.png``).

    Ids and tags are plain names (:func:`~.names.plain_name`), in requests and in the index, whose other entries are
    dropped. Links are read, as whoever made them meant; nothing is written through one, and of a link only the link is
    removed.

    Args:
        studies: the folder.
        auto_reload: watch it for files that come and go.
        read_only: take the index as it is.
    """

    def __init__(self, studies: str, auto_reload: bool = False, read_only: bool = False) -> None:
        self.root, self.changing = Path(studies), threading.RLock()
        super().__init__(studies, extensions=WATCHED, auto_reload=auto_reload, read_only=read_only)
        if auto_reload:
            self._handler.on_moved = self._on_modify_event  # the index is written aside and moved to its place

    # names and files

    def _to_id(self, file: str) -> tuple[str, str]:
        return split_name(file)

    def _list_files(self, path: str, patterns: Any) -> dict[str, str]:
        images = os.path.realpath(path) == os.path.realpath(self._datastore.image_path())
        names = image_names(Path(path)) if images else label_names(Path(path))
        return {name: name for name in names if _is_plain(name)}

    def _image_file(self, image_id: str) -> Path | None:
        found = self._datastore.objects.get(plain_name(image_id, "image id"))
        return self.root / plain_name(self._filename(image_id, found.image.ext), "image") if found else None

    def _label_file(self, label_id: str, tag: str) -> Path | None:
        found = self._datastore.label(plain_name(label_id, "label id"), plain_name(tag, "tag"))
        name = self._filename(label_id, found.ext) if found else ""
        return self.root / LABELS / str(_text(tag)) / plain_name(name, "label") if found else None

    def get_image_uri(self, image_id: str) -> str:
        """File of an image, or an empty text."""
        path = self._image_file(image_id) if image_id else None
        return os.path.realpath(path) if path else ""

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """File of a label, or an empty text."""
        path = self._label_file(label_id, label_tag) if label_id and label_tag else None
        return os.path.realpath(path) if path else ""

    # changes

    @alone
    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Copy an image into the folder; one of the same id is replaced.

        Raises:
            ValueError: an id that is no plain name, a place that is a link, or a NRRD file without its pixels.
            HTTPException: no image (400).
        """
        source = Path(image_filename)
        kind, (own_id, ext) = image_kind(source), split_name(source.name)
        if kind is None:
            known = ", ".join(sorted(IMAGE_SUFFIXES))
            raise HTTPException(
                BAD_INPUT, f"{source.suffix or 'a file without suffix'} is no image; images are {known}."
            )
        image_id = plain_name(image_id or own_id, "image id")
        self._init_from_datastore_file()
        earlier = self._image_file(image_id)
        name = self._filename(image_id, ext)
        info = {**(image_info or {}), "ts": int(time.time()), "name": name}
        self._place(source, destination(self.root, name), earlier)
        self._datastore.objects[image_id] = ImageLabelModel(image=DataModel(info=info, ext=ext))
        self._update_datastore_file()
        return image_id

    @alone
    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Copy a label of an image into the folder of its tag; one of the same tag is replaced.

        Raises:
            ValueError: an id or tag that is no plain name, a place that is a link, or a NRRD file without its pixels.
            HTTPException: no label of any model (400).
            ImageNotFoundException: no such image.
        """
        self._init_from_datastore_file()
        found = self._datastore.objects.get(plain_name(image_id, "image id"))
        if found is None:
            raise ImageNotFoundException(f"there is no image {image_id!r}.")
        tag, source = _text(plain_name(label_tag, "tag")), Path(label_filename)
        if not is_label(source):
            known = ", ".join(sorted((*IMAGE_SUFFIXES, CLASS_SUFFIX)))
            suffix = source.suffix or "a file without suffix"
            raise HTTPException(BAD_INPUT, f"the label of {image_id!r}: {suffix} is no label; labels are {known}.")
        ext = split_name(source.name)[1]
        earlier = self._label_file(image_id, tag)
        name = self._filename(image_id, ext)
        info = {**(label_info or {}), "ts": int(time.time()), "name": name}
        self._place(source, destination(self.root, LABELS, tag, name), earlier)
        found.labels[tag] = DataModel(info=info, ext=ext)
        self._update_datastore_file()
        return image_id

    def _place(self, source: Path, target: Path, earlier: Path | None) -> None:
        if image_kind(source) == NRRD:
            check_nrrd(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(target) as part:
            shutil.copyfile(source, part)
        if earlier is not None and earlier.name != target.name:
            earlier.unlink(missing_ok=True)  # in the folder of the target

    @alone
    def remove_image(self, image_id: str) -> None:
        """Remove an image and its labels; of a link, the link.

        Raises:
            ImageNotFoundException: no such image.
            ValueError: a label in a folder that is a link.
        """
        path = self._image_file(image_id)
        if path is None:
            raise ImageNotFoundException(f"there is no image {image_id!r}.")
        path = destination(self.root, path.name, link=True)
        for tag in list(self._datastore.objects[image_id].labels):
            self.remove_label(image_id, tag)
        path.unlink(missing_ok=True)
        self.refresh()

    @alone
    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Remove a label; of a link, the link.

        Raises:
            LabelNotFoundException: no such label.
            ValueError: the folder of the tag is a link.
        """
        path = self._label_file(label_id, label_tag)
        if path is None:
            raise LabelNotFoundException(f"there is no label of {label_id!r} with the tag {label_tag!r}.")
        destination(self.root, LABELS, path.parent.name, path.name, link=True).unlink(missing_ok=True)
        self.refresh()

    @alone
    def get_dataset_archive(self, limit_cases: int | None = None) -> str:
        """As in MONAI Label.

        Raises:
            ValueError: there is no label yet.
        """
        if not self.get_labeled_images():
            raise ValueError("there is no final label yet, so there is no data set to download.")
        return super().get_dataset_archive(limit_cases)

    @alone
    def _add_non_existing_images(self) -> int:
        self._init_from_datastore_file()
        objects = self._datastore.objects
        known = {self._filename(image_id, found.image.ext) for image_id, found in objects.items()}
        names = self._list_files(self._datastore.image_path(), None)
        new = [name for name in names if name not in known]
        for name in new:
            image_id, ext = split_name(name)
            if image_id in objects:
                image_id, ext = name, ""
            logger.info("new image %s: %s", image_id, name)
            objects[image_id] = ImageLabelModel(image=DataModel(info={"ts": int(time.time()), "name": name}, ext=ext))
        return len(new)

    @alone
    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        """As in MONAI Label, on what the index says now (a scoring writes it too, in a process of its own)."""
        self._init_from_datastore_file()
        super().update_image_info(image_id, info)

    @alone
    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        """As in MONAI Label, on what the index says now."""
        self._init_from_datastore_file()
        super().update_label_info(label_id, label_tag, info)

    # the index

    @alone
    def _init_from_datastore_file(self, throw_exception: bool = False) -> None:
        before = self._config_ts
        super()._init_from_datastore_file(throw_exception)
        if self._config_ts != before:
            _sound(self._datastore)

    @alone
    def _update_datastore_file(self, lock: bool = True) -> None:
        index = Path(self._datastore_config_path)
        with replace_file(index) as part:
            content = self._datastore.model_dump(exclude={"base_path"})
            part.write_text(json.dumps(content, indent=2, default=str), encoding="utf-8")
        self._config_ts = index.stat().st_mtime

    def _on_modify_event(self, event: Any) -> None:
        """Read an index that someone else has written; our own is known by its time."""
        if self._datastore_config_path in (event.src_path, getattr(event, "dest_path", None)):
            self._init_from_datastore_file()

    # as in MONAI Label, one thread at a time

    _reconcile_datastore = alone(LocalDatastore._reconcile_datastore)
    get_image_info = alone(LocalDatastore.get_image_info)
    get_labeled_images = alone(LocalDatastore.get_labeled_images)
    get_unlabeled_images = alone(LocalDatastore.get_unlabeled_images)
    list_images = alone(LocalDatastore.list_images)
    datalist = alone(LocalDatastore.datalist)
    status = alone(LocalDatastore.status)
    json = alone(LocalDatastore.json)


def _text(tag: str) -> str:
    """The text of a tag, which may be a member of MONAI Label's enumeration."""
    return str(getattr(tag, "value", tag))


def _is_plain(name: str) -> bool:
    try:
        plain_name(name, "file")
    except ValueError as error:
        logger.warning("%r is left out: %s", name, error)
        return False
    return True


def _storable(info: Mapping[str, Any]) -> bool:
    try:
        storable(info, "info")
    except ValueError:
        return False
    return isinstance(info.get("strategy", {}), dict)


def _sound(index: LocalDatastoreModel) -> None:
    """Drop from an index what would lead out of the studies, or cannot be sent."""
    index.images_dir, index.labels_dir = IMAGES, LABELS
    for image_id, found in list(index.objects.items()):
        if not _is_plain(image_id + found.image.ext) or not _is_plain(image_id):
            del index.objects[image_id]
            continue
        found.labels = {
            tag: label
            for tag, label in found.labels.items()
            if _is_plain(tag) and _is_plain(image_id + label.ext) and _storable(label.info)
        }
        if not _storable(found.image.info):
            found.image.info = {"name": image_id + found.image.ext}
