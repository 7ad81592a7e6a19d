"""Which image of a folder a segmentation or structure set is about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from ..readers.segments import Grid, SegmentsError
from ..readers.series_files import SeriesFiles
from .annotations import Annotation
from .headers import quiet_pydicom, require_pydicom
from .series import Instance, Series, SetAside

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["MatchError", "Target", "match", "patient_key", "targets_of", "why_missing"]

SHOWN = 3


class MatchError(SegmentsError):
    """An object that belongs to no image, or to several."""


@dataclass(frozen=True)
class Target:
    """One image that may be labeled: a volume, a picture, or a frame.

    Attributes:
        name: UID of the series (volumes) or the instance (pictures); no two have the same.
        series: that holds it.
        source: what reads it: sorted files, a file, or the address of a frame.
        grid: its pixels or voxels.
        uids: of its instances.
        patient: a name that says nothing and is the same for all images of a patient.
    """

    name: str
    series: Series
    source: SeriesFiles | str
    grid: Grid
    uids: frozenset[str]
    patient: str


def targets_of(series: Iterable[Series]) -> list[Target]:
    """Every volume and every picture of sorted series."""
    found: list[Target] = []
    several = Counter(one.series_uid for one in series if one.spatial_dims == 3)
    numbers: Counter[str] = Counter()
    for one in series:
        if one.spatial_dims == 2:
            found += _pictures(one)
            continue
        numbers[one.series_uid] += 1
        name = f"{one.series_uid}_{numbers[one.series_uid]}" if several[one.series_uid] > 1 else one.series_uid
        header = one.instances[0].header
        count = len(one.instances) if one.frames is None else len(one.frames)
        grid = Grid((int(header.Columns), int(header.Rows), count), one.affine, _text(header, "FrameOfReferenceUID"))
        uids = frozenset(_text(instance.header, "SOPInstanceUID") for instance in one.instances)
        found.append(Target(name, one, one.source, grid, uids, patient_key(header)))
    return found


def _pictures(series: Series) -> list[Target]:
    """Of a series of pictures."""
    found = []
    owners = [instance for instance in series.instances for _ in range(instance.frames)]
    frames = [frame for instance in series.instances for frame in range(instance.frames)]
    for instance, frame, source in zip(owners, frames, series.pictures, strict=True):
        uid = _text(instance.header, "SOPInstanceUID")
        number = frame if instance.frames > 1 else None
        name = uid if number is None else f"{uid}_frame{number + 1}"
        found.append(
            Target(
                name,
                series,
                source,
                _grid(instance, series, uid, number),
                frozenset([uid]),
                patient_key(instance.header),
            )
        )
    return found


def _grid(instance: Instance, series: Series, uid: str, frame: int | None) -> Grid:
    header = instance.header
    place = _text(header, "FrameOfReferenceUID")
    return Grid((int(header.Rows), int(header.Columns)), series.affine, place, uid, frame)


def patient_key(header: Dataset) -> str:
    """A name for a patient that says nothing: a digest of the ID, or of the study where there is none.

    Who gave the ID does not count: patients of two hospitals with one ID stay together, which tears nobody;
    neither does upper or lower case.
    """
    given = _text(header, "PatientID").lower() or f"study {_text(header, 'StudyInstanceUID')}"
    return f"patient {blake2b(given.encode(), digest_size=8).hexdigest()}"


def _text(header: Dataset, keyword: str) -> str:
    return str(header.get(keyword) or "").strip()


def match(annotation: Annotation, targets: Sequence[Target], spatial_dims: int) -> list[Target]:
    """Images that an object labels: one volume, or pictures.

    By the images it was made of, else those it refers to, else the series; an object without any reference by its
    frame of reference, within its study.

    Raises:
        MatchError: no such image in the folder, only pictures where a volume is wanted (or the other way round), or
            several volumes.
    """
    named = [target for target in targets if target.uids & annotation.instances]
    if not annotation.instances:
        named = [target for target in targets if target.series.series_uid in annotation.series]
    if not annotation.instances and not annotation.series:
        same = [target for target in targets if target.series.study_uid == annotation.study_uid]
        named = [target for target in same if target.grid.frame_of_reference in annotation.places]
    if not named:
        said = ", ".join(sorted(annotation.series)) or "no series that it names"
        raise MatchError("segmentation without image", f"of the series {said}")
    fitting = [target for target in named if target.series.spatial_dims == spatial_dims]
    if not fitting:
        kind = "picture among volumes" if spatial_dims == 3 else "volume among pictures"
        raise MatchError(kind, f"the segmentation is of series {named[0].series.series_uid}")
    return _volume(annotation, fitting) if spatial_dims == 3 else _of_pictures(annotation, fitting)


def _volume(annotation: Annotation, named: Sequence[Target]) -> list[Target]:
    ranks = [(len(t.uids & annotation.sources.keys()), len(t.uids & annotation.instances)) for t in named]
    best = [target for target, rank in zip(named, ranks, strict=True) if rank == max(ranks)]
    if len(best) > 1:
        raise MatchError("segmentation of several images", ", ".join(target.name for target in best))
    return best


def _of_pictures(annotation: Annotation, named: Sequence[Target]) -> list[Target]:
    made = [target for target in named if target.uids & annotation.sources.keys()] or list(named)
    found = []
    for target in made:
        frames = annotation.sources.get(target.grid.instance, frozenset())
        if target.grid.frame is None or not frames or target.grid.frame + 1 in frames:
            found.append(target)
    return found


def why_missing(annotation: Annotation, set_aside: Iterable[SetAside]) -> str:
    """Why the images that an object refers to are part of no series, where their files are there; else empty."""
    pydicom = require_pydicom()
    reasons: Counter[str] = Counter()
    for aside in set_aside:
        try:
            with pydicom.config.disable_value_validation(), quiet_pydicom():
                header = pydicom.dcmread(aside.path, specific_tags=["SOPInstanceUID", "SeriesInstanceUID"])
        except Exception:  # pydicom raises many kinds for what is no DICOM file
            continue
        known = annotation.instances or annotation.series
        if {_text(header, "SOPInstanceUID"), _text(header, "SeriesInstanceUID")} & known:
            reasons[aside.reason] += 1
    return "; ".join(f"{count} of its files: {reason}" for reason, count in reasons.most_common(SHOWN))
