"""Where studies come from: a folder of images, a table, a Parquet list, or a DICOM archive. All are read as they are
needed, so that an archive of any size takes the same memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ...bundle.tasks import FusionTask
from ...data.datalists.inference import image_datalist, pair_datalist
from ...data.datalists.inference_cases import listed_cases
from ...data.datalists.tables import is_table, listed_file, listed_images, read_table
from ...data.readers.files import DICOM, file_kind
from ...data.studies.find import files_below
from ...data.studies.series import SetAside
from .parquet_list import PARQUET, ParquetList
from .study import Study, study_of_files

if TYPE_CHECKING:
    from ...bundle.predictor import Predictor

__all__ = ["LAYOUTS", "ImageFolder", "ListedImages", "Source", "open_source"]

LAYOUTS = ("auto", "images", "dicom")
PAIR = ("image_a", "image_b")
LOOKED_AT = 64  # files that tell a DICOM archive from a folder of pictures


class Source(Protocol):
    """Studies, one after the other; may be gone through several times."""

    kind: str
    """``"images"`` or ``"dicom"``."""

    def __iter__(self) -> Iterator[Study]: ...

    def count(self) -> int:
        """How many there are."""


def open_source(
    path: str | os.PathLike[str], predictor: Predictor, layout: str = "auto", out: Path | None = None
) -> Source:
    """The studies of an input, as a network takes them.

    Args:
        path: a folder, an image, a table (CSV), or a Parquet file.
        predictor: of the bundle: whether it takes pictures or volumes, single, in pairs or by channels.
        layout: ``"images"``, ``"dicom"``, or ``"auto"``: a folder whose first files are DICOM is an archive.
        out: folder of the results, which is passed over where it lies in the input.

    Raises:
        FileNotFoundError: no such input.
        DatalistError: a table without the columns; pairs or channels that do not fit together, all of them at once.
        ValueError: a list as a DICOM archive; results into the folder of the input itself.
        ImportError: the package for DICOM, or for Parquet, is not installed.
    """
    root = Path(os.path.abspath(Path(path).expanduser()))
    if not root.exists():
        raise FileNotFoundError(f"{os.fspath(path)!r} does not exist (working folder {Path.cwd()}); correct the path.")
    if out is not None and root.is_dir() and out.exists() and root.samefile(out):
        raise ValueError(
            "the folder of the results is that of the input; name another one for them, which may lie in it."
        )
    listed = root.is_file() and (is_table(root) or root.suffix.lower() in PARQUET)
    if layout == "dicom" or (layout == "auto" and not listed and _is_archive(root, out)):
        if listed:
            raise ValueError(f"{root.name} is a list; a DICOM archive is a folder. Leave out --layout dicom.")
        from .archive import DicomArchive  # needs pydicom

        return DicomArchive(root, out)
    task = predictor.task
    names = PAIR if isinstance(task, FusionTask) else predictor.channel_files
    dims = int(predictor.settings.get("spatial_dims") or 2)
    if root.suffix.lower() in PARQUET and root.is_file():
        return ParquetList(root, names)
    if isinstance(task, FusionTask):
        pairs = _listed_pairs(root) if listed else pair_datalist(root, task.sources, dims)
        return ListedImages([[pair[key] for key in PAIR] for pair in pairs], _folder_of(root))
    if names:
        return ListedImages(_by_channels(root, names, dims), _folder_of(root))
    if listed:
        return ListedImages([[path] for path in listed_images(read_table(root, "a column image"))], root.parent)
    return ImageFolder(root, out)


def _folder_of(root: Path) -> Path:
    return root if root.is_dir() else root.parent


def _listed_pairs(root: Path) -> Sequence[Mapping[str, str | Path]]:
    table = read_table(root, "the columns image_a and image_b")
    columns = {name: table.column([name]) for name in PAIR}
    missing = [name for name, column in columns.items() if column is None]
    if missing:
        raise ValueError(f"{table} has no column {' and '.join(missing)}; its header is {table.rows[0][:8]}.")
    rows = [[*row, *[""] * len(table.rows[0])] for row in table.rows[1:]]
    return [{name: listed_file(row[column or 0], table) for name, column in columns.items()} for row in rows]


def _by_channels(root: Path, names: Sequence[str], dims: int) -> list[list[str]]:
    if root.is_file() and is_table(root):
        cases = listed_cases(read_table(root, "a column for each channel"), names)
        if cases is not None:
            return [list(map(str, files)) for files in cases.values()]
    images = [item["image"] for item in image_datalist(root, dims, names)]
    return [image if isinstance(image, list) else [image] for image in images]


def _is_archive(root: Path, out: Path | None) -> bool:
    """Whether the first images of a folder are DICOM: one picture of another kind, and it is a folder of images."""
    found = False
    for number, path in enumerate([root] if root.is_file() else files_below(root, [], out)):
        kind = file_kind(path) or (DICOM if path.name.upper() == "DICOMDIR" else None)
        if kind not in (None, DICOM):
            return False
        found = found or kind == DICOM
        if number >= LOOKED_AT and found:
            break
    return found


class ImageFolder:
    """Image files of a folder and of all below, each a study of its own; or one file.

    Args:
        root: the folder.
        out: folder of the results, passed over.
    """

    kind = "images"

    def __init__(self, root: Path, out: Path | None = None) -> None:
        self.root, self.out = root, out

    def _files(self, closed: list[SetAside]) -> Iterable[Path]:
        if self.root.is_file():
            return [self.root]
        return (path for path in files_below(self.root, closed, self.out) if file_kind(path) is not None)

    def __iter__(self) -> Iterator[Study]:
        closed: list[SetAside] = []
        root = _folder_of(self.root)
        for path in self._files(closed):
            yield study_of_files([path], root)
        for folder in closed:
            yield replace(study_of_files([folder.path], root), wrong=folder.reason)

    def count(self) -> int:
        closed: list[SetAside] = []
        return sum(1 for _ in self._files(closed)) + len(closed)


class ListedImages:
    """Images that a table lists, pairs, or volumes by channels.

    Args:
        files: of each study, in the network's order.
        root: folder from which they are named.
    """

    kind = "images"

    def __init__(self, files: Sequence[Sequence[str | os.PathLike[str]]], root: Path) -> None:
        self.files, self.root = files, root

    def __iter__(self) -> Iterator[Study]:
        return (study_of_files(some, self.root) for some in self.files)

    def count(self) -> int:
        return len(self.files)
