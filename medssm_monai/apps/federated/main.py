"""Federated training with NVIDIA FLARE: a job of a bundle, what sites allow, and the model that comes out.

    medssm federated job mamba_mis JOB --dataset_dir "{WORKSPACE}/images" --init_from WEIGHTS --rounds 20
    medssm federated site FLARE_FOLDER/local
    medssm federated model JOB FL_global_model.pt model.pt

A job is submitted with FLARE's own programs (nvflare simulator JOB, its console, its API). Words after two dashes
override keys of the bundle's training: -- --learning_rate 1e-4. Exit status: 0, 2 when nothing could be done.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from ...utils.command_line import before_dashes
from ...utils.text_files import printable
from ..frame import run_command

__all__ = ["main"]

PROGRAM = "python -m medssm_monai.apps.federated"


def main(arguments: Sequence[str] | None = None, prog: str = PROGRAM) -> int:
    """Command line; returns the exit status."""
    given, words = before_dashes(sys.argv[1:] if arguments is None else arguments)
    parser = _parser(prog)
    options = parser.parse_args(given)
    if words and options.action != "job":
        parser.error("words after -- override keys of a training, which only job has.")
    options.words = words
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    return run_command(f"{prog} {options.action}", lambda: print(printable(options.run(options))))


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    job = actions.add_parser("job", help="write a job for FLARE", allow_abbrev=False)
    job.add_argument("bundle", metavar="NAME", help="name of a bundle, or its folder")
    job.add_argument("folder", metavar="JOB", help="the job's folder, which is not there yet")
    job.add_argument("--rounds", type=int, default=2, help="rounds of averaging (default: %(default)s)")
    job.add_argument("--local_epochs", type=int, default=1, help="epochs of a site in a round (default: %(default)s)")
    job.add_argument(
        "--min_clients", type=int, default=1, help="sites that must answer in a round (default: %(default)s)"
    )
    job.add_argument(
        "--wait", type=int, default=3600, help="seconds that it waits for the others then (default: %(default)s)"
    )
    job.add_argument(
        "--dataset_dir",
        default="demo",
        help="images of a site; FLARE fills in {SITE_NAME} and {WORKSPACE} (default: the demo set)",
    )
    job.add_argument("--overlays", nargs="+", default=[], metavar="NAME", help="of the bundle, such as volume")
    job.add_argument("--init_from", metavar="WEIGHTS", help="weights to start from, with their settings beside them")
    job.add_argument("--example_dir", metavar="FOLDER", help="images like the sites', for classes and channels")
    job.set_defaults(run=_job)
    site = actions.add_parser("site", help="let such jobs run, and keep the log of errors here", allow_abbrev=False)
    site.add_argument(
        "local", metavar="LOCAL", help="the folder local of a site, the server or a simulator's workspace"
    )
    site.set_defaults(run=_site)
    model = actions.add_parser("model", help="write a global model as weights of its bundle", allow_abbrev=False)
    model.add_argument("job", metavar="JOB", help="the job's folder")
    model.add_argument("global_model", metavar="GLOBAL", help="FL_global_model.pt of FLARE's server")
    model.add_argument("ckpt_path", metavar="FILE", help="model.pt to write, with settings beside it")
    model.set_defaults(run=_model)
    return parser


def _job(options: argparse.Namespace) -> str:
    from ...experiments.plans import parse_words
    from .job import write_job

    names = ("rounds", "local_epochs", "min_clients", "wait", "dataset_dir", "overlays", "init_from", "example_dir")
    job = write_job(
        options.bundle,
        options.folder,
        overrides=parse_words(options.words),
        **{name: getattr(options, name) for name in names},
    )
    return f"{job}\nTry it: nvflare simulator {job} -w WORKSPACE -n 2 -t 2"


def _site(options: argparse.Namespace) -> str:
    from .site import prepare_site

    return str(prepare_site(options.local))


def _model(options: argparse.Namespace) -> str:
    from .model import take_model

    return str(take_model(options.global_model, options.job, options.ckpt_path))
