"""Datalists for image fusion: two registered sources of one name, from two folders or by suffix."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from monai.config import PathLike

from ...utils.shown_names import shown_name
from ...utils.text_files import printable
from ..demo.fusion import FUSION_DEMO_SOURCES, prepare_fusion_demo
from ..demo.segmentation import DEMO
from ..errors import DatalistError, Problem
from ..readers.files import file_stem, natural_key
from ..readers.series import holds_series, list_items
from ..root import existing_folder, is_demo
from .checks import raise_for
from .classification_split_rules import torn_groups
from .folder_names import folders_by_name, part_folders
from .groups import add_groups
from .split_files import PARTS, apply_split, read_split
from .split_rules import FRACTIONS, SPLITS, draw_parts, every_tenth

__all__ = ["fusion_datalists", "match_sources"]

logger = logging.getLogger(__name__)
Pairs = list[dict[str, str]]


def fusion_datalists(
    dataset_dir: PathLike,
    sources: Sequence[str],
    split_file: PathLike | None = None,
    split: str = "auto",
    seed: int = 0,
    group_column: str | None = None,
    metadata_file: PathLike | None = None,
    require: Sequence[str] = ("training", "validation"),
    spatial_dims: int = 2,
    demo_dir: PathLike | None = None,
    demo_size: int | None = None,
    demo_counts: Sequence[int] | None = None,
) -> dict[str, Pairs]:
    """Datalists of registered pairs for image fusion.

    Args:
        dataset_dir: folder with the pairs, or with part folders ``train``, ``val`` and ``test`` of them (also
            ``training``, ``valid``, ``validation``, ``testing``; upper or lower case); or ``"demo"`` for the embedded
            synthetic demo set, which has sources of its own. There is no fallback.
        sources: names of source A and source B. Two folder names, ``("MRI", "CT")``: images of the same stem in the two
            folders. Two endings with an underscore first, ``("_t1ce", "_flair")``: files of the folder and its
            subfolders that differ in the ending of their stems only.
        split_file: JSON of names per part (:func:`~medssm_monai.data.read_split`) for all pairs together; replaces the
            part folders.
        split: ``"auto"``, ``"random"`` or ``"by_name"``, see below.
        seed: of the draw.
        group_column: column of a table whose equal values (a patient) must stay in one part.
        metadata_file: that table; None looks for one in the folder.
        require: parts that must not be empty.
        spatial_dims: 2 or 3, of the demo set; with 3, folders of a DICOM series are images too.
        demo_dir, demo_size, demo_counts: of the demo set (:func:`~medssm_monai.data.prepare_fusion_demo`).

    Without a split file, 70/15/15 % of the pairs, or a tenth of the training folder where only a validation part is
    missing, are drawn by :func:`~.split_rules.draw_parts`: at random, or in blocks where the names are numbered in
    series. ``split="by_name"`` takes contiguous blocks of 70/15/15 %, or every 10th training pair (the first included).

    Returns:
        ``{"training": [...], "validation": [...], "test": [...]}``; each item has ``image_a``, ``image_b`` (paths) and
        ``name``. The files are not opened; their values and geometry are checked where they are loaded
        (:class:`~medssm_monai.transforms.MatchPaird`).

    Raises:
        FileNotFoundError, NotADirectoryError: ``dataset_dir`` or ``split_file`` does not exist.
        DatalistError: images without partner, two files of one name, empty folders and parts, all of them at once.
        ValueError: not two different sources, unknown parts or ``split``, fewer groups than parts.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}.")
    unknown = [part for part in require if part not in PARTS]
    if unknown:
        raise ValueError(f"require names unknown parts {unknown}; the parts are {', '.join(PARTS)}.")
    if is_demo(dataset_dir, (DEMO,)):
        logger.warning("dataset_dir is %r: synthetic demo images, not real data", DEMO)
        root, sources = prepare_fusion_demo(demo_dir, spatial_dims, demo_size, demo_counts), FUSION_DEMO_SOURCES
    else:
        sources = sources if isinstance(sources, str) else [str(source) for source in sources]
        _check_sources(sources)
        root = existing_folder(dataset_dir, "pairs of images")
    folders = part_folders(root) or {"": root}
    found: dict[str, Pairs] = {}
    problems: list[Problem] = []
    for part, folder in folders.items():
        found[part], offenders = match_sources(folder, sources, spatial_dims == 3)
        problems += offenders
    every = [pair for pairs in found.values() for pair in pairs]
    if group_column is not None:
        raise_for(problems)
        problems += add_groups(every, root, group_column, metadata_file)
    if split_file is not None:
        problems += _repeated_names(every)
        raise_for(problems)
        lists, rule = apply_split(every, read_split(split_file), str(split_file)), f"by {shown_name(split_file)}"
    else:
        raise_for(problems)
        lists, rule = _cut(found, split, seed, printable(shown_name(root)))
    problems += torn_groups(lists)
    problems += [Problem("empty part", part, str(root)) for part in require if not lists[part]]
    raise_for(problems)
    sizes = ", ".join(f"{len(pairs)} {part}" for part, pairs in lists.items())
    logger.info("%s: %s pairs of %s and %s; split: %s", printable(shown_name(root)), sizes, *sources, printable(rule))
    return lists


def fusion_pairs(root: Path, sources: Sequence[str], volumes: bool = False) -> tuple[Pairs, Pairs]:
    """Pairs to draw from, and those of a test folder.

    Raises:
        DatalistError, ValueError: as :func:`fusion_datalists`.
    """
    _check_sources(sources)
    found: dict[str, Pairs] = {}
    problems: list[Problem] = []
    for part, folder in (part_folders(root) or {"": root}).items():
        found[part], offenders = match_sources(folder, sources, volumes)
        problems += offenders
    raise_for(problems)
    test = found.pop("test", [])
    return [pair for pairs in found.values() for pair in pairs], test


def match_sources(folder: Path, sources: Sequence[str], volumes: bool = False) -> tuple[Pairs, list[Problem]]:
    """Pairs of one folder in natural order, and what was found wrong; ``sources`` as in :func:`fusion_datalists`,
    ``volumes`` takes folders of a DICOM series as images.

    Raises:
        DatalistError: a source folder is missing, or a source has no image.
    """
    by_suffix = sources[0].startswith("_")
    problems: list[Problem] = []
    find = _with_ending if by_suffix else _in_folder
    a, b = (find(folder, source, volumes, problems) for source in sources)
    for source, images in zip(sources, (a, b), strict=True):
        if not images:
            detail = f"no file with the ending {source}" if by_suffix else f"folder {source}"
            raise DatalistError([Problem("no images", str(folder), detail)])
    for own, other, missing in ((a, b, sources[1]), (b, a, sources[0])):
        lonely = own.keys() - other.keys()
        problems += [Problem("image without partner", str(own[name]), f"none of {missing}") for name in lonely]
    names = sorted(a.keys() & b.keys(), key=natural_key)
    pairs = [{"image_a": str(a[name]), "image_b": str(b[name]), "name": Path(name).name} for name in names]
    return pairs, sorted(problems, key=lambda problem: natural_key(problem.path))


def _check_sources(sources: Sequence[str]) -> None:
    if isinstance(sources, str) or len(sources) != 2 or sources[0] == sources[1] or not all(sources):
        raise ValueError(f"sources must be two different names, such as ('MRI', 'CT'), got {sources!r}.")
    if sources[0].startswith("_") != sources[1].startswith("_"):
        raise ValueError(f"sources must be two folders or two endings with an underscore first, got {tuple(sources)}.")


def _in_folder(root: Path, source: str, volumes: bool, problems: list[Problem]) -> dict[str, Path]:
    """Stem to file of the folder of one source."""
    present = folders_by_name(root)
    if source.lower() not in present:
        raise DatalistError(
            f"{root} has no folder {source!r} (its folders: {sorted(present) or 'none'}); name the two source folders "
            "with sources, or two endings such as '_t1ce' for files side by side."
        )
    folder = present[source.lower()]
    items = list_items(folder, volumes)
    if items == [folder]:  # the source folder is itself one series: a single pair
        return {root.name: folder}
    return _unique([(file_stem(path), path) for path in items], problems)


def _with_ending(root: Path, ending: str, volumes: bool, problems: list[Problem]) -> dict[str, Path]:
    """Subfolder and stem without its ending, to file, over the folder and its subfolders."""
    folders = [root, *sorted(path for path in root.rglob("*") if path.is_dir())]
    folders = [folder for folder in folders if not (volumes and folder != root and holds_series(folder))]
    files = [
        path
        for folder in folders
        for path in list_items(folder, volumes)
        if file_stem(path).lower().endswith(ending.lower())
    ]
    return _unique(
        [(str(path.relative_to(root).parent / file_stem(path)[: -len(ending)]), path) for path in files], problems
    )


def _unique(named: Sequence[tuple[str, Path]], problems: list[Problem]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for name, path in named:
        if name in found:
            problems.append(Problem("two files with one name", str(path), f"also {found[name].name}"))
        else:
            found[name] = path
    return found


def _repeated_names(pairs: Pairs) -> list[Problem]:
    seen: dict[str, str] = {}
    problems = []
    for pair in pairs:
        if pair["name"] in seen:
            problems.append(Problem("two files with one name", pair["image_a"], f"also {seen[pair['name']]}"))
        seen.setdefault(pair["name"], pair["image_a"])
    return problems


def _cut(found: dict[str, Pairs], split: str, seed: int, where: str) -> tuple[dict[str, Pairs], str]:
    """The three parts without a split file, and the rule in words."""
    if "" in found:
        return draw_parts(found[""], split, FRACTIONS, seed, where)
    lists = {part: found.get(part, []) for part in PARTS}
    training = lists["training"]
    if lists["validation"] or not training:
        return lists, "the part folders"
    if split == "by_name":
        lists["training"], lists["validation"] = every_tenth(training)
        return lists, "the part folders, every 10th training pair in natural order for validation"
    drawn, rule = draw_parts(training, split, (0.9, 0.1, 0.0), seed, where)
    return {**lists, "training": drawn["training"], "validation": drawn["validation"]}, f"the part folders; {rule}"
