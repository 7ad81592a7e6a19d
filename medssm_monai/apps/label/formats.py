"""File formats of images and labels: those of the rest of the package, and NRRD, which 3D Slicer writes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import itk
from monai.utils import optional_import

from ...data.readers import volume
from ...data.readers.files import NIFTI, NOT_IMAGES, SUFFIXES, file_kind, natural_key
from ...data.readers.limits import check_size

__all__ = [
    "CLASS_SUFFIX",
    "IMAGE_SUFFIXES",
    "NRRD",
    "channels_held",
    "check_nrrd",
    "image_kind",
    "image_names",
    "is_label",
    "is_volume",
    "label_names",
    "provide",
    "split_name",
]

nib, _ = optional_import("nibabel")

NRRD = "nrrd"
NRRD_SUFFIXES = (".seg.nrrd", ".nrrd")
IMAGE_SUFFIXES = (*SUFFIXES, *NRRD_SUFFIXES)
CLASS_SUFFIX = ".json"  # of a label that names a class
HEADER_BYTES = 1 << 20
AXES, LONGEST_SIDE = (2, 3, 4), 1 << 31
ENCODINGS = ("raw", "gzip", "gz", "ascii", "text", "txt")
TYPES = {  # names of numbers in NRRD headers (Teem's nrrd/enumsNrrd.c), and their bytes
    **dict.fromkeys(("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8", "uint8_t"), 1),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), 2),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), 2),
    **dict.fromkeys(
        ("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32", "uint32_t", "float"), 4
    ),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long", "signed long long int"), 8),
    **dict.fromkeys(("int64", "int64_t", "ulonglong", "unsigned long long", "unsigned long long int"), 8),
    **dict.fromkeys(("uint64", "uint64_t", "double"), 8),
}


def split_name(name: str) -> tuple[str, str]:
    """File name without its suffix, and the suffix as it is written (``.nii.gz`` and ``.seg.nrrd`` count as one)."""
    found = [suffix for suffix in (*IMAGE_SUFFIXES, CLASS_SUFFIX) if name.lower().endswith(suffix)]
    length = max(map(len, found), default=0)
    return (name[:-length], name[-length:]) if 0 < length < len(name) else (name, "")


def image_kind(path: Path) -> str | None:
    """:func:`~medssm_monai.data.readers.files.file_kind`, ``"nrrd"``, or None for a file that is no image."""
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
    """:func:`~medssm_monai.data.readers.volume.is_volume`, which NRRD files are asked too.

    Raises:
        ImageReadError: a damaged NIfTI file.
        ValueError: a NRRD file that cannot be read.
    """
    if image_kind(path) != NRRD:
        return volume.is_volume(path)
    header = _header(path)
    return sum(header.GetDimensions(axis) > 1 for axis in range(header.GetNumberOfDimensions())) >= 3


def channels_held(path: Path) -> int | None:
    """Channels that the header of a NIfTI or NRRD volume tells, 1 where there is no axis for them; None for other
    files, and for damaged ones, which their readers name."""
    kind = image_kind(path)
    try:
        if kind == NIFTI:
            shape = nib.load(path).shape
            return {3: 1, 4: shape[-1]}.get(len(shape))
        if kind == NRRD:
            header = _header(path)
            return header.GetDimensions(3) if header.GetNumberOfDimensions() == 4 else header.GetNumberOfComponents()
    except (OSError, ValueError, nib.filebasedimages.ImageFileError):
        return None
    return None


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
    """Refuse a NRRD file by its header, before ITK sees it: one that names another file for its pixels (reading it
    would read any file), or is of a kind that no editor of images writes (on some of these ITK ends the program, or
    works for minutes).

    Raises:
        ValueError: such a header, or none that ends.
        TooLargeError: above the limit of voxels.
    """
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES).replace(b"\r\n", b"\n")
    header, end, _ = head.partition(b"\n\n")
    if not end or not header.startswith(b"NRRD"):
        raise ValueError(f"{path.name}: no NRRD file with its pixels in it; save it as one file (.nrrd, not .nhdr).")
    lines = [line.split(b":", 1) for line in header.splitlines()[1:] if b":" in line and not line.startswith(b"#")]
    fields: dict[str, str] = {}
    for key, value in lines:
        name = key.decode("latin-1").strip().lower().replace(" ", "")
        if name in fields and not value.startswith(b"="):
            raise ValueError(f"{path.name}: its header has two fields {name!r}; save it again.")
        fields.setdefault(name, value.decode("latin-1").strip().lower())
    if "datafile" in fields:
        raise ValueError(f"{path.name}: its header names another file for the pixels; save image and header as one.")
    sizes = fields.get("sizes", "").split()
    axes = fields.get("dimension", "")
    plain = all(size.isdecimal() and 0 < int(size) < LONGEST_SIDE for size in sizes)
    if not plain or axes != str(len(sizes)) or len(sizes) not in AXES:
        raise ValueError(f"{path.name}: axes {axes!r} of sizes {sizes[:8]}; a NRRD image has 2 to 4, each with a size.")
    skipped = {fields.get(name, "0") for name in ("byteskip", "lineskip")}
    value_bytes = TYPES.get(fields.get("type", ""))
    if value_bytes is None or fields.get("encoding") not in ENCODINGS or skipped != {"0"}:
        known = f"types of numbers, encodings {', '.join(ENCODINGS)}, and pixels that start behind the header"
        raise ValueError(f"{path.name}: its header is of a kind that is not read; read are {known}.")
    check_size(path.name, [int(size) for size in sizes], 3, value_bytes=value_bytes)


def provide(source: Path, folder: Path, name: str) -> Path:
    """Put a file into ``folder`` under ``name`` and its own suffix, as a link where that is possible; NRRD files, which
    trainings do not read, as NIfTI. Studies may be links: files of several images may have one name.

    Raises:
        FileExistsError: there is one already.
        ValueError: a NRRD file that cannot be read, or holds several segmentations at once.
        TooLargeError: a NRRD file above the limit of voxels; nothing is decoded.
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
