"""A folder of DICOM studies through a bundle: segmentations, derived images and structured reports come out.

    python -m medssm_monai.apps.dicom mamba_mis STUDIES RESULTS
    python -m medssm_monai.apps.dicom medconvmamba STUDIES RESULTS --modality CR --modality DX --report report.json
    python -m medssm_monai.apps.dicom clinical_fmamba STUDIES RESULTS --weights volume --source source_a=T1 --source source_b=CT
    python -m medssm_monai.apps.dicom mamba_mis STUDIES RESULTS --dry-run

Results of one image or volume lie in RESULTS/STUDY UID/NAME, each whole or not there; started again, what is done is
passed over. Neither messages nor names of files hold the patient's name or the names of the files that were read
(MEDSSM_FULL_NAMES=1 shows the latter). Exit status: 0, 2 when nothing could be done, 3 when a prediction failed or a
file could not be read, 130 after Ctrl-C and 143 after SIGTERM, which let the prediction at hand end.
"""  # noqa: E501

from __future__ import annotations

import argparse
import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ...utils import shown_path
from ...utils.text_files import printable
from ..frame import NOT_POSSIBLE, run_to_go_on
from .account import Account
from .options import add_engine_options, build_engine
from .stopping import stop_between

if TYPE_CHECKING:
    from ...dicom.engine import StudyEngine, StudyPlan

__all__ = ["main"]

PROGRAM = "python -m medssm_monai.apps.dicom"
DONE, SOME_FAILED = 0, 3
SHOWN = 20


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add_engine_options(parser)
    parser.add_argument("inputs", metavar="IN", help="folder of studies (or one file), with any folders below")
    parser.add_argument("output", metavar="OUT", help="folder of the results")
    parser.add_argument("--dry-run", action="store_true", help="say what would be predicted, and write nothing")
    parser.add_argument("--report", metavar="FILE", help="JSON: what was read, passed over and written, and why")
    return parser


def main(arguments: list[str] | None = None, prog: str = PROGRAM) -> int:
    """Command line; returns the exit status."""
    options = _parser(prog).parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    return run_to_go_on(prog, lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    started = time.perf_counter()
    engine = build_engine(options)
    plan = engine.plan(Path(options.inputs))
    account = Account(plan, Path(options.output))
    if options.dry_run:
        for line in _planned(engine, plan):
            print(printable(line))
    elif plan.jobs:
        engine.about  # noqa: B018  missing weights are said once, before the first prediction
        try:
            _predict(engine, plan, account, Path(options.output))
        except BaseException:  # a full disk, Ctrl-C: what was done stays, and is said
            print(printable(account.lines()[0]), file=sys.stderr)
            raise
    for line in account.lines()[int(options.dry_run) :]:
        print(printable(line))
    if account.results:
        print(printable(f"Results: {shown_path(options.output)}"))
    if options.report:
        model = None if options.dry_run else engine.about.described
        account.write(Path(options.report), model, time.perf_counter() - started)
    if account.failed or plan.lost:
        return SOME_FAILED
    if not plan.jobs:
        print("There is nothing in the input that the network takes.", file=sys.stderr)
        return NOT_POSSIBLE
    return DONE


def _planned(engine: StudyEngine, plan: StudyPlan) -> list[str]:
    lines = [f"{len(plan.jobs)} predictions with {engine.predictor.name}:"]
    for job in plan.jobs[:SHOWN]:
        first = job.series[0]
        what = "picture" if job.pictures else f"volume of {len(first.frames or first.instances)} slices"
        series = " and ".join(plan.names.uid(one.series_uid) for one in job.series)
        lines.append(f"  {first.modality} series {series}: {what}")
    return [*lines, *([f"  and {len(plan.jobs) - SHOWN} more"] if len(plan.jobs) > SHOWN else [])]


def _predict(engine: StudyEngine, plan: StudyPlan, account: Account, output: Path) -> None:
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    with (
        stop_between() as between,
        logging_redirect_tqdm(),
        tqdm(total=len(plan.jobs), desc=engine.predictor.name, unit="image", disable=None, dynamic_ncols=True) as bar,
    ):
        for result in engine.run(plan, output):
            account.results.append(result)
            bar.set_postfix_str(result.answer if result.state != "failed" else "failed", refresh=False)
            bar.update()
            between()
