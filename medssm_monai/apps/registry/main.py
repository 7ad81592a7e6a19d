"""The MLflow registry: register weights, compare versions, and say which one is the champion.

    medssm registry register bundles/mamba_mis/eval/RUN --name polyps
    medssm registry register shipped --bundle mamba_mis --name lesions
    medssm registry promote polyps 1 --data FOLDER --floor 0.8
    medssm registry promote polyps 2 --data FOLDER
    medssm registry list

The registry is the one that MLFLOW_TRACKING_URI or --tracking_uri names; without either, the bundle's own
eval/mlruns.db. A registered model works with mlflow.pyfunc.load_model and mlflow models serve, and as weights of its
bundle: --ckpt_path models:/polyps@champion. Words after two dashes override keys of the bundle's evaluation.

Exit status: 0, 2 when nothing could be done, 3 when a version was refused.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...bundle.find import find_bundle, list_bundles
from ...bundle.registered import BUNDLE, WEIGHTS_SHA256, Registry
from ...utils.command_line import before_dashes
from ...utils.text_files import printable
from ...utils.tracking import shown_uri
from ..frame import run_command

__all__ = ["main"]

PROGRAM = "python -m medssm_monai.apps.registry"
SHOWN = 12
REFUSED = 3


def main(arguments: Sequence[str] | None = None, prog: str = PROGRAM) -> int:
    """Command line; returns the exit status."""
    given, words = before_dashes(sys.argv[1:] if arguments is None else arguments)
    parser = _parser(prog)
    options = parser.parse_args(given)
    if words and options.action != "promote":
        parser.error("words after -- override keys of an evaluation, which only promote has.")
    options.words = words
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for noisy in ("alembic", "mlflow.store.db.utils", "mlflow.utils.environment"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    return run_command(f"{prog} {options.action}", lambda: options.run(options))


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    one = actions.add_parser("register", help="make weights a version of a model", allow_abbrev=False)
    one.add_argument("source", metavar="RUN_OR_WEIGHTS", help="a training's folder, weights, or an MLflow run")
    one.add_argument("--name", required=True, help="of the model: letters, digits, '_', '-', '.'")
    one.add_argument("--report", metavar="FOLDER", help="an evaluation of these weights (default: a training's own)")
    one.add_argument("--export_report", type=Path, metavar="FILE", help="of a checked export: *_export.json")
    one.set_defaults(run=_register)
    two = actions.add_parser("promote", help="make a version the champion if it is no worse", allow_abbrev=False)
    two.add_argument("name", metavar="NAME")
    two.add_argument("version", type=int, metavar="VERSION")
    two.add_argument("--data", required=True, metavar="FOLDER", help="the evaluation set, or demo")
    two.add_argument("--part", default="test", help="of it (default: test)")
    two.add_argument("--against", default="champion", metavar="ALIAS", help="who to compare with (default: champion)")
    two.add_argument("--metric", help="to compare by (default: dice, roc_auc or ssim_mean)")
    two.add_argument("--margin", type=float, default=0.0, help="how much worse it may be at most (default: 0)")
    two.add_argument("--floor", type=_floor, metavar="VALUE", help="what the first version must reach, or none")
    two.add_argument("--group", metavar="EXPRESSION", help="match in the file name that is the patient or sequence")
    two.add_argument("--overlay", action="append", default=[], help="config of the bundle; repeatable")
    two.add_argument("--reports", type=Path, metavar="FOLDER", help="keep the reports of the evaluations")
    two.add_argument("--force", metavar="REASON", help="make it the champion whatever the comparison says")
    two.set_defaults(run=_promote)
    three = actions.add_parser("list", help="models, versions and champions", allow_abbrev=False)
    three.set_defaults(run=_list)
    for action in (one, two, three):
        action.add_argument("--bundle", metavar="NAME", help="a bundle's name or folder, where it is not clear")
        action.add_argument("--tracking_uri", metavar="URI", help="of the registry (default: MLFLOW_TRACKING_URI)")
    return parser


def _floor(text: str) -> float:
    return -math.inf if text == "none" else float(text)


def _register(options: argparse.Namespace) -> int:
    from .register import bundle_of, find_source, register

    root = find_bundle(options.bundle) if options.bundle else bundle_of(options.source)
    registry = Registry.of(root, options.tracking_uri, create=True)
    with tempfile.TemporaryDirectory(prefix="medssm-run-") as place:
        source = find_source(options.source, root, options.report, registry, Path(place))
        number, facts = register(source, options.name, registry, options.export_report)
    address = f"models:/{options.name}/{number}"
    print(
        f"Registered version {number} of {options.name} ({facts[BUNDLE]}, SHA-256 {facts[WEIGHTS_SHA256][:SHOWN]}) at "
        f"{shown_uri(registry.uri)}\n"
        f"weights  {address}\n"
        f"next     medssm registry promote {options.name} {number} --data FOLDER"
    )
    return 0


def _promote(options: argparse.Namespace) -> int:
    from ...experiments.plans import parse_words
    from .evaluation import EvaluationSet
    from .promote import Rule, promote

    rule = Rule(options.metric, options.margin, options.floor, options.force)
    root = find_bundle(options.bundle) if options.bundle else None
    registry = _registry(root, options)
    tag = registry.version(options.name, options.version).tags.get(BUNDLE, "")
    root = root or find_bundle(tag)
    overrides: dict[str, Any] = parse_words(options.words)
    if options.group:
        overrides["group"] = options.group
    folder = options.data if options.data.startswith("demo") else os.path.abspath(options.data)
    data = EvaluationSet(root, folder, options.part, tuple(options.overlay), overrides)
    reports = options.reports.absolute() if options.reports else None
    verdict = promote(options.name, options.version, registry, data, rule, options.against, reports)
    what = f"version {options.version} of {options.name} as {options.against}"
    print(printable(f"{verdict.decision.capitalize()}: {what}. {verdict.why}."))
    return REFUSED if verdict.decision == "refused" else 0


def _registry(root: Path | None, options: argparse.Namespace) -> Registry:
    """The registry that is named; without one, the only bundle of the user's that has one of its own."""
    if root is None and not options.tracking_uri and not os.environ.get("MLFLOW_TRACKING_URI"):
        from ...bundle.work_place import work_folder
        from ...utils.tracking import local_uri

        own = [root for root in list_bundles().values() if (Path(work_folder(root)) / "eval" / "mlruns.db").is_file()]
        if len(own) == 1:
            return Registry.of(own[0], local_uri(Path(work_folder(own[0])) / "eval"))
    return Registry.of(root, options.tracking_uri)


def _list(options: argparse.Namespace) -> int:
    registry = _registry(find_bundle(options.bundle) if options.bundle else None, options)
    models = registry.ask(lambda client: client.search_registered_models())
    for model in sorted(models, key=lambda one: one.name):
        versions = registry.versions(model.name)
        names: dict[str, list[str]] = {}
        for alias, number in model.aliases.items():
            names.setdefault(str(number), []).append(alias)
        print(printable(f"{model.name} ({model.tags.get(BUNDLE, 'not of a bundle')})"))
        for version in sorted(versions, key=lambda one: int(one.version)):
            tags = version.tags
            found = f"SHA-256 {tags[WEIGHTS_SHA256][:SHOWN]}" if WEIGHTS_SHA256 in tags else "not registered by medssm"
            decided = tags.get("comparison.decision", "never compared")
            alias = ", ".join(names.get(str(version.version), []))
            print(printable(f"  {version.version}  {found}  {decided}  {alias}".rstrip()))
    if not models:
        print(f"no models at {shown_uri(registry.uri)}")
    return 0
