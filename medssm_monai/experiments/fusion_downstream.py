"""Does a classifier gain by fusion? MedConvMamba on source A, on source B and on their fusion, in one table.

    python -m medssm_monai.experiments.fusion_downstream --dims 2
    python -m medssm_monai.experiments.fusion_downstream --dims 3 --output_dir FOLDER
    python -m medssm_monai.experiments.fusion_downstream --dims 2 --fusion_ckpt bundles/clinical_fmamba/models/model.pt

The pairs are generated, not real: source A alone shows lesions, source B alone shows dense specks, and the four
classes are the combinations, so that a classifier of one source can be right in half of the cases at most. The figures
show that the tools work together; they say nothing about medical images. Fusion is trained on the training pairs
(unless --fusion_ckpt names weights), everything is fused, and three classifiers are trained and evaluated alike. Start
the same command again to go on.

Exit status: 0, 1 when a classification failed, 2 when the comparison ended before.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import Any

import yaml

from ..bundle import find_bundle
from ..utils.text_files import printable
from . import ablate
from .downstream_data import PARTS, SOURCES, sort_into_classes, write_pairs
from .programs import RowError, run_program

__all__ = ["main"]

logger = logging.getLogger(__name__)
FUSION, CLASSIFIER = "clinical_fmamba", "medconvmamba"
DEFAULTS = {
    2: {"size": 64, "counts": (240, 60, 120), "fusion_epochs": 10, "epochs": 30},
    3: {"size": 32, "counts": (120, 32, 64), "fusion_epochs": 6, "epochs": 30},
}


def run_fusion(step: str, configs: tuple[str, ...], folder: Path, settings: dict[str, Any]) -> None:
    """One step of the fusion bundle with settings from a file, output in ``folder/<step>.log``."""
    folder.mkdir(parents=True, exist_ok=True)
    bundle = find_bundle(FUSION)
    overlay = folder / f"{step}.yaml"
    overlay.write_text(yaml.safe_dump({"bundle_root": str(bundle), **settings}, sort_keys=False), encoding="utf8")
    logger.info("fusion: %s (output in %s)", step, folder / f"{step}.log")
    run_program(step, [*(str(bundle / "configs" / name) for name in configs), str(overlay)], folder)


def train_fusion(pairs: Path, folder: Path, options: argparse.Namespace) -> Path:
    """Weights of a fusion network trained on the training pairs; earlier ones of this folder are used again."""
    done, weights = folder / "trained", folder / "models" / "model.pt"
    if not done.is_file():
        settings = {
            "dataset_dir": str(pairs),
            "sources": list(SOURCES),
            "roi_size": [min(options.size, 64 if options.dims == 2 else 32)] * options.dims,
            "output_dir": str(folder),
            "ckpt_dir": str(folder / "models"),
            "run_name": "fusion",
            "max_epochs": options.fusion_epochs,
            "seed": options.seed,
            **json.loads(options.fusion_settings),
        }
        names = ("train.yaml",) if options.dims == 2 else ("train.yaml", "volume.yaml")
        run_fusion("training", names, folder, settings)
        done.touch()
    return weights


def prepare(folder: Path, options: argparse.Namespace) -> dict[str, Path]:
    """Folders with parts and classes of source A, source B and the fused images, by row of the table."""
    pairs, classes = folder / "pairs", folder / "classes"
    rows = {
        "source A": classes / "generated_a",
        "source B": classes / "generated_b",
        "fused": classes / "generated_fused",
    }
    done = folder / "prepared"
    if done.is_file():
        return rows
    write_pairs(pairs, options.dims, options.size, options.counts)
    weights = options.fusion_ckpt or train_fusion(pairs, folder / "fusion", options)
    for part in PARTS:
        fused = folder / "fused" / part
        settings: dict[str, Any] = {"dataset_dir": str(pairs / part), "output_dir": str(fused)}
        settings |= {"ckpt_path": str(weights), "sources": list(SOURCES), "channels": [1, 1]}
        run_fusion("inferring", ("inference.yaml",), folder / "fusion" / part, settings)
        for row, images in zip(rows, (pairs / part / SOURCES[0], pairs / part / SOURCES[1], fused), strict=True):
            sort_into_classes(images, rows[row] / part)
    done.touch()
    return rows


def write_plan(folder: Path, rows: dict[str, Path], options: argparse.Namespace) -> Path:
    """The three classifications as rows of a plan of :mod:`.ablate`."""
    overrides = {
        "variant": "medconvmamba_t",
        "spatial_dims": options.dims,
        "in_channels": 1,
        "image_size": [options.size] * options.dims,
        "patch_size": 8,
        "layout": "folders",
        "max_epochs": options.epochs,
        "seed": options.seed,
        **json.loads(options.classifier_settings),
    }
    plan = {
        "metric": "accuracy",
        "overrides": overrides,
        "rows": [{"name": row, "overrides": {"dataset_dir": str(place)}} for row, place in rows.items()],
    }
    file = folder / "plan.yaml"
    file.write_text(yaml.safe_dump(plan, sort_keys=False), encoding="utf8")
    return file


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Options, with the defaults of the dimension filled in."""
    parser = argparse.ArgumentParser(
        prog="python -m medssm_monai.experiments.fusion_downstream",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--dims", type=int, choices=(2, 3), default=2, help="pictures or volumes")
    parser.add_argument("--output_dir", type=Path, help="default: eval/downstream_<dims>d of the fusion bundle")
    parser.add_argument("--fusion_ckpt", type=Path, help="trained fusion weights; none are trained then")
    parser.add_argument("--size", type=int, help="pixels or voxels along each axis, a multiple of 8")
    parser.add_argument("--counts", type=int, nargs=3, metavar=PARTS, help="generated pairs of each part")
    parser.add_argument("--fusion_epochs", type=int)
    parser.add_argument("--epochs", type=int, help="of each classifier")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--fusion_settings", default="{}", metavar="JSON", help="further keys of the fusion's train.yaml"
    )
    parser.add_argument("--classifier_settings", default="{}", metavar="JSON", help="the same for MedConvMamba")
    options = parser.parse_args(arguments)
    for name, value in DEFAULTS[options.dims].items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    if options.fusion_ckpt is not None and not options.fusion_ckpt.is_file():
        parser.error(f"--fusion_ckpt {options.fusion_ckpt} does not exist")
    if options.size % 8 or options.size < 24 or min(options.counts) < 4:
        parser.error(
            f"size must be a multiple of 8, at least 24, and counts 4 or more, got {options.size}, {options.counts}"
        )
    return options


def main(arguments: list[str] | None = None) -> int:
    """Generate, fuse, classify; returns 1 when a classification failed."""
    options = parse(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        return compare(options)
    except (OSError, ValueError, RowError) as error:
        print(printable(f"{type(error).__name__}: {error}"), file=sys.stderr)
        return 2


def compare(options: argparse.Namespace) -> int:
    """What the command does.

    Raises:
        FileNotFoundError, ValueError: no such bundle, or a folder of a comparison with other options.
        RowError: the fusion failed.
    """
    folder = (options.output_dir or find_bundle(FUSION) / "eval" / f"downstream_{options.dims}d").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    asked = {name: str(value) for name, value in vars(options).items() if name != "output_dir"}
    note = folder / "options.json"
    if note.is_file() and json.loads(note.read_text(encoding="utf8")) != asked:
        raise ValueError(f"{folder} was made with other options; name another --output_dir or remove it.")
    note.write_text(json.dumps(asked, indent=1), encoding="utf8")
    rows = prepare(folder, options)
    logger.info("generated pairs, not real images: the table shows that the tools work together, no clinical accuracy")
    plan = write_plan(folder, rows, options)
    return ablate.main(
        [str(find_bundle(CLASSIFIER)), "--plan", str(plan), "--output_dir", str(folder / "classification")]
    )


if __name__ == "__main__":
    sys.exit(main())
