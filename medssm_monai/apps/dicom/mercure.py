"""A module for the router mercure, and a watcher for sites that run no containers.

    python -m medssm_monai.apps.dicom.mercure medconvmamba
    python -m medssm_monai.apps.dicom.mercure medconvmamba --watch TASKS --output RESULTS --errors FAILED

The first takes the images of the folder MERCURE_IN_DIR and writes results into MERCURE_OUT_DIR, all of them or none;
``process.settings`` of task.json change its options. The second does so with every task that comes into a folder. Exit
status of the first: 0, 1 when the task has failed, 2 when nothing could be done.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from ...utils.text_files import printable
from .mercure_task import Engines, TaskError, read_settings, run_task
from .mercure_watch import Watcher, WatchOptions
from .options import add_engine_options, build_engine
from .served import end_on_signals, run_served

__all__ = ["main"]

PROGRAM = "python -m medssm_monai.apps.dicom.mercure"
IN, OUT = "MERCURE_IN_DIR", "MERCURE_OUT_DIR"
DONE, FAILED = 0, 1


def main(arguments: list[str] | None = None, prog: str = PROGRAM) -> int:
    """Command line; returns the exit status."""
    options = _parser(prog).parse_args(arguments)

    def run() -> int:
        try:
            return _watch(options) if options.watch else _module(options)
        except TaskError as error:
            print(printable(f"{prog}: {error}"), file=sys.stderr)
            return FAILED

    return run_served(prog, run)


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add_engine_options(parser)
    watch = parser.add_argument_group("watcher")
    watch.add_argument("--watch", type=Path, metavar="FOLDER", help="of tasks, such as mercure's processing folder")
    watch.add_argument("--output", type=Path, metavar="FOLDER", help="gets results, such as mercure's outgoing folder")
    watch.add_argument("--errors", type=Path, metavar="FOLDER", help="gets tasks that have failed")
    watch.add_argument("--max-attempts", type=int, default=3, help="before a task counts as failed")
    watch.add_argument("--poll", type=float, default=1.0, help="seconds between two looks")
    watch.add_argument("--once", action="store_true", help="end when no task is left")
    return parser


def _module(options: argparse.Namespace) -> int:
    missing = [name for name in (IN, OUT) if not os.environ.get(name)]
    if missing:
        raise ValueError(f"{' and '.join(missing)} not set: mercure does; else use --watch FOLDER.")
    inputs, output = Path(os.environ[IN]), Path(os.environ[OUT])
    if not inputs.is_dir():
        raise FileNotFoundError(f"{IN}: no such folder.")
    said = run_task(Engines(options, build_engine).engine(read_settings(inputs)), inputs, output)
    for one in said["predictions"]:
        print(printable(f"series {one['series_uid']}: {one['answer']} ({len(one['objects'])} objects)"))
    if not said["predictions"]:
        print(printable("; ".join(["nothing to predict", *said["not_predicted"]])))
    return DONE


def _watch(options: argparse.Namespace) -> int:
    if not options.output or not options.errors:
        raise ValueError("--watch needs --output FOLDER and --errors FOLDER.")
    folders = [Path(os.path.abspath(folder)) for folder in (options.watch, options.output, options.errors)]
    if len(set(folders)) < len(folders):
        raise ValueError("--watch, --output and --errors must be three folders.")
    engines = Engines(options, build_engine)
    engines.engine({})  # a wrong command line is said now
    watch, output, errors = folders
    settings = WatchOptions(watch, output, errors, options.max_attempts, options.poll)
    watcher = Watcher(engines.engine, settings)

    end_on_signals(watcher)
    print("Watching.", flush=True)
    watcher.run(options.once)
    return DONE


if __name__ == "__main__":
    sys.exit(main())
