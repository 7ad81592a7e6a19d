"""Show what bundles predict, in the browser of this computer.

    medssm view [BUNDLE ...]        (or python -m medssm_monai.apps.viewer)

Without names: all bundles that have weights. Nothing leaves the computer.
"""

from __future__ import annotations

import argparse
import logging
import sys
from importlib.util import find_spec

from .quiet import use_quiet_settings

__all__ = ["main"]

PROGRAM = "python -m medssm_monai.apps.viewer"
MISSING = (
    "The viewer needs Gradio, which is not installed. Install the extra: pip install 'medssm-monai[viewer]' (in a "
    "clone: pip install -e '.[viewer]' -c constraints.txt)."
)


def _parser(prog: str = PROGRAM) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog, description=__doc__.splitlines()[0], epilog=f"example: {prog} mamba_mis")
    parser.add_argument("bundles", nargs="*", metavar="BUNDLE", help="name or folder (default: all with weights)")
    parser.add_argument(
        "--weights", "--ckpt_path", "--ckpt-path", dest="ckpt_path", help="weights, for one bundle that is named"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address of this computer (default: %(default)s)")
    parser.add_argument("--port", type=int, help="default: 7860, or any free one")
    parser.add_argument("--device", help="cpu, cuda:0, ... (default: a GPU where there is one)")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    return parser


def main(arguments: list[str] | None = None, prog: str = PROGRAM) -> int:
    """Serve the page until it is told to end; returns the exit status."""
    options = _parser(prog).parse_args(arguments)
    use_quiet_settings()
    if find_spec("gradio") is None:
        print(MISSING, file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    from .models import find_models
    from .server import serve

    try:
        models = find_models(options.bundles, options.ckpt_path, options.device)
        serve(models, options.host, options.port, not options.no_browser)
    except (OSError, ValueError) as error:
        print(f"medssm-monai viewer: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
