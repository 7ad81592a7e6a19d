"""A file that somebody dropped on the page: one picture, or the slices of a volume."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import MetaTensor

from ...data.errors import ImageReadError
from ...data.readers.files import DICOM, NIFTI, file_kind, file_stem
from ...data.readers.image import why_unreadable
from ...data.readers.limits import check_size
from ...data.readers.nifti import nifti_facts
from ...data.readers.volume import is_volume, read_volume
from ...transforms import LoadImage2D

__all__ = ["Opened", "eight_bits", "kept", "new_folder", "open_file", "picture_of", "remove_folder"]

RESULTS = "result-"


@dataclass(frozen=True)
class Opened:
    """Attributes:
    path: the file.
    slices: along the third axis of a volume; 0 for a picture.
    volume: the NIfTI file that holds the volume: ``path`` itself, or a copy of a DICOM file's.
    """

    path: Path
    slices: int = 0
    volume: Path | None = None

    @property
    def name(self) -> str:
        """The file's name, without its folder."""
        return self.path.name

    def plane(self, number: int, folder: Path) -> Path:
        """File of one slice, counted from 1: a NIfTI file with the place of the slice; of a picture the file itself.

        Raises:
            ImageReadError: a damaged volume.
        """
        if self.volume is None:
            return self.path
        import nibabel

        number = min(max(int(number), 1), self.slices)
        ending = ".nii" if self.volume.name.lower().endswith(".nii") else ".nii.gz"
        target = folder / f"{file_stem(self.path)}_slice{number:04d}{ending}"
        try:
            image: Any = nibabel.load(self.volume)
            part = image.slicer[:, :, number - 1 : number]
            if _is_scaled(image):
                part.set_data_dtype(np.float32)  # whole numbers of another slope would be other values
            nibabel.save(part, target)
        except Exception as error:  # nibabel raises many kinds for damaged files
            raise ImageReadError(f"{self.path}: {why_unreadable(self.path, error)}") from error
        return target


def _is_scaled(image: Any) -> bool:
    return (float(image.dataobj.slope), float(image.dataobj.inter)) != (1.0, 0.0)


def open_file(path: str | Path, folder: Path) -> Opened:
    """Look at a file: a picture, or a volume.

    Args:
        path: the file.
        folder: for a copy of a DICOM volume as NIfTI.

    Raises:
        TooLargeError: above the limit of voxels.
        ImageReadError: a damaged NIfTI file. Other damage is found by whoever reads the picture.
        ValueError: NaN in a DICOM volume.
    """
    file = Path(path)
    kind = file_kind(file)
    if kind == NIFTI and is_volume(file):
        facts = nifti_facts(file)
        check_size(file, facts.sides, 3, 3 if facts.color else 1, facts.value_bytes)
        return Opened(file, facts.sides[2], file)
    if kind == DICOM:
        try:
            values = read_volume(file, channels=None, scale=False)
        except ImageReadError:  # one slice, or damaged, which the reader of pictures says better
            return Opened(file)
        return Opened(file, values.shape[-1], _as_nifti(values, folder / f"{file_stem(file)}.nii"))
    return Opened(file)


def _as_nifti(values: MetaTensor, target: Path) -> Path:
    import nibabel

    array = values.numpy()[0] if len(values) == 1 else np.moveaxis(values.numpy(), 0, -1)
    nibabel.save(nibabel.Nifti1Image(array, np.asarray(values.affine, dtype=np.float64)), target)
    return target


def picture_of(path: str | Path) -> np.ndarray:
    """One picture or slice as the networks see it, uint8 ``(H, W, 3)`` at the size of its file.

    Raises:
        what :class:`~medssm_monai.transforms.LoadImage2D` raises.
    """
    values = LoadImage2D(channels=None, scale=True)(str(path)).numpy()
    return eight_bits(np.moveaxis(values, 0, -1))


def eight_bits(values: np.ndarray) -> np.ndarray:
    """``(H, W)`` or ``(H, W, C)`` in [0, 1], one or three channels, as a picture ``(H, W, 3)`` uint8."""
    whole = (np.clip(values, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)
    whole = whole[..., None] if whole.ndim == 2 else whole
    return np.repeat(whole, 3, axis=-1) if whole.shape[-1] == 1 else np.ascontiguousarray(whole[..., :3])


def new_folder() -> Path:
    """A folder for one result, in the private folder of the server."""
    return Path(tempfile.mkdtemp(prefix=RESULTS))


def remove_folder(folder: Path) -> None:
    """Remove a folder of :func:`new_folder`; no other."""
    if folder.name.startswith(RESULTS):
        shutil.rmtree(folder, ignore_errors=True)


def kept(values: np.ndarray, target: Path) -> np.ndarray:
    """The same values in a file, read from there when they are needed: results of large pictures of several users would
    not lie in memory at once."""
    np.save(target, values)
    return np.load(target, mmap_mode="c")
