"""Copy a bundle, pack it into an archive of MONAI's Model Zoo, check such an archive or the weights of the package.

    python -m medssm_monai.apps.bundles copy mamba_mis DIR
    python -m medssm_monai.apps.bundles pack mamba_mis DIR
    python -m medssm_monai.apps.bundles pack mamba_mis DIR --ckpt_path DIR/mamba_mis/models/trained/model.pt
    python -m medssm_monai.apps.bundles verify DIR/mamba_mis_v0.1.0.zip
    python -m medssm_monai.apps.bundles verify

A copy is written to DIR/NAME and never over anything. Exit status: 0, 1 when an archive is not the one that was packed
or weights are not those that came with the package, 2 when nothing could be done.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from .. import bundle as bundles
from ..utils import file_sha256, root_cause, shown_path
from ..utils.text_files import printable

__all__ = ["main"]

PROGRAM = "python -m medssm_monai.apps.bundles"


def _parser(prog: str = PROGRAM) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    copy = actions.add_parser("copy", help="copy a bundle, to change and to train it")
    pack = actions.add_parser("pack", help="pack a bundle into NAME_vVERSION.zip")
    for action in (copy, pack):
        action.add_argument("bundle", metavar="NAME", help="name of a bundle, or its folder")
        action.add_argument("folder", metavar="DIR", help="folder that it goes into; created where it is missing")
    pack.add_argument("--ckpt_path", metavar="FILE", help="your own weights, packed as models/model.pt")
    pack.add_argument("--url", help="folder on the web where files of more than 25 MiB are going to lie")
    verify = actions.add_parser(
        "verify", help="check every file of an archive, or the weights that came with the package"
    )
    verify.add_argument(
        "archive", nargs="?", metavar="ARCHIVE", help="NAME_vVERSION.zip; default the weights of the package"
    )
    return parser


def main(arguments: list[str] | None = None, prog: str = PROGRAM) -> int:
    """Command line; returns the exit status."""
    options = _parser(prog).parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        if options.action == "copy":
            copy = bundles.copy_bundle(options.bundle, options.folder)
            config = shown_path(copy / "configs" / "train.yaml")
            print(printable(f"{copy}\nTrain it: python -m monai.bundle run training --config_file {config}"))
        elif options.action == "pack":
            archive = bundles.pack_bundle(options.bundle, options.folder, ckpt_path=options.ckpt_path, url=options.url)
            print(printable(f"{_described(archive)}\nIts sum for sha256sum -c: {archive.name}.sha256"))
        else:
            return _verify(options.archive)
    except (OSError, ValueError, RuntimeError) as error:
        cause = root_cause(error)
        print(printable(f"{type(cause).__name__}: {cause}"), file=sys.stderr)
        return 2
    return 0


def _verify(path: str | None) -> int:
    try:
        names = bundles.verify_shipped() if path is None else bundles.verify_archive(path)
    except ValueError as error:
        print(printable(str(error)), file=sys.stderr)
        return 1
    if path is None:
        print(f"{len(names)} files of weights, settings and cards, all as they came with the package")
    else:
        print(printable(f"{_described(Path(path))}: {len(names)} files, all as they were packed"))
    return 0


def _described(archive: Path) -> str:
    return f"{archive} ({archive.stat().st_size / 2**20:.1f} MiB, SHA-256 {file_sha256(archive)})"


if __name__ == "__main__":
    sys.exit(main())
