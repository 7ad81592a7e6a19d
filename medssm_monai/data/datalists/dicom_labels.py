"""Classes of the images of a DICOM archive by a table: a row for each patient, study, series or image."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...utils.shown_names import remember_called, shown_name
from ...utils.text_files import printable
from ..errors import DatalistError, Problem
from ..readers.files import natural_key
from ..studies.find import find_series
from ..studies.matching import Target, targets_of
from .samples import Item, Samples
from .split_files import PARTS
from .tables import Table, read_table

__all__ = ["dicom_samples", "find_labels_table"]

logger = logging.getLogger(__name__)
KEYS = {  # from the finest on: what a row is found by, and how its column is called
    "instance": ("sop_instance_uid", "SOPInstanceUID", "instance_uid"),
    "series": ("series_uid", "series_instance_uid", "SeriesInstanceUID"),
    "study": ("study_uid", "study_instance_uid", "StudyInstanceUID"),
    "patient": ("patient_id", "PatientID"),
}
LABEL, PART = ("label", "class", "diagnosis"), ("part", "split")
PART_NAMES = {
    **dict.fromkeys(("train", "training"), "training"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
SHOWN = 12


@dataclass(frozen=True)
class _Row:
    """One row: its number in the file, what it is found by, and what it says."""

    number: int
    kind: str
    key: str
    label: str
    part: str

    @property
    def shown(self) -> str:
        """Row and UID; of a patient the row alone."""
        return f"row {self.number}" if self.kind == "patient" else f"row {self.number} ({self.kind} {self.key})"


def find_labels_table(root: Path) -> Path | None:
    """The table in a folder that has a column of UIDs or patients and one of labels; None where there is none.

    Raises:
        DatalistError: several.
    """
    found = [path for path in sorted(root.glob("*.csv")) if path.is_file() and _is_labels(path)]
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise DatalistError(f"{root}: several tables of labels ({names}); name one with labels_file.")
    return found[0] if found else None


def _is_labels(path: Path) -> bool:
    try:
        table = read_table(path)
    except DatalistError:
        return False
    return table.column(LABEL) is not None and any(table.column(names) is not None for names in KEYS.values())


def dicom_samples(
    root: Path, labels_file: Path | None, class_names: Sequence[str] | None = None, spatial_dims: int = 2
) -> Samples:
    """Images of an archive with the classes that a table gives them.

    The table has a column ``label`` and one of ``sop_instance_uid``, ``series_uid``, ``study_uid`` and ``patient_id``;
    of several in a row the finest counts. A column ``part`` (train, val, test) gives the parts; otherwise they are
    drawn by patients.

    Args:
        root: folder of the images, and of the table where ``labels_file`` is None.
        labels_file: the table.
        class_names: classes in label order; rows of others are left out. None takes those of the table, sorted.
        spatial_dims: 2 for pictures and frames, 3 for volumes.

    Returns:
        items with ``image`` (file, address of a frame, or sorted files of a volume), ``label``, ``name`` (UID) and
        ``group`` (the patient, by a digest).

    Raises:
        ImportError: pydicom is not installed.
        FileNotFoundError: no such table.
        DatalistError: no table, none of its columns.
    """
    path = find_labels_table(root) if labels_file is None else labels_file
    if path is None:
        raise DatalistError(f"{root}: no table with patient_id, series_uid, ... and label; name one with labels_file.")
    if not path.is_file():
        raise FileNotFoundError(f"labels_file {path} does not exist; correct the path or leave it out.")
    table = read_table(path)
    problems: list[Problem] = []
    rows = _rows(table, problems)
    names = list(class_names or sorted({row.label for row in rows}, key=natural_key))
    others = [row for row in rows if row.label not in names]
    if others:
        logger.warning(
            "%s: %d row(s) of no named class are left out: %s",
            printable(shown_name(path)),
            len(others),
            printable(", ".join(sorted({row.label for row in others}))),
        )
    targets = targets_of(find_series(root).series)
    matched = _matched([row for row in rows if row.label in names], targets, spatial_dims, problems, path)
    parts = {PART_NAMES[row.part.lower()] for row, _ in matched if row.part}
    samples = Samples(names, problems=problems, rule=f"the column part of {shown_name(path)}" if parts else "")
    lists: dict[str, list[Item]] = {part: [] for part in PARTS}
    for row, target in matched:
        remember_called(str(target.source), target.name)
        item = {"image": target.source, "label": names.index(row.label), "name": target.name, "group": target.patient}
        lists[PART_NAMES[row.part.lower()] if row.part else "training"].append(item)
    samples.pool = lists["training"]
    samples.validation = lists["validation"] if "validation" in parts else None
    samples.test = lists["test"] if "test" in parts else None
    with_images = {row.label for row, _ in matched}
    empty = [name for name in names if name not in with_images]
    samples.problems += [Problem("empty class", name, f"no image of it; {path.name}") for name in empty]
    return samples


def _rows(table: Table, problems: list[Problem]) -> list[_Row]:
    """Rows that say a class, those that contradict each other among the problems."""
    columns = {kind: table.column(names) for kind, names in KEYS.items()}
    label, part = table.column(LABEL), table.column(PART)
    if label is None or all(column is None for column in columns.values()):
        raise DatalistError(
            f"{table}: expected a column label and one of {', '.join(names[0] for names in KEYS.values())}; the header "
            f"is {', '.join(table.rows[0])}."
        )
    frame = table.frame()
    found: list[_Row] = []
    first: dict[tuple[str, str], _Row] = {}
    some = part is not None and any(frame.iloc[:, part] != "")
    for number, cells in enumerate(frame.itertuples(index=False), start=2):
        keys = ((kind, cells[column].strip()) for kind, column in columns.items() if column is not None)
        kind, key = next(((kind, key) for kind, key in keys if key), ("", ""))
        where = f"{table.path.name}, row {number}"
        said = cells[part].strip() if part is not None else ""
        if not key or not cells[label].strip():
            problems.append(Problem("row without a label", where, "no label" if key else "no patient and no UID"))
            continue
        if some and said.lower() not in PART_NAMES:
            problems.append(Problem("row of no part", where, f"{said or 'empty'}; expected train, val or test"))
            continue
        row = _Row(number, kind, key, cells[label].strip(), said)
        before = first.setdefault((kind, key), row)
        if (before.label, before.part.lower()) != (row.label, row.part.lower()):
            detail = f"{_says(before)} and {_says(row)}"
            problems.append(Problem("rows that contradict each other", f"{table.path.name}, {row.shown}", detail))
        elif before is row:
            found.append(row)
    return found


def _says(row: _Row) -> str:
    return f"row {row.number}: {row.label}{f', {row.part}' if row.part else ''}"


def _keys(target: Target) -> Iterable[tuple[str, str]]:
    """What rows an image may be found by."""
    header = target.series.instances[0].header
    yield from (("instance", uid) for uid in sorted(target.uids))
    yield "series", target.series.series_uid
    yield "study", target.series.study_uid
    yield "patient", str(header.get("PatientID") or "").strip()


def _matched(
    rows: Sequence[_Row], targets: Sequence[Target], spatial_dims: int, problems: list[Problem], table: Path
) -> list[tuple[_Row, Target]]:
    """Images with the row that says their class."""
    of_key = {(row.kind, row.key): row for row in rows}
    found: list[tuple[_Row, Target]] = []
    seen: set[int] = set()
    wrong: dict[int, Target] = {}
    left: list[Target] = []
    for target in sorted(targets, key=lambda one: natural_key(one.name)):
        own = [of_key[key] for key in _keys(target) if key in of_key]
        if target.series.spatial_dims != spatial_dims:
            wrong |= {row.number: target for row in own}
            continue
        seen |= {row.number for row in own}
        if not own:
            left.append(target)
        elif len({(row.label, row.part.lower()) for row in own}) > 1:
            detail = "; ".join(map(_says, own))
            problems.append(Problem("rows that contradict each other", f"{table.name}, image {target.name}", detail))
        else:
            found.append((own[0], target))
    where = printable(shown_name(table))
    kind = "volume among pictures" if spatial_dims == 2 else "picture among volumes"
    lost = [row for row in rows if row.number not in seen and row.number not in wrong]
    problems += [
        Problem(kind, f"{table.name}, {row.shown}", f"the images are of series {wrong[row.number].series.series_uid}")
        for row in rows
        if row.number in wrong and row.number not in seen
    ]
    _tell(where, "row(s) without an image", [row.shown for row in lost])
    _tell(where, "image(s) without a row", [target.name for target in left])
    return found


def _tell(where: str, what: str, names: Sequence[str]) -> None:
    if names:
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        listed = printable(", ".join(names[:SHOWN]))
        logger.warning("%s: %d %s are left out: %s%s", where, len(names), what, listed, more)
