"""An archive of any size through a bundle: a folder of images, a table, a Parquet list, or a DICOM archive.

    python -m medssm_monai.apps.bulk mamba_mis IMAGES RESULTS
    python -m medssm_monai.apps.bulk medconvmamba list.parquet RESULTS --workers 8
    python -m medssm_monai.apps.bulk mamba_mis ARCHIVE RESULTS --layout dicom --modality MR --address auto

Each study has one complete result or none, below RESULTS/results; RESULTS/manifest.sqlite says what waits, is done or
has failed. Killed at any moment and started again, the command goes on. With Ray (extra scale) there is a worker for
each core, or those of a cluster (--address); without it one process does the same work. Nothing that is written or said
names the input's files unless --names asks for it. Exit status: 0, 2 when nothing could be done, 3 when a study failed,
130 after Ctrl-C and 143 after SIGTERM, which let the studies at hand end.
"""

from __future__ import annotations

import argparse
import logging
import os
import sqlite3
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...data.errors import REMEDIES
from ...utils import root_cause, shown_path, writable_folder
from ...utils.errors import describe_error
from ...utils.shown_names import full_names
from ...utils.text_files import printable
from ..dicom.options import add_engine_options, build_engine, build_predictor
from ..dicom.stopping import stop_between
from ..frame import NOT_POSSIBLE, run_to_go_on
from .in_process import InProcess, Pool
from .manifest import GONE, Manifest
from .progress import Progress
from .run import BulkRun
from .secret import KeyedSource, keyed, secret_of
from .sources import LAYOUTS, Source, open_source
from .tables import FAILURES, REPORT, Account
from .work import Work, describe_work

if TYPE_CHECKING:
    from ...bundle.predictor import Predictor
    from ...dicom.engine import StudyEngine

__all__ = ["main"]

logger = logging.getLogger(__name__)

PROGRAM = "python -m medssm_monai.apps.bulk"
DONE, SOME_FAILED = 0, 3
MANIFEST, LOCK = "manifest.sqlite", ".lock"
ONLY_DICOM = ("modality", "body_part", "description", "source", "own_results", "objects", "segments", "fractional")
ONE_PROCESS = 'one process: with Ray (pip install "medssm-monai[scale]") every core would have a worker'


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add_engine_options(parser)
    parser.add_argument("inputs", metavar="IN", help="a folder, an image, a table (CSV) or a Parquet list")
    parser.add_argument(
        "output", metavar="OUT", help="folder of the results, of one input, bundle, weights and options"
    )
    parser.add_argument(
        "--layout", choices=LAYOUTS, default="auto", help="of a folder (default: dicom where its images are DICOM)"
    )
    parser.add_argument("--names", action="store_true", help="tables and messages with what the inputs are called")
    parser.add_argument("--retry-failed", action="store_true", help="once more what has failed")
    parser.add_argument("--moved", action="store_true", help="IN is the input of OUT, which lay elsewhere before")
    who = parser.add_argument_group("workers")
    who.add_argument("--workers", type=int, metavar="N", help="how many (default: one for each core or GPU; needs Ray)")
    who.add_argument("--threads", type=int, metavar="N", help="of each worker (default: cores by workers)")
    who.add_argument("--gpus", type=float, metavar="X", help="of each worker, 0.5: two share one (default: 1 or none)")
    who.add_argument("--address", help="of a Ray cluster, such as auto (default: this machine alone)")
    who.add_argument("--ray-temp", metavar="DIR", help="short path for Ray's sockets and logs (default: the system's)")
    return parser


def main(arguments: list[str] | None = None, prog: str = PROGRAM) -> int:
    """Command line; returns the exit status."""
    parser = _parser(prog)
    options = parser.parse_args(arguments)
    for name in ("workers", "threads"):
        if (given := getattr(options, name)) is not None and given < 1:
            parser.error(f"--{name} {given}: expected 1 or more")
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    return run_to_go_on(prog, lambda: _run(options), lambda error: _said(error, options))


def _said(error: Exception, options: argparse.Namespace) -> str:
    """An error in words: of a damaged manifest the remedy, of images that do not fit together no names unasked."""
    cause = root_cause(error)
    if type(cause) is sqlite3.DatabaseError:  # those below it are of the disk, or of a lock
        place = shown_path(Path(options.output) / MANIFEST)
        return (
            f"{place} is damaged ({cause}). Take it, {MANIFEST}-wal and {MANIFEST}-shm out of the folder and start the "
            "same command again: results that are whole are found there, and are not predicted again."
        )
    problems = getattr(cause, "problems", None)
    if problems and not (options.names or full_names()):
        kinds = Counter(problem.kind for problem in problems)
        told = "; ".join(f"{kind} ({count}): {REMEDIES.get(kind, 'see the detail')}" for kind, count in kinds.items())
        return f"{len(problems)} problem(s) in the data: {told}. --names says which files."
    return str(cause)


def _run(options: argparse.Namespace) -> int:
    from filelock import FileLock, Timeout

    out = Path(os.path.abspath(options.output))
    predictor = build_predictor(options)
    source = open_source(options.inputs, predictor, options.layout, out)
    engine = _engine(options, source)
    writable_folder(out, remedy="Make it writable, or choose another output folder.")
    lock = FileLock(out / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(f"another run writes into {shown_path(out)}; wait for it, or name another folder.") from None
    try:
        return _locked(options, out, predictor, engine, source)
    finally:
        lock.release()


def _engine(options: argparse.Namespace, source: Source) -> StudyEngine | None:
    """For DICOM studies; None for images.

    Raises:
        ValueError: options of DICOM for images.
    """
    if source.kind == "dicom":
        return build_engine(options)
    given = [f"--{name.replace('_', '-')}" for name in (*ONLY_DICOM, "deidentify") if getattr(options, name)]
    if given:
        raise ValueError(f"{', '.join(given)}: only for DICOM archives, and {options.inputs} is none (--layout dicom).")
    return None


def _locked(
    options: argparse.Namespace, out: Path, predictor: Predictor, engine: StudyEngine | None, source: Source
) -> int:
    from ...data.fingerprint import Fingerprint
    from ...dicom.facts import model_facts

    about = model_facts(predictor)
    names = options.names or full_names()
    secret = secret_of(out, made=not (out / MANIFEST).exists())
    source = KeyedSource(source, secret)
    manifest = Manifest(out / MANIFEST, names)
    place = keyed(secret, os.path.abspath(Path(options.inputs).expanduser()))
    manifest.belong_to(describe_work(predictor, engine, about.weights_sha256, source.kind, place), options.moved)
    if options.retry_failed:
        manifest.retry_failed()
    domain = predictor.domain
    fingerprints = {} if domain is None else {key: Fingerprint(**v) for key, v in domain["fingerprints"].items()}
    run = BulkRun(source, manifest, out, fingerprints)
    total = source.count()
    classes = getattr(predictor.task, "class_names", ())
    account = Account(manifest, out, about.described, classes, fingerprints, names)
    facts: dict[str, Any] = {}
    try:
        if run.prepare():
            work = _work(options, out, predictor, engine, about.weights_sha256, secret, names)
            pool, facts = _pool(options, work)
            try:
                before = sum(
                    count for state, count in manifest.counts().items() if state not in ("waiting", "running", GONE)
                )
                with stop_between() as between, Progress(total, before, predictor.name) as progress:
                    run.run(pool, progress, between)
            finally:
                facts |= {"nodes": dict(pool.nodes)} if pool.nodes else {}
                pool.close()
        summary = account.write(run, **facts)
    except BaseException:
        _write_anyway(account, run, facts)
        raise
    finally:
        manifest.close()
    return _closing(summary, out)


def _write_anyway(account: Account, run: BulkRun, facts: Mapping[str, Any]) -> None:
    """Tables of what was done before a full disk, or Ctrl-C; without them what happened is still said."""
    try:
        account.write(run, **facts)
    except (OSError, sqlite3.Error) as error:
        logger.warning("tables and report were not written (%s); the manifest has what is done", describe_error(error))


def _work(
    options: argparse.Namespace,
    out: Path,
    predictor: Predictor,
    engine: StudyEngine | None,
    weights_sha256: str,
    secret: str,
    names: bool,
) -> Work:
    dicom = {} if engine is None else {"options": engine.options, "selection": engine.selection}
    return Work(
        root=os.path.abspath(predictor.root),
        overrides=_anywhere(predictor),
        weights_sha256=weights_sha256,
        out=os.fspath(out),
        run_id=secret,
        dicom=dicom,
        full_names=names,
    )


def _anywhere(predictor: Predictor) -> dict[str, Any]:
    """Overrides with the weights by their absolute path: a worker may run in another folder."""
    found = dict(predictor.overrides)
    found["ckpt_path"] = os.path.abspath(predictor.ckpt_path)
    return found


def _pool(options: argparse.Namespace, work: Work) -> tuple[Pool, dict[str, Any]]:
    """Workers, and what the JSON file says about them.

    Raises:
        ImportError: several workers, or a cluster, without Ray.
    """
    from dataclasses import replace

    from ...utils.hardware import usable_cores
    from .ray_pool import RayPool, has_ray, require_ray

    cores = usable_cores()
    gpus = _gpus(options)
    several = options.address is not None or (options.workers or 0) > 1
    if not several and (not has_ray() or options.workers == 1 or (cores == 1 and not gpus)):
        if options.workers != 1 and cores > 1:
            print(ONE_PROCESS, file=sys.stderr)
        here = InProcess(replace(work, threads=options.threads))
        return here, {"workers": 1, "threads": options.threads or cores, "engine": "this process"}
    local = options.address is None
    ray = require_ray(local)
    workers = options.workers or (None if gpus or not local else max(1, cores // (options.threads or 1)))
    threads = options.threads or (max(1, cores // workers) if workers and local else 1)
    pool = RayPool(replace(work, threads=threads), workers, threads, gpus, options.address, options.ray_temp)
    where = "a cluster" if options.address else "this machine"
    return pool, {"workers": pool.workers, "threads": threads, "engine": f"Ray {ray.__version__} on {where}"}


def _gpus(options: argparse.Namespace) -> float:
    if options.gpus is not None:
        return float(options.gpus)
    import torch

    wants = options.device is None or str(options.device).startswith("cuda")
    return 1.0 if wants and options.address is None and torch.cuda.is_available() else 0.0


def _closing(summary: dict[str, Any], out: Path) -> int:
    counts, drift = dict(summary["studies"]), summary["drift"]
    gone = f", {gone} not in the input any more" if (gone := counts.pop(GONE)) else ""
    run = summary["this run"]
    passed = f", {counts['passed']} with nothing to predict" if counts["passed"] else ""
    failed = f", {counts['failed']} failed ({shown_path(out / FAILURES)})" if counts["failed"] else ""
    print(printable(f"{counts['done']} of {sum(counts.values())} studies done{passed}{failed}{gone}."))
    if run.get("ended"):
        print(f"This run: {run['ended']} in {run['seconds']:.1f} s, {run['studies per second']:.2f} per second.")
    if drift["flags"] or drift["batches"]:
        print(printable(f"DRIFT: {'; '.join(drift['flags']) or 'in some batches'} ({shown_path(out / REPORT)})"))
    print(printable(f"Results: {shown_path(out)}"))
    if not sum(counts.values()):
        print("There is nothing in the input that the network takes.", file=sys.stderr)
        return NOT_POSSIBLE
    return SOME_FAILED if counts["failed"] else DONE
