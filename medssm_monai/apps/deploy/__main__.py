"""Run a bundle inside MONAI Deploy.

    python -m medssm_monai.apps.deploy -i STUDIES -o RESULTS -m MODEL [--weights NAME] [--rules FILE]

MODEL is a bundle's folder (--weights names others of its weights, such as volume), or the .ts that python -m
medssm_monai.export wrote. --rules is a JSON file of DICOMSeriesSelectorOperator. All other options are the SDK's. Exit
status: 0, 2 when nothing could be done, 3 when a prediction failed or a file could not be read.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ...bundle.console import wants_traceback
from ...utils import root_cause
from ...utils.text_files import printable

__all__ = ["main"]

PROGRAM = "python -m medssm_monai.apps.deploy"
MISSING = (
    "MONAI Deploy's SDK is not installed. It has an environment of its own: pip install -e '.[dicom]' -c "
    "constraints.txt, then pip install monai-deploy-app-sdk==4.0.0."
)
NOT_POSSIBLE, SOME_FAILED = 2, 3


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--weights", metavar="NAME", help="of a bundle's folder, a file or a name in its models/")
    parser.add_argument("--rules", metavar="FILE", help="which series: JSON for the SDK's DICOMSeriesSelectorOperator")
    options, others = parser.parse_known_args(words)
    try:
        from .application import BundleApplication
    except ImportError as error:
        print(printable(f"{PROGRAM}: {MISSING} ({error})"), file=sys.stderr)
        return NOT_POSSIBLE
    try:
        rules = Path(options.rules).read_text(encoding="utf8") if options.rules else ""
        BundleApplication([PROGRAM, *others], rules, weights=options.weights).run()
    except Exception as error:
        if wants_traceback():
            raise
        print(printable(f"{PROGRAM}: {root_cause(error)}"), file=sys.stderr)
        return SOME_FAILED if isinstance(error, RuntimeError) else NOT_POSSIBLE
    return 0


if __name__ == "__main__":
    sys.exit(main())
