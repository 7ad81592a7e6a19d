"""What is found in DICOM files: instances, series of them, and files that are part of none."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..readers.series_files import SeriesFiles

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["Found", "Instance", "Series", "SetAside"]


@dataclass(frozen=True)
class Instance:
    """One DICOM image: its file, its header without pixels, and the number of its frames."""

    path: Path
    header: Dataset
    frames: int


@dataclass(frozen=True)
class Series:
    """One volume, or pictures that belong together.

    Attributes:
        study_uid, series_uid: of the study and the series; empty where the files do not say them.
        modality: such as ``"MR"``.
        description: of the series; what tells a stack from the others of its series stands behind it in brackets.
        instances: along the normal (volumes), or by instance number.
        spatial_dims: 3 for one volume, 2 for pictures.
        affine: ``(4, 4)``, RAS+ mm, of the array (X, Y, Z) that ``read_channels(series.source)`` gives; of a single
            picture with a place in space that of (X, Y, 1); else None.
        frames: of a volume inside one multi-frame instance: its frames (from 0) along the normal; else None.
    """

    study_uid: str
    series_uid: str
    modality: str
    description: str
    instances: tuple[Instance, ...]
    spatial_dims: int
    affine: np.ndarray | None
    frames: tuple[int, ...] | None = None

    @property
    def files(self) -> list[Path]:
        """Files of the instances."""
        return [instance.path for instance in self.instances]

    @cached_property
    def by_file(self) -> dict[str, Instance]:
        """The instances by their files."""
        return {str(instance.path): instance for instance in self.instances}

    @property
    def source(self) -> SeriesFiles:
        """What ``read_channels`` and ``read_volume`` take for a volume.

        Raises:
            ValueError: these are pictures.
        """
        if self.spatial_dims != 3 or self.affine is None:
            raise ValueError(f"series {self.series_uid} holds pictures, not a volume; read them one by one (pictures).")
        return SeriesFiles(tuple(self.files), self.affine, self.frames)

    @property
    def pictures(self) -> list[str]:
        """Files of pictures, and addresses of the frames of multi-frame ones (``cine.dcm/frames/3``), as
        ``LoadImage2D`` takes them."""
        return [
            address
            for instance in self.instances
            for address in (
                [str(instance.path)]
                if instance.frames == 1
                else [f"{instance.path}/frames/{number}" for number in range(instance.frames)]
            )
        ]


@dataclass(frozen=True)
class SetAside:
    """A file that is part of no series, and why.

    Attributes:
        path: the file.
        reason: in words, without a name of a file.
        lost: whether it is, or may have been, an image that somebody expects a result for: damaged, or slices that make
            no volume. Others (reports, localizers, copies, files that are not DICOM) are rightly passed over.
        uid: SOP Instance UID; empty where it could not be read.
    """

    path: Path
    reason: str
    lost: bool = False
    uid: str = ""


@dataclass(frozen=True)
class Found:
    """What a folder holds: volumes and pictures, and what was set aside."""

    series: tuple[Series, ...]
    set_aside: tuple[SetAside, ...]
