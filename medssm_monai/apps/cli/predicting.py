"""``medssm predict`` and ``medssm explain``: the bundle's inference config on files, folders or tables."""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ...bundle.find import find_bundle
from ...bundle.weights import find_weights
from ...utils.files import shown_path
from .bundle_run import config_files, run_config

__all__ = ["explain", "predict"]

SHOWN = 5
NAMES = {"inferring": "predict", "explaining": "explain"}
PICTURES = (".png", ".nii", ".nii.gz")


def predict(
    bundle: str, inputs: Sequence[str], output: str | None, weights: str | None, words: Sequence[str], show: bool
) -> int:
    """Predict images with a bundle; returns the exit status (3: some could not be read)."""
    return _run("inferring", bundle, inputs, output, weights, words, show)


def explain(
    bundle: str, inputs: Sequence[str], output: str | None, weights: str | None, words: Sequence[str], show: bool
) -> int:
    """Show where a classifier looks; returns the exit status.

    Raises:
        ValueError: a bundle whose inference config has nothing to explain.
    """
    from monai.bundle import ConfigParser

    (file,) = config_files(find_bundle(bundle), "inference")
    if "explaining" not in ConfigParser.load_config_file(file):
        raise ValueError(
            f"{find_bundle(bundle).name} has nothing to explain: explanations show where an image speaks for its "
            "class. Take a bundle for classification (medssm list)."
        )
    return _run("explaining", bundle, inputs, output, weights, words, show)


def _run(
    action: str,
    bundle: str,
    inputs: Sequence[str],
    output: str | None,
    weights: str | None,
    words: Sequence[str],
    show: bool,
) -> int:
    from monai.bundle import ConfigParser

    from ...bundle.config import command_word

    root = find_bundle(bundle)
    files = config_files(root, "inference")
    config = ConfigParser.load_config_file(files[0])
    missing = [name for name in inputs if not Path(name).expanduser().exists()]
    if missing:
        raise FileNotFoundError(f"{', '.join(map(repr, missing))} not found (working folder {Path.cwd()}).")
    out = Path(output) if output is not None else Path.cwd() / f"{root.name}_results"
    given = {word.lstrip("-").partition("=")[0] for word in words}
    with _as_source(inputs, "sources" in config) as source:
        options = {"dataset_dir": source, "output_dir": command_word(os.path.abspath(out))}
        options |= {"save_overlay": "True"} if "save_overlay" in config else {}
        options |= {"ckpt_path": command_word(os.path.abspath(find_weights(root, weights)))} if weights else {}
        before = _written(out)
        set_here = [word for name, value in options.items() if name not in given for word in (f"--{name}", value)]
        status = run_config(bundle, action, files, [*set_here, *words], show, ["medssm", NAMES[action], bundle])
    if not show and status in (0, 3):
        _show(out, {path for path, state in _written(out).items() if before.get(path) != state})
    return status


def _written(folder: Path) -> dict[Path, tuple[int, int, int]]:
    """Files below a folder, and what changes when one is written anew."""
    files = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    return {path: (status.st_ino, status.st_mtime_ns, status.st_size) for path in files for status in (path.stat(),)}


@contextmanager
def _as_source(inputs: Sequence[str], pairs: bool) -> Iterator[str]:
    """What ``dataset_dir`` takes for these inputs: themselves, a list of files, or a table of one pair.

    Raises:
        ValueError: not one or two inputs for pairs.
    """
    from ...bundle.config import command_word
    from ...data.datalists.tables import is_table

    whole = [os.path.abspath(Path(name).expanduser()) for name in inputs]
    if len(whole) == 1 and pairs and Path(whole[0]).is_file() and not is_table(Path(whole[0])):
        raise ValueError(
            f"a fusion takes two images, and {inputs[0]} is one: name the second one after it (registered, of one "
            "size), or give a folder of pairs, or a table with the columns image_a and image_b."
        )
    if len(whole) == 1:
        yield command_word(whole[0])
    elif not pairs:
        yield str(whole)
    elif len(whole) != 2:
        raise ValueError(
            f"a fusion takes two images, a folder of pairs, or a table with the columns image_a and image_b; got "
            f"{len(whole)} inputs."
        )
    else:
        with tempfile.TemporaryDirectory(prefix="medssm-") as folder:
            table = Path(folder) / "pair.csv"
            with open(table, "w", newline="", encoding="utf-8") as stream:
                csv.writer(stream).writerows([["image_a", "image_b"], whole])
            yield command_word(table)


def _show(out: Path, made: set[Path]) -> None:
    """The first results in words, and the first picture to look at, of the files that this run has made: others of an
    earlier one may lie in the same folder."""
    for name, line in (("predictions.csv", _class_line), ("segmentations.csv", _mask_line)):
        if out / name in made:
            with open(out / name, newline="", encoding="utf-8-sig") as stream:
                rows = list(csv.DictReader(stream))
            for row in rows[:SHOWN]:
                print(f"  {line(row)}")
            if len(rows) > SHOWN:
                print(f"  and {len(rows) - SHOWN} more in {shown_path(out / name)}")
    pictures = sorted(path for path in made if path.name.endswith(PICTURES))
    for place in (out / "explanations", out / "overlays", out):
        found = [path for path in pictures if path.is_relative_to(place)]
        if found:
            more = f" (and {len(found) - 1} more beside it)" if len(found) > 1 else ""
            print(f"\nLook at it: {shown_path(found[0])}{more}")
            return


def _class_line(row: dict[str, str]) -> str:
    return f"{row['image']}: {row['class']} ({float(row['confidence']):.3f}){_flag(row)}"


def _mask_line(row: dict[str, str]) -> str:
    sure = f", confidence {float(row['confidence']):.3f}" if row.get("confidence") else ""
    return f"{row['image']}: {row.get('class') or 'foreground'} {100 * float(row['share']):.1f} % of the image{sure}"


def _flag(row: dict[str, str]) -> str:
    return f"; unlike the training images: {row['unlike_training']}" if row.get("unlike_training") else ""
