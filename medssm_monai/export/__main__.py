"""Export a bundle and check every file in its own runtime.

    python -m medssm_monai.export bundles/mamba_mis
    python -m medssm_monai.export bundles/mamba_mis --formats torchscript onnx --images FOLDER --output_dir DIR

Exit status: 0 when every file passed, 1 when one was refused, 2 when nothing could be exported.
"""

from __future__ import annotations

import argparse
import ast
import logging
import sys
from typing import Any

from ..utils import root_cause
from .closing_message import close_export
from .formats import FORMATS
from .run import export_bundle

PROGRAM = "python -m medssm_monai.export"


def _override(text: str) -> tuple[str, Any]:
    key, separator, value = text.partition("=")
    if not key or not separator:
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, got {text!r}")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):  # a word, taken as it is
        return key, value


def _parser(prog: str = PROGRAM) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", help="folder of a bundle, or its name")
    parser.add_argument("--formats", nargs="+", choices=sorted(FORMATS), default=list(FORMATS), help="default: all")
    parser.add_argument("-o", "--output_dir", help="default: beside the bundle's weights, else its models/")
    parser.add_argument(
        "--weights", "--ckpt_path", dest="ckpt_path", help="weights; default: those the bundle's inference takes"
    )
    parser.add_argument("--images", help="what the bundle's dataset_dir takes; default: its synthetic demo images")
    parser.add_argument("--samples", type=int, default=8, help="images or windows to compare (default 8)")
    parser.add_argument("--repeats", type=int, default=7, help="rounds of the timing (default 7; 0: none)")
    parser.add_argument("--untrained", action="store_true", help="random weights, to try the export of a network")
    parser.add_argument("--seed", type=int, default=0, help="of --untrained")
    parser.add_argument(
        "--override",
        type=_override,
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="keys of inference.yaml",
    )
    return parser


def main(arguments: list[str] | None = None, prog: str = PROGRAM) -> int:
    """Command line; returns the exit status."""
    options = vars(_parser(prog).parse_args(arguments))
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    options["overrides"] = dict(options.pop("override"))
    try:
        report = export_bundle(**options)
    except Exception as error:
        cause = root_cause(error)
        print(f"{prog}: {cause}", file=sys.stderr)
        return 2
    print(report.as_markdown())
    print(close_export(report))
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main())
