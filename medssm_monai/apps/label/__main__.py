"""Start MONAI Label's server with this app on a local folder, without a network.

    python -m medssm_monai.apps.label --studies FOLDER --models mamba_mis,medconvmamba

Images lie in FOLDER itself; labels and scores are kept below it by MONAI Label.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from ...utils.bundles import BUNDLES_VARIABLE, find_bundle, list_bundles
from .uploads import private_uploads

__all__ = ["main"]

ENTRY = Path(__file__).with_name("main.py")
DEFAULTS = {"MLFLOW_DISABLE_TELEMETRY": "true", "OMP_WAIT_POLICY": "PASSIVE"}  # for the trainings


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m medssm_monai.apps.label", description=__doc__.splitlines()[0])
    parser.add_argument("--studies", required=True, help="folder of the images")
    parser.add_argument("--models", default="all", help="bundles, separated by commas (default: all that are found)")
    parser.add_argument("--bundles", help=f"folder that holds the bundles (default: {BUNDLES_VARIABLE}, ./bundles)")
    parser.add_argument("--app-dir", help="where MONAI Label keeps logs and trainings (default: STUDIES/.medssm_label)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this computer only)")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--device", help="cpu, cuda:0, ... (default: a GPU where there is one)")
    parser.add_argument("--conf", nargs=2, action="append", default=[], metavar=("KEY", "VALUE"), help="see the docs")
    return parser


def prepare_app(app_dir: Path) -> None:
    """Make the folder of the app, with its entry file.

    Raises:
        SystemExit: another app's ``main.py`` lies there.
    """
    entry = app_dir / ENTRY.name
    if entry.is_file() and "medssm_monai" not in entry.read_text(encoding="utf-8", errors="replace"):
        sys.exit(f"{entry} belongs to another app of MONAI Label; name another folder with --app-dir.")
    app_dir.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ENTRY, entry)


def main(arguments: list[str] | None = None) -> None:
    """Prepare the app folder and hand over to MONAI Label; returns when the server has ended."""
    options = _parser().parse_args(arguments)
    if options.bundles:
        os.environ[BUNDLES_VARIABLE] = str(Path(options.bundles).absolute())
    names = sorted(list_bundles()) if options.models == "all" else options.models.split(",")
    for name in names:
        find_bundle(name)
    try:
        from monailabel.main import Main
    except ImportError as error:
        sys.exit(f"MONAI Label is missing or incomplete ({error}); install it: pip install 'medssm-monai[label]'.")
    for variable, value in DEFAULTS.items():
        os.environ.setdefault(variable, value)
    app_dir = Path(options.app_dir or Path(options.studies) / ".medssm_label").absolute()
    prepare_app(app_dir)
    conf = [("models", ",".join(names)), ("zoo_source", "local"), ("sam2", "false"), *map(tuple, options.conf)]
    conf += [("device", options.device)] if options.device else []
    sys.argv = ["monailabel", "start_server", "--app", str(app_dir), "--studies", options.studies]
    sys.argv += ["--host", options.host, "--port", str(options.port)]
    sys.argv += [word for pair in conf for word in ("--conf", *pair)]
    with private_uploads():
        Main().run()


if __name__ == "__main__":
    main()
