"""Datalists for 2D segmentation: from a dataset folder (or the demo set) to MONAI's list of dicts."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from monai.config import PathLike

from ...utils.shown_names import shown_name
from ...utils.text_files import printable
from ..demo.segmentation import DEMO, DEMO_COUNTS, DEMO_SIZE, prepare_demo
from ..errors import DatalistError, Problem
from ..readers.mask import Foreground
from ..root import existing_folder, is_demo
from .checks import check_pairs, raise_for
from .classification_split_rules import torn_groups
from .groups import add_groups
from .segmentation_layouts import LAYOUTS, Parts, detect_layout
from .split_files import PARTS, apply_split, read_split
from .split_rules import FRACTIONS, SPLITS, draw_parts

__all__ = ["segmentation_datalists"]

logger = logging.getLogger(__name__)
Datalists = dict[str, list[dict[str, str]]]


def _split_parts(parts: Parts, split_file: PathLike) -> Parts:
    """Parts by split file; named test sets stay the test part unless the split names a test part itself."""
    split = read_split(split_file)
    named = [] if split["test"] else [pair for pair in parts.test if "dataset" in pair]
    pool = parts.training + parts.validation + [pair for pair in parts.test if "dataset" not in pair]
    try:
        lists = apply_split(pool, split, str(split_file))
    except DatalistError as error:  # a name may be missing because its mask is: say both
        raise DatalistError(parts.problems + error.problems) from error
    return Parts(
        lists["training"], lists["validation"], lists["test"] + named, parts.problems, f"by {shown_name(split_file)}"
    )


def _without_orphans(parts: Parts) -> list[Problem]:
    """Problems of the layout; masks without image are warned of, and only listed beside other problems."""
    orphans = [problem for problem in parts.problems if problem.kind == "mask without image"]
    if len(orphans) < len(parts.problems) or not (parts.training or parts.validation or parts.test):
        return list(parts.problems)
    if orphans:
        named = printable(", ".join(shown_name(problem.path) for problem in orphans))
        logger.warning("%d mask(s) without image left out: %s", len(orphans), named)
    return []


def segmentation_datalists(
    dataset_dir: PathLike,
    layout: str = "auto",
    split_file: PathLike | None = None,
    split: str = "auto",
    fractions: Sequence[float] = FRACTIONS,
    seed: int = 0,
    group_column: str | None = None,
    metadata_file: PathLike | None = None,
    demo_dir: PathLike | None = None,
    demo_size: int = DEMO_SIZE,
    demo_counts: Sequence[int] = DEMO_COUNTS,
    check: bool | str = True,
    require: Sequence[str] = ("training", "validation"),
    foreground: Foreground = "auto",
) -> Datalists:
    """Datalists of a 2D segmentation dataset, checked.

    Args:
        dataset_dir: folder in one of the known layouts, or ``"demo"`` for the embedded synthetic demo set. Anything
            else is an error; there is no fallback. (For a folder that is itself called demo write ``"./demo"``.)
        layout: ``"pranet"``, ``"isic"``, ``"plain"``, or ``"auto"`` to recognize it.
        split_file: JSON of names per part (:func:`~medssm_monai.data.read_split`); replaces the layout's own split.
        split: how a folder without parts of its own (``"plain"``) is split: ``"auto"``, ``"random"`` or ``"by_name"``
            (:func:`~.split_rules.draw_parts`).
        fractions: shares of training, validation and test there.
        seed: of the draw.
        group_column: column of a table whose equal values (a patient, a video) must stay in one part.
        metadata_file: that table; None looks for one in the folder.
        demo_dir: where the demo set is kept; None is a cache folder in the user's home.
        demo_size: side of the square demo images in pixels.
        demo_counts: demo images for training, validation and test.
        check: True or ``"full"`` decodes every file; ``"header"`` compares sizes only; False trusts the data.
        require: parts that must not be empty.
        foreground: which values of the masks are foreground, one rule for all of them: ``"auto"``, ``"nonzero"``,
            ``"half"`` or values (:func:`~medssm_monai.data.readers.mask.read_mask`); give the same to ``LoadImage2Dd``.

    Returns:
        ``{"training": [...], "validation": [...], "test": [...]}``; each item has ``image``, ``label`` (paths),
        ``name`` (stem), and ``dataset`` in the test sets of the PraNet layout.

    Raises:
        FileNotFoundError, NotADirectoryError: ``dataset_dir`` or ``split_file`` does not exist.
        DatalistError: everything wrong with the data, all offenders at once. Masks without an image alone are no
            error: they are left out with a warning.
        ValueError: unknown layout, part name or ``split``; fewer groups than parts.
    """
    unknown = [part for part in require if part not in PARTS]
    if unknown:
        raise ValueError(f"require names unknown parts {unknown}; the parts are {', '.join(PARTS)}.")
    if is_demo(dataset_dir):
        logger.warning("dataset_dir is %r: synthetic demo images, not real data", DEMO)
        root = prepare_demo(demo_dir, demo_size, demo_counts)
        layout, split_file = "plain", split_file or root / "split.json"
        check = False if check is True else check  # just generated, or complete by its manifest
    else:
        root = existing_folder(dataset_dir)
    if layout not in (*LAYOUTS, "auto"):
        raise ValueError(f"layout must be one of auto, {', '.join(LAYOUTS)}, got {layout!r}.")
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}.")
    parts = LAYOUTS[detect_layout(root) if layout == "auto" else layout](root)
    if group_column is not None:
        every = parts.training + parts.validation + parts.test
        parts.problems += add_groups(every, root, group_column, metadata_file)
        raise_for([problem for problem in parts.problems if problem.kind != "mask without image"])
    if split_file is not None:
        parts = _split_parts(parts, split_file)
    elif not parts.rule and parts.training:
        drawn, parts.rule = draw_parts(parts.training, split, fractions, seed, printable(shown_name(root)))
        parts.training, parts.validation, parts.test = (drawn[part] for part in PARTS)
    lists: Datalists = {part: getattr(parts, part) for part in PARTS}
    problems = _without_orphans(parts) + torn_groups(lists)
    problems += [Problem("empty part", part, str(root)) for part in require if not lists[part]]
    if check:
        problems += check_pairs(lists, "full" if check is True else check, foreground)
    raise_for(problems)
    sizes = ", ".join(f"{len(pairs)} {part}" for part, pairs in lists.items())
    logger.info("%s: %s; split: %s", printable(shown_name(root)), sizes, printable(parts.rule))
    return lists
