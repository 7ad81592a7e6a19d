r"""Search settings of a training: a grid, or a study by Optuna. Each trial is a training of its own, and the validation
figure that chooses a training's checkpoint chooses the trial; no trial is evaluated on the test part.

::

    python -m medssm_monai.experiments.tune bundles/medconvmamba --grid "{'learning_rate': [0.0003, 0.001, 0.003]}"
    python -m medssm_monai.experiments.tune bundles/mamba_mis --trials 20 \
        --space "{'learning_rate': {low: 1.0e-4, high: 1.0e-2, log: true}, 'network_args#drop_path': [0.0, 0.1]}" \
        -- --dataset_dir FOLDER --max_epochs 40
    python -m medssm_monai.experiments.tune bundles/mamba_mis --plan FILE --output_dir FOLDER

A grid trains every combination. Ranges need Optuna (extra ``tune``), which proposes trials by TPE and ends those that
fall behind (``--no_pruning`` lets all go on). A plan is YAML with ``grid``, or with ``space`` and ``trials``, and
perhaps ``seed``, ``pruning``, ``overlays``, ``overrides``. Words after the two dashes override settings of all trials.

Written: ``tune.csv`` and ``tune.md`` (the best trial first), ``best.yaml`` (an overlay for ``train.yaml``), a folder
for each trial, and in MLflow one run whose children are the trials. Start the same command again to go on: what is
complete is not repeated, an interrupted training goes on from its last checkpoint, a larger ``--trials`` or grid adds
to what is there. A trial that fails is listed, and the others run all the same. Start the command several times at once
to share the trials.

Exit status: 0, 1 when a trial failed, 2 when nothing could be run, 130 or 143 when it was stopped.
"""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock
from monai.bundle import ConfigParser

from ..bundle.interruption import Terminated
from ..bundle.work_place import work_folder
from ..utils import replace_file
from ..utils.command_line import as_typed, before_dashes, python_name
from .compare import bundle_folder, ended_by_sigterm
from .parent_run import ParentRun, open_parent
from .plan_rows import Busy, claim, name_of, read_record, run_row
from .plans import Plan, PlanError, Row, Run, parse_words, short_digest
from .programs import RowError
from .tune_optuna import OptunaStudy
from .tune_space import Search, check_keys, grid_rows, read_search
from .tune_table import BEST, best_trial, trial_page, write_best, write_trials
from .tune_watch import read_watch

__all__ = ["main"]

logger = logging.getLogger(__name__)
PROGRAM = "python -m medssm_monai.experiments.tune"
STEM, WATCH = "tune", "validations.json"
Claimed = tuple[int | None, Row, FileLock]


class Study:
    """The trials of a search, in a folder.

    Args:
        plan: settings of all trials; no rows.
        search: what is searched.
        output: the folder.

    Raises:
        PlanError: keys that cannot be searched, or Optuna is needed and not there.
    """

    def __init__(self, plan: Plan, search: Search, output: Path) -> None:
        self.plan, self.search, self.output = plan, search, output
        self.config = ConfigParser.load_config_files(plan.configs(Row("base")))
        check_keys(search, self.config, plan.overrides)
        self.keys = list(search.keys)
        self.metric = "validation figure"
        self.busy: list[str] = []
        self.optuna: OptunaStudy | None = None
        if search.trials is not None:
            same = [plan.fingerprint(Row("base")), search.as_text(), search.seed]
            self.optuna = OptunaStudy(output, f"{plan.bundle.name}-{short_digest(same)}", search)

    def turns(self) -> Iterator[Claimed]:
        """Trials to run, one after the other, each claimed by this process."""
        if self.optuna is None:
            for row in grid_rows(self.search):
                lock = self._claim(row)
                if lock is not None:
                    yield None, row, lock
            return
        while True:
            with FileLock(self.output / f".{STEM}.lock"):  # between a proposal and its claim nobody else looks
                turn = self._next(self.optuna)
            if turn is None:
                return
            yield turn

    def _next(self, study: OptunaStudy) -> Claimed | None:
        known = study.rows()
        for number, (row, state) in known.items():
            lock = self._claim(row) if state == "running" else None  # left by a process that was stopped
            if lock is not None:
                return number, row, lock
        if len(known) >= (self.search.trials or 0):
            return None
        number, row = study.propose()
        lock = self._claim(row)
        return None if lock is None else (number, row, lock)

    def _claim(self, row: Row) -> FileLock | None:
        try:
            return claim(self.output / Run(row).slug)
        except Busy as error:
            if row.name not in self.busy:
                logger.info("%s: left to the other process (%s)", row.name, error)
                self.busy.append(row.name)
            return None

    def run(self, number: int | None, row: Row, parent: ParentRun) -> bool:
        """Train one trial; returns whether it came to its end."""
        run = Run(row)
        folder = self.output / run.slug
        watch: dict[str, Any] = {
            "_target_": "medssm_monai.experiments.tune_watch.ValidationWatch",
            "evaluator": "@validate#evaluator",
            "path": str(folder / WATCH),
        }
        if self.optuna is not None and number is not None:
            watch["pruning"] = self.optuna.pruning(number, self._warm_up(row))
        more: dict[str, Any] = {"+train#handlers": [*(self.plan.overrides.get("+train#handlers") or []), watch]}
        if parent.run_id is not None:
            more["tracker#params#trial"] = {key.replace("#", "."): value for key, value in row.overrides.items()}
        record = run_row(self.plan, run, self.output, parent, score_trial, more)
        score = record.get("score") if record["status"] == "done" else None
        if self.optuna is not None and number is not None:
            self.optuna.tell(number, score, bool(record.get("pruned")))
        if score is not None:
            tags = {"trial": row.name, "pruned": str(record.get("pruned") is not None).lower()}
            parent.log_child(
                name_of(run, self.output), {"trial_score": score, "trial_best_epoch": record["best_epoch"]}, tags
            )
        return record["status"] == "done"

    def _warm_up(self, row: Row) -> int:
        """Epochs in which nothing is pruned: those of the learning rate's warm-up."""
        given = {**self.config, **self.plan.training_overrides(row)}.get("warmup_epochs", 0)
        return given if isinstance(given, int) else 0

    def trials(self) -> list[dict[str, Any]]:
        """All trials as they stand in their folders."""
        rows = grid_rows(self.search) if self.optuna is None else [row for row, _ in self.optuna.rows().values()]
        found = []
        for row in rows:
            folder = self.output / Run(row).slug
            record = read_record(folder)
            if record is None or record["fingerprint"] != self.plan.fingerprint(row):
                record = {"status": "not run"}
            status = "pruned" if record["status"] == "done" and record.get("pruned") else record["status"]
            self.metric = record.get("metric", self.metric)
            found.append({**record, "name": row.name, "status": status, "values": row.overrides, "folder": folder.name})
        return found

    def write(self, command: str, then: str) -> str:
        """Write the tables and the best settings; returns the page."""
        trials = self.trials()
        best = best_trial(trials)
        text = trial_page(trials, self.keys, self.metric, f"Study of {self.plan.bundle.name}", command, then)
        with FileLock(self.output / f".{STEM}_table.lock"):
            write_trials(trials, self.keys, self.output / f"{STEM}.csv")
            with replace_file(self.output / f"{STEM}.md") as part:
                part.write_text(text, encoding="utf8")
            if best is not None:
                write_best(best, self.metric, self.output / BEST)
        return text


def score_trial(plan: Plan, run: Run, folder: Path, record: dict[str, Any]) -> None:
    """The record gets the best validation figure of the training, and when it was.

    Raises:
        RowError: no validation gave a figure.
    """
    file = folder / WATCH
    found = read_watch(file) if file.is_file() else {"values": {}}
    if not found["values"]:
        raise RowError(f"no validation of {run.name} gave a figure (val_interval, and the log in {folder})")
    epoch, score = max(found["values"].items(), key=lambda entry: (entry[1], -int(entry[0])))
    record |= {"metric": found["metric"], "score": score, "best_epoch": int(epoch), "pruned": found["pruned"]}
    record["epochs"] = max(map(int, found["values"]))


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("bundle", help="folder of the bundle, or its name")
    add("--grid", metavar="YAML", help="config keys and their values; every combination is trained")
    add("--space", metavar="YAML", help="config keys and their values or ranges {low, high, log, step}; needs Optuna")
    add("--trials", type=int, metavar="N", help="of an Optuna study, in all")
    add("--plan", type=Path, metavar="FILE", help="the same in a file")
    add("--seed", type=int, metavar="N", help="of Optuna's draws; default 0")
    add("--no_pruning", action="store_true", help="no trial of an Optuna study is ended early")
    add("--overlay", action="append", default=[], help="config of the bundle for all trials; repeatable")
    add("--output_dir", type=Path, help="default: eval/tune of the bundle")
    return parser


def _training_command(plan: Plan, output: Path, words: Sequence[str]) -> str:
    """The training with the best settings."""
    files = [*plan.configs(Row("best")), str(output / BEST)]
    return as_typed([python_name(), "-m", "monai.bundle", "run", "training", "--config_file", str(files), *words])


def main(arguments: Sequence[str] | None = None, prog: str = PROGRAM) -> int:
    """Run the study; returns 1 when a trial failed."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser(prog)
    own, words = before_dashes(given)
    options = parser.parse_args(own)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        pruning = False if options.no_pruning else None
        search = read_search(options.plan, options.grid, options.space, options.trials, options.seed, pruning)
        bundle = bundle_folder(options.bundle)
        output = (options.output_dir or Path(work_folder(bundle)) / "eval" / STEM).resolve()
        overrides = {**(search.overrides or {}), **parse_words(words)}
        plan = Plan(bundle, (), (), overrides, (*search.overlays, *options.overlay))
        output.mkdir(parents=True, exist_ok=True)
        study = Study(plan, search, output)
    except PlanError as error:
        parser.error(str(error))
    fixed = [word for key, value in (search.overrides or {}).items() for word in (f"--{key}", str(value))]
    then = _training_command(plan, output, [*fixed, *words])
    return _run(study, f"{prog} {shlex.join(given)}", then, search)


def _run(study: Study, command: str, then: str, search: Search) -> int:
    searched = {key.replace("#", "."): repr(entry) for key, entry in search.keys.items()}
    parent = open_parent(study.plan, study.output, STEM, "Study", {"searched": searched, "trials": search.trials})
    failed, ended = False, "KILLED"
    try:
        with ended_by_sigterm():
            for number, row, lock in study.turns():
                try:
                    failed |= not study.run(number, row, parent)
                finally:
                    lock.release(force=True)
                study.write(command, then)
            text = study.write(command, then)
        ended = "FAILED" if failed else "FINISHED"
    except (KeyboardInterrupt, Terminated) as error:
        logger.warning("Stopped. Start the same command again to go on.")
        return error.code if isinstance(error, Terminated) and isinstance(error.code, int) else 130
    finally:
        best = best_trial(study.trials())
        if best is not None:
            parent.log_metrics({"best_score": best["score"]})
        names = (f"{STEM}.csv", f"{STEM}.md", BEST)
        status = "RUNNING" if study.busy and ended == "FINISHED" else ended
        parent.close(status, [study.output / name for name in names])
    print(text)
    logger.info(
        "The table is in %s and %s beside it, the best settings in %s.",
        study.output / f"{STEM}.md",
        f"{STEM}.csv",
        BEST,
    )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
