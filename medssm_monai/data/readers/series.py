"""Volumes as items of a data set: NIfTI files, and folders that hold one DICOM series each."""

from __future__ import annotations

from pathlib import Path

from monai.utils import optional_import

from ..errors import DatalistError, Problem
from .dicom_headers import object_without_pixels
from .files import DICOM, file_kind, list_images, natural_key

__all__ = ["dicom_series", "holds_series", "item_problem", "list_items", "series_files"]

itk, _ = optional_import("itk")


def holds_series(folder: Path) -> bool:
    """Whether DICOM pictures lie in a folder (links that lead nowhere are not looked at)."""
    files = (path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith("."))
    return any(file_kind(path) == DICOM and object_without_pixels(path) is None for path in files)


def dicom_series(folder: Path) -> str:
    """Identifier of the one series of pictures in a folder, for the ``series_name`` of MONAI's ``ITKReader``.

    Raises:
        DatalistError: as :func:`series_files`.
    """
    return next(iter(_one_series(folder)))


def series_files(folder: Path) -> list[Path]:
    """Files of the one series of pictures in a folder, along the normal of its slices.

    Raises:
        DatalistError: no series, or more than one: each with its number of files and one of them.
    """
    return next(iter(_one_series(folder).values()))


def _one_series(folder: Path) -> dict[str, list[Path]]:
    """Identifier and files of the one series of pictures in a folder.

    Reports, presentation states and the like beside the slices do not count.

    Raises:
        DatalistError: no series, or more than one: each with its number of files and one of them.
    """
    names = itk.GDCMSeriesFileNames.New()  # as ITKReader sorts the files of a folder
    names.SetUseSeriesDetails(True)
    names.AddSeriesRestriction("0008|0021")
    names.SetDirectory(str(folder))
    found: dict[str, list[Path]] = {}
    for uid in names.GetSeriesUIDs():
        pictures = [file for file in map(Path, names.GetFileNames(uid)) if object_without_pixels(file) is None]
        if pictures:
            found[uid] = pictures
    if not found:
        raise DatalistError([Problem("no images", str(folder), "no DICOM pictures in the folder")])
    if len(found) > 1:
        counts = ", ".join(f"{len(files)} file(s) with {files[0].name}" for files in found.values())
        raise DatalistError([Problem("several DICOM series", str(folder), f"{len(found)} series: {counts}")])
    return found


def _single_slice(file: Path) -> bool:
    reader = itk.GDCMImageIO.New()
    reader.SetFileName(str(file))
    try:
        reader.ReadImageInformation()
    except RuntimeError:  # damaged: said where it is read
        return True
    return reader.GetNumberOfDimensions() < 3 or reader.GetDimensions(2) == 1


def list_items(folder: Path, volumes: bool = False, report: bool = True) -> list[Path]:
    """What a folder holds to work on, in natural order: image files; with ``volumes`` also subfolders of DICOM files,
    one series each. A folder that is itself one series (slices, no subfolder of them) is one item.

    Raises:
        DatalistError: links that lead nowhere (:func:`~.files.list_images`).
    """
    files = list_images(folder, report)
    if not volumes:
        return files
    subfolders = (path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    series = [path for path in subfolders if holds_series(path)]
    if not series and len(files) > 1 and {file_kind(path) for path in files} == {DICOM} and _single_slice(files[0]):
        return [folder]
    return sorted([*files, *series], key=lambda path: natural_key(path.name))


def item_problem(path: Path, volumes: bool = False) -> Problem | None:
    """Why a path cannot be an item: not there, no known image, or a folder without one DICOM series; None for one
    that can."""
    if path.is_dir() and volumes:
        try:
            dicom_series(path)
        except DatalistError as error:
            return error.problems[0]
        return None
    if path.is_dir():
        return Problem("unreadable file", str(path), "a folder; only volumes (spatial_dims 3) are read from folders")
    if not path.is_file():
        return Problem("file not found", str(path))
    kind = file_kind(path)
    what = object_without_pixels(path) if kind == DICOM or path.name.upper() == "DICOMDIR" else None
    if what is not None:
        return Problem("no picture", str(path), f"DICOM {what}")
    return None if kind else Problem("unreadable file", str(path), "its suffix is no known image format")
