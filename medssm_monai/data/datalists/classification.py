"""Datalists for classification: from a dataset folder, an ``.npz`` file or the demo set to MONAI's list of dicts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from monai.config import PathLike

from ...utils.shown_names import shown_name
from ...utils.text_files import printable
from ..demo.classification import CLASS_DEMO_COUNTS, CLASS_DEMO_SIZE, prepare_class_demo
from ..demo.segmentation import DEMO
from ..errors import Problem
from ..root import dataset_name, existing_path, is_demo
from .checks import raise_for
from .classification_checks import class_problems, treat_duplicates, unreadable_images
from .classification_layouts import detect_class_layout, folder_samples, table_samples
from .classification_split_rules import count_parts, random_parts, torn_groups
from .dicom_labels import dicom_samples, find_labels_table
from .dicom_layout import holds_dicom
from .groups import add_groups, drop_listed
from .medmnist import find_npz, medmnist_samples
from .samples import ClassificationDatalists, Samples
from .split_files import PARTS, apply_split, read_split
from .split_rules import FRACTIONS, torn_names

__all__ = ["CLASS_LAYOUTS", "classification_datalists"]

logger = logging.getLogger(__name__)
DICOM_LAYOUT = "dicom"
CLASS_LAYOUTS: dict[str, Callable[..., Samples]] = {"folders": folder_samples, "table": table_samples}


def read_samples(
    root: Path,
    layout: str = "auto",
    subset: str | None = None,
    class_names: Sequence[str] | None = None,
    strict: bool = False,
    volumes: bool = False,
    labels_file: PathLike | None = None,
    group_column: str | None = None,
) -> tuple[Samples, str]:
    """Labeled images of a data set in a named layout (or ``"auto"``), and what it is called."""
    if labels_file is not None and layout not in ("auto", DICOM_LAYOUT):
        raise ValueError(f"labels_file is of the layout {DICOM_LAYOUT}, but layout is {layout!r}; leave one out.")
    if layout == "auto":
        by_table = labels_file is not None or (
            root.is_dir() and holds_dicom(root) and find_labels_table(root) is not None
        )
        layout = DICOM_LAYOUT if by_table else detect_class_layout(root)
    if layout == "medmnist":
        file = find_npz(root, subset)
        return medmnist_samples(file, list(class_names) if class_names else None, strict), file.stem
    if root.is_file():
        raise NotADirectoryError(f"dataset_dir {root} is a file; name the folder that holds the images.")
    if subset is not None:
        raise ValueError(f"subset={subset!r} chooses an .npz file, but {root} is in the {layout!r} layout.")
    if layout == DICOM_LAYOUT and group_column is not None:
        raise ValueError(
            f"group_column={group_column!r}: the dicom layout keeps patients together by itself; leave it out."
        )
    if layout == DICOM_LAYOUT:
        table = None if labels_file is None else Path(labels_file).expanduser()
        return dicom_samples(root, table, class_names, 3 if volumes else 2), dataset_name(root)
    return CLASS_LAYOUTS[layout](root, class_names, volumes), dataset_name(root)


def _split(samples: Samples, fractions: Sequence[float], counts: Sequence[int] | None, seed: int) -> tuple[dict, str]:
    """Parts of a data set and the rule in words; official parts stay as they are."""
    if counts is not None:
        words = "per class, by name: first {}, next {}, last {}".format(*counts)
        return count_parts(samples.every(), counts, samples.class_names), words
    lists = {"training": samples.pool, "validation": samples.validation or [], "test": samples.test or []}
    if samples.validation is not None and samples.test is not None:
        return lists, samples.rule
    has_test = samples.test is not None
    if samples.validation is not None:  # a test part is cut from the pool
        shares = (1 - fractions[2], 0.0, fractions[2])
        drawn = random_parts(samples.pool, shares, seed, class_names=samples.class_names)
        lists = {**drawn, "validation": samples.validation}
    else:
        lists = {**lists, **random_parts(samples.pool, fractions, seed, not has_test, samples.class_names)}
        lists["test"] = samples.test if samples.test is not None else lists["test"]
    grouped = any("group" in item for item in samples.pool)
    kind = "groups kept together" if grouped else "stratified by class"
    torn = "" if grouped else torn_names(samples.pool)
    if torn:
        logger.warning("%s", printable(torn))
    official = f"{samples.rule}; the rest " if samples.rule else ""
    return lists, f"{official}drawn at random, {kind}, shares {tuple(fractions)}, seed {seed}"


def classification_datalists(
    dataset_dir: PathLike,
    layout: str = "auto",
    subset: str | None = None,
    class_names: Sequence[str] | None = None,
    split_file: PathLike | None = None,
    split_counts: Sequence[int] | None = None,
    fractions: Sequence[float] = FRACTIONS,
    seed: int = 0,
    group_column: str | None = None,
    metadata_file: PathLike | None = None,
    labels_file: PathLike | None = None,
    drop_list: PathLike | None = "auto",
    duplicates: str = "warn",
    strict_data: bool = False,
    spatial_dims: int = 2,
    demo_dir: PathLike | None = None,
    demo_size: int = CLASS_DEMO_SIZE,
    demo_counts: Sequence[int] = CLASS_DEMO_COUNTS,
    check: bool | str = True,
    require: Sequence[str] = ("training", "validation"),
) -> ClassificationDatalists:
    """Datalists of a classification dataset, checked.

    Official parts (folders such as ``Training/`` and ``Testing/``, the splits of ``.npz`` files) are kept; what is
    missing is drawn at random: stratified by class, each class in each part, or with whole groups when ``group_column``
    is given.

    Args:
        dataset_dir: folder in one of the known layouts, an ``.npz`` file, or ``"demo"`` for the embedded synthetic
            demo set. Anything else is an error; there is no fallback.
        layout: ``"folders"`` (one per class, also COVID-19 Radiography's ``<class>/images/`` and ``Training/<class>``),
            ``"table"`` (ISIC's one-hot CSV), ``"medmnist"`` (``.npz``), ``"dicom"`` (an archive and a table of labels,
            :func:`~.dicom_labels.dicom_samples`), or ``"auto"`` to recognize it.
        subset: which ``.npz`` file of a folder: ``"breast"``, ``"pneumonia"``, ``"blood"``, ``"derma"``, ``"organc"``,
            ``"organs"``, ..., or with the size, ``"breastmnist_224"``.
        class_names: classes in label order; None takes those of the layout.
        split_file: JSON of names per part; replaces every other split (:func:`~medssm_monai.data.read_split`).
        split_counts: images per class for training, validation, test: the first, the next and the last by name.
        fractions: shares of training, validation and test where parts are drawn.
        seed: seed of the draw; it is part of ``rule``.
        group_column: column whose equal values (a lesion, a patient) must stay in one part.
        metadata_file: CSV that holds ``group_column``; None looks for ``*_Metadata.csv`` and the label table.
        labels_file: table of the classes of a DICOM archive; None looks for one in its folder.
        drop_list: table of training files to leave out (column ``train_file``); ``"auto"`` takes
            ``near_duplicates.tsv`` of the folder if there is one, None none.
        duplicates: images with equal content in two parts: ``"warn"`` lists them, ``"drop"`` takes them out of the
            earlier part, ``"error"``, or ``"ignore"``.
        strict_data: an ``.npz`` file whose MD5 is not the published one is an error instead of a warning.
        spatial_dims: 2 for images, 3 for volumes (read back with ``LoadImage3Dd``), folders of a DICOM series included.
        demo_dir, demo_size, demo_counts: see :func:`~medssm_monai.data.prepare_class_demo`.
        check: True or ``"full"`` decodes every file; ``"header"`` reads sizes only; False trusts the data.
        require: parts that must not be empty.

    Returns:
        the three parts as a dict that carries ``name``, ``class_names``, ``rule`` and class weights; each item has
        ``image``, ``label`` (int), ``name`` and, with ``group_column``, ``group``.

    Raises:
        FileNotFoundError: ``dataset_dir``, ``split_file``, ``metadata_file`` or ``drop_list`` does not exist.
        DatalistError: everything wrong with the data, all offenders at once.
        ValueError: unknown layout, part or mode; split options that contradict each other.
    """
    unknown = [part for part in require if part not in PARTS]
    if unknown:
        raise ValueError(f"require names unknown parts {unknown}; the parts are {', '.join(PARTS)}.")
    if split_file is not None and split_counts is not None:
        raise ValueError("give split_file or split_counts, not both.")
    if layout not in (*CLASS_LAYOUTS, DICOM_LAYOUT, "medmnist", "auto"):
        known = f"{', '.join(CLASS_LAYOUTS)}, {DICOM_LAYOUT}, medmnist"
        raise ValueError(f"layout must be one of auto, {known}, got {layout!r}.")
    if is_demo(dataset_dir, (DEMO,)):
        logger.warning("dataset_dir is %r: synthetic demo images, not real data", DEMO)
        root, layout = prepare_class_demo(demo_dir, demo_size, demo_counts), "folders"
        check = False if check is True else check  # just generated, or complete by its manifest
    else:
        root = existing_path(dataset_dir)
    class_names = None if class_names is None else [str(name) for name in class_names]  # YAML reads 1 as a number
    samples, name = read_samples(
        root, layout, subset, class_names, strict_data, spatial_dims == 3, labels_file, group_column
    )
    name = DEMO if is_demo(dataset_dir, (DEMO,)) else name
    samples.pool = drop_listed(samples.pool, root, drop_list)
    if group_column is not None:
        samples.problems += add_groups(samples.every(), root, group_column, metadata_file)
    raise_for(samples.problems + _one_class(samples))  # no split of wrong labels
    if split_file is not None:
        lists, rule = (
            apply_split(samples.every(), read_split(split_file), str(split_file)),
            f"by {shown_name(split_file)}",
        )
    else:
        lists, rule = _split(samples, fractions, split_counts, seed)
    problems = [Problem("empty part", part, str(root)) for part in require if not lists[part]]
    problems += class_problems(lists, samples.class_names) + torn_groups(lists)
    if check:
        problems += unreadable_images(lists, "full" if check is True else check, volumes=spatial_dims == 3)
    raise_for(problems)
    if not is_demo(dataset_dir, (DEMO,)):
        lists = treat_duplicates(lists, duplicates)
    result = ClassificationDatalists(lists, name, samples.class_names, rule)
    for part in PARTS:
        per_class = ", ".join(f"{c} {n}" for c, n in zip(result.class_names, result.counts(part), strict=True))
        logger.info("%s: %d %s (%s)", printable(shown_name(root)), len(result[part]), part, printable(per_class))
    logger.info("%s: split: %s", printable(shown_name(root)), printable(rule))
    return result


def _one_class(samples: Samples) -> list[Problem]:
    return [] if len(samples.class_names) > 1 else [Problem("one class only", ", ".join(samples.class_names) or "none")]
