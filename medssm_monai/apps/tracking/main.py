"""Runs that were kept in a file because their MLflow server was lost: which there are, and sending them.

    medssm tracking list bundles/mamba_mis/eval
    medssm tracking send bundles/mamba_mis/eval

A run is kept in mlruns.db in the output folder of its training. Sending brings the server's run up to it: settings,
tags, files, and each metric once, whatever had arrived before. It goes to the server that MLFLOW_TRACKING_URI or
--tracking_uri names; without either, to the one that was lost.

Exit status of send: 0 when nothing is left to send, 2 otherwise, as for a run that has not ended; of list: 0, 2 where
there is no such file.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...bundle.console import wants_traceback
from ...bundle.find import find_bundle
from ...bundle.work_place import work_folder
from ...handlers.mlflow_sending import KEPT_FOR, SENT_AT, kept_runs, lock_of, send_run
from ...utils.text_files import printable
from ...utils.tracking import environment, local_uri, resolve_tracking_uri, shown_uri
from ..frame import NOT_POSSIBLE, run_command

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

__all__ = ["main"]

PROGRAM = "python -m medssm_monai.apps.tracking"
HIDDEN = ":***@"
SQLITE = b"SQLite format 3\0"  # how its files begin


def main(arguments: Sequence[str] | None = None, prog: str = PROGRAM) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    one = actions.add_parser("list", help="kept runs, and whether they were sent", allow_abbrev=False)
    one.set_defaults(run=_list)
    two = actions.add_parser("send", help="send those that were not", allow_abbrev=False)
    two.add_argument(
        "--tracking_uri", metavar="URI", help="of the server (default: MLFLOW_TRACKING_URI, else the lost)"
    )
    two.set_defaults(run=_send)
    for action in (one, two):
        action.add_argument("place", metavar="FOLDER", help="output folder of the runs, or the name of a bundle")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for noisy in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    return run_command(f"{prog} {options.action}", lambda: options.run(options, _kept_in(options.place)))


def _kept_in(place: str) -> Path:
    """The SQLite file of an output folder, or of a bundle's.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is none of SQLite.
    """
    folder = Path(place) if Path(place).is_dir() else Path(work_folder(find_bundle(place)))
    for file in (folder / "mlruns.db", folder / "eval" / "mlruns.db"):
        if file.is_file():
            with open(file, "rb") as stream:
                if stream.read(len(SQLITE)) != SQLITE:
                    raise ValueError(
                        f"{file} is damaged, or no file of MLflow's; put the one of a backup in its place."
                    )
            return file.resolve()
    raise FileNotFoundError(
        f"no runs are kept in {folder}: it has neither mlruns.db nor eval/mlruns.db. Name the output folder of the "
        "training, which its log names, or the bundle."
    )


def _client(kept_in: Path) -> MlflowClient:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=local_uri(kept_in.parent))


def _list(options: argparse.Namespace, kept_in: Path) -> int:
    runs = kept_runs(_client(kept_in), sent=True)
    for run in runs:
        tags = run.data.tags
        state = f"sent {tags[SENT_AT]}" if tags.get(SENT_AT) else "not sent"
        print(printable(f"{run.info.run_name}  {run.info.status}  {tags[KEPT_FOR]}  {state}"))
    if not runs:
        print(f"no runs were kept for a server in {kept_in}")
    return 0


def _send(options: argparse.Namespace, kept_in: Path) -> int:
    kept = _client(kept_in)
    runs = kept_runs(kept)
    failed = 0
    for run in runs:
        uri = _server(run, options.tracking_uri, kept_in)
        try:
            sent = send_run(kept, run.info.run_id, uri, lock_of(kept_in))
        except Exception as error:
            if wants_traceback():
                raise
            failed += 1
            print(printable(f"{run.info.run_name}: not sent to {shown_uri(uri)} ({error})"), file=sys.stderr)
            continue
        failed += not sent.whole
        end = "" if sent.whole else "; it has not ended: send it again later, or resume it"
        print(
            printable(
                f"{run.info.run_name}: {sent.metrics} metrics and {sent.files} files sent to {shown_uri(uri)}{end}"
            )
        )
    if not runs:
        print(f"nothing is left to send in {kept_in}")
    return NOT_POSSIBLE if failed else 0


def _server(run: Run, tracking_uri: str | None, kept_in: Path) -> str:
    """Where a run goes: an argument, ``MLFLOW_TRACKING_URI``, or the server that was lost.

    Raises:
        ValueError: its address had a password, which is not kept; or it is the very file that the run is in.
    """
    named = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    lost = run.data.tags[KEPT_FOR]
    if not named and HIDDEN in lost:
        raise ValueError(f"the password of {lost} is not kept with the runs: set MLFLOW_TRACKING_URI.")
    with environment({"MLFLOW_TRACKING_URI": None}):  # the argument comes first
        uri = resolve_tracking_uri(kept_in.parent, named or lost)
    if uri == local_uri(kept_in.parent):
        raise ValueError(
            f"{shown_uri(uri)} is where the runs are kept; name the server: --tracking_uri http://HOST:5000."
        )
    return uri
