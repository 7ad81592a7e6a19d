"""What there is to predict in a folder: volumes, pictures, pairs and channels, by what a network takes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from ..bundle.tasks import FusionTask
from ..data.studies.channels import channel_of, on_one_grid
from ..data.studies.series import Found, Instance, Series
from ..data.studies.sort import without_place
from .selection import Selection
from .sources import picture_of

if TYPE_CHECKING:
    from ..bundle.predictor import Predictor

__all__ = ["Job", "Passed", "plan_jobs"]

DIGITS = 16
WITHOUT_PLACE = (
    "its slices state no valid position, orientation and pixel spacing, and so make no volume; export it again"
)
ON_ONE_GRID = "on the same voxels of one frame of reference"


@dataclass(frozen=True)
class Job:
    """One prediction.

    Attributes:
        series: one; or one for each source of a fusion, or each channel of a volume, in the network's order.
        pictures: of each of them the file, or the address of a frame (``cine.dcm/frames/3``); empty for volumes.
    """

    series: tuple[Series, ...]
    pictures: tuple[str, ...] = ()

    @property
    def images(self) -> list[tuple[Series, tuple[Instance, ...], str]]:
        """Of each series the instances that are used, and which of their frames, in words."""
        if not self.pictures:
            return [(one, one.instances, str(one.frames)) for one in self.series]
        found = [picture_of(one, picture) for one, picture in zip(self.series, self.pictures, strict=True)]
        return [(one, (instance,), str(frame)) for one, (instance, frame) in zip(self.series, found, strict=True)]

    @property
    def key(self) -> str:
        """Hexadecimal, the same in every run: it follows from the identifiers of the images."""
        parts = []
        for one, instances, frame in self.images:
            uids = [str(instance.header.get("SOPInstanceUID", "")) for instance in instances]
            parts += [one.study_uid, one.series_uid, *uids, frame]
        return hashlib.sha256("|".join(parts).encode()).hexdigest()[:DIGITS]

    @property
    def instance_uid(self) -> str:
        """SOP Instance UID of the picture, or of the first slice; of several series of the first one's."""
        _, instances, _ = self.images[0]
        return str(instances[0].header.get("SOPInstanceUID", ""))


@dataclass(frozen=True)
class Passed:
    """A series that nothing is predicted for, and why.

    Attributes:
        series: the series.
        reason: in words.
        lost: whether somebody expects a result for it: slices that lack what makes them a volume.
    """

    series: Series
    reason: str
    lost: bool = False


def plan_jobs(found: Found, predictor: Predictor, selection: Selection | None = None) -> tuple[list[Job], list[Passed]]:
    """All predictions that a network can make of what a folder holds.

    A network of volumes takes each volume, one of pictures each picture and each frame of multi-frame ones. A fusion
    takes two series of a study, a network with channels in series of their own as many, all on the same voxels (or
    pictures of one size, one after the other): those that the rules name; without a rule, those in whose description
    the channel's name stands, and of a fusion the only two there are, in the order of their series numbers.

    Args:
        found: by :func:`~medssm_monai.data.studies.find_series`.
        predictor: of the bundle.
        selection: which series; None takes all.

    Returns:
        jobs, and the series that take part in none.

    Raises:
        ValueError: rules for sources that the network does not have.
    """
    selection = selection or Selection()
    task = predictor.task
    names = task.sources if isinstance(task, FusionTask) else predictor.channel_files
    unknown = [name for name in selection.sources if name not in names]
    if unknown:
        raise ValueError(
            f"{predictor.name} has no source {', '.join(unknown)}; "
            + (f"it has {', '.join(names)}." if names else "it takes one series at a time.")
        )
    dims = int(predictor.settings.get("spatial_dims") or 2)
    passed, chosen = [], []
    for series in found.series:
        reason = selection.why_not(series)
        if reason:
            passed.append(Passed(series, reason))
        elif dims == 3 and without_place(series):
            passed.append(Passed(series, WITHOUT_PLACE, lost=True))
        elif reason := _misfit(series, dims):
            passed.append(Passed(series, reason))
        else:
            chosen.append(series)
    if not names:
        return [job for series in chosen for job in _each(series)], passed
    jobs: list[Job] = []
    for study in _studies(chosen):
        combinations, reason = _combine(study, names, selection, isinstance(task, FusionTask))
        jobs += [job for combination in combinations for job in _together(combination)]
        used = {id(series) for combination in combinations for series in combination}
        passed += [Passed(series, reason) for series in study if id(series) not in used]
    return jobs, passed


def _misfit(series: Series, dims: int) -> str:
    if series.spatial_dims == dims:
        return ""
    return "a volume; the network takes pictures" if dims == 2 else "pictures; the network takes volumes"


def _each(series: Series) -> list[Job]:
    if series.spatial_dims == 3:
        return [Job((series,))]
    return [Job((series,), (picture,)) for picture in series.pictures]


def _studies(series: Iterable[Series]) -> list[list[Series]]:
    studies: dict[str, list[Series]] = {}
    for one in series:
        studies.setdefault(one.study_uid, []).append(one)
    return list(studies.values())


def _number(series: Series) -> tuple[float, str]:
    try:
        return float(series.instances[0].header.get("SeriesNumber")), series.series_uid
    except (TypeError, ValueError):
        return float("inf"), series.series_uid


def _combine(
    study: Sequence[Series], names: Sequence[str], selection: Selection, fusion: bool
) -> tuple[list[tuple[Series, ...]], str]:
    """The series that belong together, in the order of the names, and why others do not."""
    wanted = " and ".join(names)
    if fusion and not selection.sources:
        pairs: list[tuple[Series, ...]] = list(_pairs_on_one_grid(study))
        if len(pairs) == 1:
            return pairs, f"no partner {ON_ONE_GRID}"
        if not pairs:
            return [], f"no two series of the study lie {ON_ONE_GRID}, as {wanted} must; register them first"
        return [], f"{len(pairs)} pairs of the study lie on the same voxels; say which is {wanted} by rules for sources"
    candidates = [_candidates(study, name, names, selection, fusion) for name in names]
    missing = [name for name, some in zip(names, candidates, strict=True) if not some]
    if missing:
        return [], f"the study has no series for {', '.join(missing)}; give rules for sources"
    found = [
        combination
        for combination in product(*candidates)
        if len({id(one) for one in combination}) == len(names)
        and all(on_one_grid(combination[0], other) for other in combination[1:])
    ]
    if not found:
        return [], f"the series for {wanted} do not lie {ON_ONE_GRID}; register them first"
    if len({id(one) for combination in found for one in combination}) < len(found) * len(names):
        return [], f"several series fit one of {wanted}; narrow the rules for sources"
    return found, f"no source: {wanted}"


def _candidates(
    study: Sequence[Series], name: str, names: Sequence[str], selection: Selection, fusion: bool
) -> list[Series]:
    """Series that may be the source or channel of a name."""
    if name in selection.sources:
        return [one for one in study if selection.is_source(one, name)]
    others = [one for one in study if not any(selection.is_source(one, other) for other in selection.sources)]
    return others if fusion else [one for one in others if channel_of(one.description, names) == name]


def _pairs_on_one_grid(study: Sequence[Series]) -> Iterator[tuple[Series, Series]]:
    ordered = sorted(study, key=_number)
    for number, one in enumerate(ordered):
        yield from ((one, other) for other in ordered[number + 1 :] if on_one_grid(one, other))


def _together(series: tuple[Series, ...]) -> list[Job]:
    if series[0].spatial_dims == 3:
        return [Job(series)]
    return [Job(series, pictures) for pictures in zip(*(one.pictures for one in series), strict=True)]
