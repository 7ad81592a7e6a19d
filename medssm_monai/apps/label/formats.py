"""File formats of images and labels: those of the rest of the package, and NRRD, which 3D Slicer writes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import itk

from ...data import volume
from ...data.files import NOT_IMAGES, SUFFIXES, file_kind, natural_key

__all__ = [
    "CLASS_SUFFIX",
    "IMAGE_SUFFIXES",
    "NRRD",
    "check_nrrd",
    "image_kind",
    "image_names",
    "is_label",
    "is_volume",
    "label_names",
    "provide",
    "split_name",
]

NRRD = "nrrd"
NRRD_SUFFIXES = (".seg.nrrd", ".nrrd")
IMAGE_SUFFIXES = (*SUFFIXES, *NRRD_SUFFIXES)
CLASS_SUFFIX = ".json"  # of a label that names a class
HEADER_BYTES = 1 << 20


def split_name(name: str) -> tuple[str, str]:
    """File name without its suffix, and the suffix as it is written (``.nii.gz`` and ``.seg.nrrd`` count as one)."""
    found = [suffix for suffix in (*IMAGE_SUFFIXES, CLASS_SUFFIX) if name.lower().endswith(suffix)]
    length = max(map(len, found), default=0)
    return (name[:-length], name[-length:]) if 0 < length < len(name) else (name, "")


def image_kind(path: Path) -> str | None:
    """:func:`~medssm_monai.data.files.file_kind`, ``"nrrd"``, or None for a file that is no image."""
    return NRRD if path.name.lower().endswith(NRRD_SUFFIXES) else file_kind(path)


def is_label(path: Path) -> bool:
    """Whether a file can be a label: a mask, or a JSON file that names a class."""
    return path.suffix.lower() == CLASS_SUFFIX or image_kind(path) is not None


def _visible_files(folder: Path) -> Iterable[Path]:
    found = [path for path in folder.iterdir() if not path.name.startswith(".") and path.is_file()]
    return sorted(found, key=lambda path: natural_key(path.name))


def image_names(folder: Path) -> list[str]:
    """Names of the images in a folder, in natural order."""
    return [
        path.name
        for path in _visible_files(folder)
        if image_kind(path) and not split_name(path.name)[0].lower().endswith(NOT_IMAGES)
    ]


def label_names(folder: Path) -> list[str]:
    """Names of the labels in a folder, in natural order."""
    return [path.name for path in _visible_files(folder) if is_label(path)]


def is_volume(path: Path) -> bool:
    """:func:`~medssm_monai.data.volume.is_volume`, which NRRD files are asked too.

    Raises:
        ImageReadError: a damaged NIfTI file.
        ValueError: a NRRD file that cannot be read.
    """
    if image_kind(path) != NRRD:
        return volume.is_volume(path)
    header = _header(path)
    return sum(header.GetDimensions(axis) > 1 for axis in range(header.GetNumberOfDimensions())) >= 3


def _header(path: Path) -> itk.ImageIOBase:
    check_nrrd(path)
    header = itk.ImageIOFactory.CreateImageIO(str(path), itk.CommonEnums.IOFileMode_ReadMode)
    try:
        header.SetFileName(str(path))
        header.ReadImageInformation()
    except (AttributeError, RuntimeError) as error:  # None for a file that is no NRRD
        raise ValueError(f"{path.name}: no readable NRRD file.") from error
    return header


def check_nrrd(path: Path) -> None:
    """Refuse a NRRD file whose header names another file as that of its pixels: reading it would read any file.

    Raises:
        ValueError: such a header, or none that ends.
    """
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES).replace(b"\r\n", b"\n")
    header, end, _ = head.partition(b"\n\n")
    if not end:
        raise ValueError(f"{path.name}: no NRRD file with its pixels in it; save it as one file (.nrrd, not .nhdr).")
    fields = [line.split(b":", 1)[0].strip().lower().replace(b" ", b"") for line in header.splitlines()]
    if b"datafile" in fields:
        raise ValueError(f"{path.name}: its header names another file for the pixels; save image and header as one.")


def provide(source: Path, folder: Path, name: str) -> Path:
    """Put a file into ``folder`` under ``name`` and its own suffix, as a link where that is possible; NRRD files, which
    trainings do not read, as NIfTI. (Studies may be links: files of several images may have one name.)

    Raises:
        FileExistsError: there is one already.
        ValueError: a NRRD file that cannot be read, or holds several segmentations at once.
    """
    nrrd = image_kind(source) == NRRD
    target = folder / f"{name}{'.nii.gz' if nrrd else split_name(source.name)[1]}"
    folder.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(target):  # never write through a link: it leads to the user's image
        raise FileExistsError(f"{target} exists: two images have the name {name!r}; rename one of them.")
    if nrrd:
        _as_nifti(source, target)
        return target
    try:
        os.symlink(source, target)
    except OSError:  # Windows without the right to make links
        shutil.copy2(source, target)
    return target


def _as_nifti(source: Path, target: Path) -> None:
    layers = _header(source).GetNumberOfComponents()
    if layers > 1 and source.name.lower().endswith(".seg.nrrd"):
        raise ValueError(f"{source.name}: holds {layers} overlapping segmentations; export one of them as a label map.")
    try:
        itk.imwrite(itk.imread(str(source)), str(target), compression=True)
    except (RuntimeError, TypeError, KeyError) as error:  # of ITK for damaged files, and for pixels it has no type for
        raise ValueError(f"{source.name}: no readable NRRD file ({str(error).strip().splitlines()[-1]}).") from error
