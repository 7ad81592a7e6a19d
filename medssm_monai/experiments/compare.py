"""Run a plan of trainings, row by row and seed by seed, and write one table (CSV and Markdown): mean and spread over
the seeds, intervals, paired differences to a reference row on the same test images, and training minutes.

    python -m medssm_monai.experiments.compare bundles/medconvmamba                    # on the synthetic demo set
    python -m medssm_monai.experiments.compare bundles/medconvmamba --overlay covid_xray.yaml -- --dataset_dir FOLDER
    python -m medssm_monai.experiments.compare bundles/medconvmamba --rows "monai_resnet18" --seeds 0 1 --max_minutes 10
    python -m medssm_monai.experiments.compare bundles/medconvmamba --plan FILE --output_dir FOLDER
    python -m medssm_monai.experiments.compare bundles/medconvmamba --folds 5 --seeds 0 -- --dataset_dir FOLDER

With --folds K each row is trained K times, in a cross-validation over the training and the validation part: every image
is scored once, by a training that has not seen it; the test part is not touched. Groups (``--group_column`` after the
two dashes, or ``group`` of the plan) are never divided.

The plan is ``configs/comparison.yaml`` of the bundle; words after the two dashes override settings of all rows. Start
the same command again to go on: what is complete and unchanged is not repeated, a training that was interrupted goes on
from its last checkpoint, and a row whose settings changed runs again. A row that fails is reported in the table, and
the others run all the same. Start the command several times at once, one for each processor, to share the rows.

Exit status: 0, 1 when a row failed, 2 when nothing could be run, 130 or 143 when it was stopped.
"""

from __future__ import annotations

import argparse
import logging
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from ..bundle.find import find_bundle
from ..bundle.interruption import Terminated
from ..bundle.work_place import work_folder
from ..utils.command_line import before_dashes
from .parent_run import open_parent
from .plan_comparison import write_table
from .plan_folds import with_folds
from .plan_rows import RECORD, Busy, claim, run_row
from .plans import Plan, PlanError, read_plan

__all__ = ["bundle_folder", "ended_by_sigterm", "main", "run_command"]

logger = logging.getLogger(__name__)
PROGRAM = "python -m medssm_monai.experiments.compare"


def _parser(prog: str, description: str, kind: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("bundle", help="folder of the bundle, or its name")
    add("--plan", type=Path, help=f"rows to run; default: configs/{kind}.yaml of the bundle")
    add("--rows", nargs="+", metavar="NAME", help="only these rows")
    add("--seeds", nargs="+", type=int, metavar="N", help="train each row once with each of these; default: the plan's")
    add("--overlay", action="append", default=[], help="config of the bundle for all rows; repeatable")
    add("--max_minutes", type=float, metavar="M", help="processor minutes of each training, which decide its epochs")
    add(
        "--folds", type=int, metavar="K", help="cross-validation over training and validation part; default: the plan's"
    )
    add("--fold_seed", type=int, metavar="N", help="of the draw of the folds; default: the plan's, else 0")
    add("--output_dir", type=Path, help=f"default: eval/{kind} of the bundle, with folds eval/{kind}_folds")
    return parser


def run_command(given: Sequence[str], prog: str, description: str, kind: str, title: str) -> int:
    """What ``compare`` and ``ablate`` do.

    Args:
        given: words of the command line.
        prog: the command as it is typed.
        description: for its help.
        kind: stem of the default plan, of the folder below ``eval`` and of the tables.
        title: of the page.

    Returns:
        the exit status.
    """
    parser = _parser(prog, description, kind)
    own, words = before_dashes(given)
    options = parser.parse_args(own)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        bundle = bundle_folder(options.bundle)
        file = options.plan or bundle / "configs" / f"{kind}.yaml"
        plan = read_plan(
            *(bundle, file, options.overlay, words, options.seeds, options.max_minutes),
            folds=options.folds,
            fold_seed=options.fold_seed,
        )
        stem = kind if plan.folds is None else f"{kind}_folds"
        output = (options.output_dir or Path(work_folder(bundle)) / "eval" / stem).resolve()
        unknown = set(options.rows or ()) - {row.name for row in plan.rows}
        if unknown:
            raise PlanError(f"no rows {sorted(unknown)}; the plan has {[row.name for row in plan.rows]}")
        output.mkdir(parents=True, exist_ok=True)
        plan = with_folds(plan, output)
        for run in plan.runs:  # a config file that is missing shows before the first training
            plan.evaluation_fingerprint(run.row, run.seed, run.fold)
    except PlanError as error:
        parser.error(str(error))
    _name_leftovers(plan, output)
    chosen = [run for run in plan.runs if options.rows is None or run.row.name in options.rows]
    command = f"{parser.prog} {shlex.join(given)}"
    failed, busy = False, []
    parent = open_parent(plan, output, stem, title)
    ended = "KILLED"
    try:
        with ended_by_sigterm():
            for run in chosen:
                try:
                    with claim(output / run.slug):
                        failed |= run_row(plan, run, output, parent=parent)["status"] != "done"
                except Busy as error:
                    logger.info("%s: left to the other process (%s)", run.name, error)
                    busy.append(run)
                text = write_table(plan, output, stem, title, command)
        ended = "FAILED" if failed else "FINISHED"
    except (KeyboardInterrupt, Terminated) as error:
        logger.warning("Stopped. Start the same command again to go on.")
        return error.code if isinstance(error, Terminated) and isinstance(error.code, int) else 130
    finally:
        files = [output / f"{stem}.csv", output / f"{stem}_trainings.csv", output / f"{stem}.md"]
        parent.close("RUNNING" if busy and ended == "FINISHED" else ended, files)
    print(text)
    if busy:
        logger.info("%d trainings run in other processes; the last of them completes the table.", len(busy))
    logger.info("The table is in %s and %s.", output / f"{stem}.csv", output / f"{stem}.md")
    return int(failed)


def _name_leftovers(plan: Plan, output: Path) -> None:
    """Say which rows of the folder are no longer part of the plan."""
    planned = {run.slug for run in plan.runs}
    kept = [file.parent.name for file in sorted(output.glob(f"*/{RECORD}")) if file.parent.name not in planned]
    if kept:
        logger.info(
            "%s: not in the plan (any more), so not in the table; left as they are: %s", output, ", ".join(kept)
        )


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, by an exception, so that the running step is closed and recorded."""

    def end(number: int, frame: FrameType | None) -> None:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def bundle_folder(named: str) -> Path:
    """Folder of a bundle that is given as a folder or by its name.

    Raises:
        PlanError: no such bundle.
    """
    folder = Path(named)
    if (folder / "configs" / "train.yaml").is_file():
        return folder.resolve()
    try:
        return find_bundle(named)
    except FileNotFoundError as error:
        raise PlanError(str(error)) from error


def main(arguments: list[str] | None = None, prog: str = PROGRAM) -> int:
    """Run the rows; returns 1 when one failed."""
    given = sys.argv[1:] if arguments is None else arguments
    return run_command(given, prog, __doc__ or "", "comparison", "Comparison")


if __name__ == "__main__":
    sys.exit(main())
