"""The parser of ``medssm``, and who does what it names."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence

from ... import __version__
from ...bundle.console import wants_traceback
from ...utils.errors import root_cause
from .words import without_overrides

__all__ = ["main"]

FORWARDED = {
    "view": ("medssm_monai.apps.viewer.__main__", "see predictions in the browser of this computer"),
    "bundle": ("medssm_monai.apps.bundles", "copy a bundle to edit it, pack it for the Model Zoo, check an archive"),
    "export": ("medssm_monai.export.__main__", "write files for other runtimes, each compared with PyTorch"),
    "dicom": ("medssm_monai.apps.dicom.main", "DICOM studies in, segmentations, images and reports out"),
    "bulk": ("medssm_monai.apps.bulk.main", "an archive of any size through a bundle, on one machine or many"),
    "registry": (
        "medssm_monai.apps.registry.main",
        "versions of weights in an MLflow registry, and which is the champion",
    ),
    "tune": ("medssm_monai.experiments.tune", "search settings of a training: a grid, or a study by Optuna"),
    "compare": (
        "medssm_monai.experiments.compare",
        "train several networks with several seeds, or by folds, and compare them in one table",
    ),
    "tracking": (
        "medssm_monai.apps.tracking.main",
        "runs that were kept while an MLflow server was away, and sending them",
    ),
    "federated": ("medssm_monai.apps.federated.main", "jobs for NVIDIA FLARE, and the model that comes out of them"),
    "label": ("medssm_monai.apps.label.__main__", "serve the bundles to MONAI Label's clients"),
}
"""Command -> the module whose ``main`` takes its words, and what it does."""
KEYS = "any --KEY VALUE goes to the bundle's config"
USUAL = {
    "predict": "usual keys: --threshold 0.4 (segmentation), --tta True, --device cuda:0; all in configs/inference.yaml",
    "explain": "usual keys: --explain_layer NAME, --device cuda:0; all in configs/inference.yaml",
    "train": (
        'usual keys: --dataset_dir FOLDER, --max_epochs N, --image_size "[128,128]", --batch_size N,\n'
        "  --learning_rate X, --init_from WEIGHTS, --resume true, --seed N; all in configs/train.yaml"
    ),
    "evaluate": "usual keys: --dataset_dir FOLDER, --part test; all in configs/train.yaml and configs/evaluate.yaml",
    "calibrate": "usual keys: --dataset_dir FOLDER, --coverage 0.9, --group EXPRESSION; all in configs/calibrate.yaml",
}
NOT_A_DEVICE = "Not a medical device: for research, not for diagnosis or treatment."


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status: 0 when all went well, 2 for a command that cannot be run."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in FORWARDED:
        return int(importlib.import_module(FORWARDED[words[0]][0]).main(words[1:], prog=f"medssm {words[0]}") or 0)
    parser, commands = _parser()
    if not words:
        parser.print_help()
        return 0
    overrides: list[str] = []
    if words[0] in commands:
        own, overrides = without_overrides(words[1:], commands[words[0]])
        words = [words[0], *own]
    options = parser.parse_args(words)
    if overrides and not options.takes_keys:
        commands[options.command].error(f"unknown option {overrides[0]}")
    options.words = [*overrides, *(["--verbose", "True"] if getattr(options, "verbose", False) else [])]
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        return options.run(options)
    except BrokenPipeError:  # whoever reads has seen enough
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        return 0
    except Exception as error:
        if wants_traceback():
            raise
        cause = root_cause(error)
        print(f"medssm {options.command}: {cause}", file=sys.stderr)
        return 2


def _parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    parser = argparse.ArgumentParser(
        "medssm",
        description=f"State-space and companion networks for medical images, as MONAI Bundles. {NOT_A_DEVICE}",
        epilog="medssm COMMAND --help shows an example of each. Configs run by python -m monai.bundle as well.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"medssm-monai {__version__}")
    several = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands: dict[str, argparse.ArgumentParser] = {}

    def command(
        name: str, what: str, example: str, run: Callable[[argparse.Namespace], int], keys: bool = True
    ) -> argparse.ArgumentParser:
        one = several.add_parser(
            name,
            help=what,
            description=f"{what[0].upper()}{what[1:]}.",
            epilog=f"example:\n  {example}" + (f"\n\n{KEYS}; {USUAL[name]}" if keys else ""),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        one.set_defaults(run=run, takes_keys=keys)
        commands[name] = one
        return one

    command("list", "name the bundles and their weights", "medssm list", _list, keys=False)
    for name, what, run in (
        ("predict", "predict images with a bundle", _predict),
        ("explain", "show where a classifier looks", _explain),
    ):
        bundle = "mamba_mis lesion.jpg" if name == "predict" else "medconvmamba xray.png"
        one = command(name, what, f"medssm {name} {bundle} -o results", run)
        _add_bundle(one)
        one.add_argument(
            "inputs", nargs="+", metavar="IN", help="an image, several, a folder or a table; a fusion: A B"
        )
        one.add_argument("-o", "--output", metavar="OUT", help="folder of the results (default: ./BUNDLE_results)")
        one.add_argument(
            "--weights", help="a file, or a name in the bundle's models/ (default: yours, else the shipped)"
        )
        _add_shared(one)
    train = command(
        "train",
        "train a bundle; on its synthetic demo set unless --dataset_dir names images",
        "medssm train mamba_mis --dataset_dir FOLDER --max_epochs 40",
        _train,
    )
    evaluate = command(
        "evaluate",
        "evaluate on the test part",
        "medssm evaluate mamba_mis --dataset_dir FOLDER",
        _evaluate,
    )
    calibrate = command(
        "calibrate",
        "calibrate prediction sets, or masks whose risk is controlled, on the validation part",
        "medssm calibrate medconvmamba --dataset_dir FOLDER --coverage 0.9",
        _calibrate,
    )
    for one in (evaluate, calibrate):
        one.add_argument("--weights", help="a file, or a name in the bundle's models/ (default: your training's)")
    for one in (train, evaluate, calibrate):
        _add_bundle(one)
        one.add_argument(
            "--overlay", action="append", default=[], help="of the bundle's configs/, or a file; repeatable"
        )
        _add_shared(one)
    doctor = command("doctor", "say what is installed and would be used", "medssm doctor", _doctor, keys=False)
    doctor.add_argument("--json", action="store_true", help="for programs")
    for name, (_, what) in FORWARDED.items():
        several.add_parser(name, help=what)
    return parser, commands


def _add_bundle(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", metavar="BUNDLE", help="a name (medssm list) or a bundle's folder")


def _add_shared(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--verbose", action="store_true", help="every message, with its time and origin")
    parser.add_argument("--dry-run", action="store_true", help="show MONAI's own command instead of running it")


def _list(options: argparse.Namespace) -> int:
    from .listing import list_all

    return list_all()


def _doctor(options: argparse.Namespace) -> int:
    from .doctor import doctor

    return doctor(options.json)


def _predict(options: argparse.Namespace) -> int:
    from .predicting import predict

    return predict(options.bundle, options.inputs, options.output, options.weights, options.words, options.dry_run)


def _explain(options: argparse.Namespace) -> int:
    from .predicting import explain

    return explain(options.bundle, options.inputs, options.output, options.weights, options.words, options.dry_run)


def _train(options: argparse.Namespace) -> int:
    return _run(options, "training", ("train",))


def _evaluate(options: argparse.Namespace) -> int:
    return _run(options, "evaluating", ("train", "evaluate"))


def _calibrate(options: argparse.Namespace) -> int:
    return _run(options, "calibrating", ("train", "evaluate", "calibrate"))


def _run(options: argparse.Namespace, action: str, configs: Sequence[str]) -> int:
    from ...bundle.find import find_bundle
    from ...bundle.weights import find_weights
    from .bundle_run import config_files, run_config

    root = find_bundle(options.bundle)
    files = config_files(root, *configs, overlays=options.overlay)
    weights = getattr(options, "weights", None)
    named = ["--ckpt_path", os.path.abspath(find_weights(root, weights))] if weights else []
    overlays = [word for name in options.overlay for word in ("--overlay", name)]
    short = ["medssm", options.command, options.bundle, *overlays]
    return run_config(options.bundle, action, files, [*named, *options.words], options.dry_run, short)
