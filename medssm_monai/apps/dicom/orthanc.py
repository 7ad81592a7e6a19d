"""Predict what arrives in Orthanc, and store the results beside it.

    python -m medssm_monai.apps.dicom.orthanc start mamba_mis --storage FOLDER     # Orthanc, with the plugin
    python -m medssm_monai.apps.dicom.orthanc work mamba_mis --storage FOLDER      # the worker, beside it
    python -m medssm_monai.apps.dicom.orthanc queue --storage FOLDER --state failed
    python -m medssm_monai.apps.dicom.orthanc retry all --storage FOLDER

FOLDER holds Orthanc's configuration, images, password and the queue. With an Orthanc of your own, ``work`` takes
--orthanc URL --queue FILE instead; the page docs/dicom_served.md says what its configuration needs.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...utils.text_files import printable
from .in_orthanc.rules import read_rules
from .in_orthanc.study_queue import STATES, StudyQueue
from .options import add_engine_options, build_engine
from .orthanc_config import PLUGIN_FOLDERS, QUEUE, SPOOL, THIS_COMPUTER, USER, ServerOptions, Storage, write_config
from .served import end_on_signals, run_served

if TYPE_CHECKING:
    from .orthanc_client import OrthancClient

__all__ = ["main"]

PROGRAM = "python -m medssm_monai.apps.dicom.orthanc"
PASSWORD_VARIABLE = "MEDSSM_ORTHANC_PASSWORD"


def main(arguments: list[str] | None = None, prog: str = PROGRAM) -> int:
    """Command line; returns the exit status: 2 for what cannot be done."""
    options = _parser(prog).parse_args(arguments)
    return run_served(prog, lambda: options.run(options))


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    several = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_start(several.add_parser("start", help="run Orthanc with the plugin", allow_abbrev=False))
    _add_work(several.add_parser("work", help="predict what is queued", allow_abbrev=False))
    listing = several.add_parser("queue", help="say what waits, runs, is done or has failed", allow_abbrev=False)
    listing.add_argument("--state", choices=STATES)
    listing.add_argument("--json", action="store_true", help="for programs")
    listing.set_defaults(run=_list)
    retry = several.add_parser("retry", help="queue again what has failed", allow_abbrev=False)
    retry.add_argument("item", metavar="ID|all", help="number of an item, or all that failed or were given up")
    retry.set_defaults(run=_retry)
    for one in (listing, retry):
        _add_queue(one)
    return parser


def _add_queue(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--storage", type=Path, metavar="FOLDER", help="of the command start")
    parser.add_argument("--queue", type=Path, metavar="FILE", help="SQLite file that the plugin writes")


def _add_start(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", nargs="*", metavar="BUNDLE", help="that gets all series; rules say it more closely")
    parser.add_argument("--storage", type=Path, required=True, metavar="FOLDER", help="configuration, images and queue")
    parser.add_argument("--rules", type=Path, metavar="FILE", help="JSON: which series are for which bundle")
    parser.add_argument("--level", choices=("series", "study"), default="series", help="what BUNDLE gets at once")
    parser.add_argument("--http-port", type=int, default=ServerOptions.http_port)
    parser.add_argument("--dicom-port", type=int, default=ServerOptions.dicom_port)
    parser.add_argument("--aet", default=ServerOptions.aet, help="title of Orthanc in DICOM")
    parser.add_argument("--new-only", action="store_true", help="leave what Orthanc holds already as it is")
    parser.add_argument("--stable-age", type=int, default=ServerOptions.stable_age, help="seconds until it is complete")
    parser.add_argument(
        "--modality",
        action="append",
        metavar="NAME=AET@HOST:PORT",
        help=f"who may send images and get results; repeatable (default: {THIS_COMPUTER})",
    )
    parser.add_argument("--remote-access", action="store_true", help="let other computers use REST and the web page")
    parser.add_argument("--certificate", metavar="FILE", help="PEM of certificate and key: HTTPS")
    parser.add_argument("--no-password", action="store_true", help="let everyone on this computer use REST")
    parser.add_argument("--plugins", action="append", metavar="FOLDER", help="where Orthanc's plugins are; repeatable")
    parser.add_argument("--config-only", action="store_true", help="write orthanc.json, and do not run Orthanc")
    parser.set_defaults(run=_start)


def _add_work(parser: argparse.ArgumentParser) -> None:
    add_engine_options(parser)
    _add_queue(parser)
    server = parser.add_argument_group("Orthanc", "where --storage does not say it")
    server.add_argument("--orthanc", metavar="URL", help="(default: http://127.0.0.1:8042)")
    server.add_argument("--user", help=f"(default: {USER} with --storage)")
    server.add_argument("--password-file", type=Path, metavar="FILE", help=f"or the environment: {PASSWORD_VARIABLE}")
    server.add_argument("--ca-file", metavar="FILE", help="certificate that signs Orthanc's")
    server.add_argument("--plain-http", action="store_true", help="to another computer, in an encrypted network")
    server.add_argument("--dicomweb", action="store_true", help="store by STOW-RS")
    server.add_argument("--send-to", action="append", default=[], metavar="NAME", help="receivers Orthanc knows")
    parser.add_argument("--name", help="of the bundle in the rules (default: its own)")
    parser.add_argument("--spool", type=Path, metavar="FOLDER", help="images at work, unstored results (beside queue)")
    parser.add_argument("--max-attempts", type=int, default=3, help="before an item counts as failed")
    parser.add_argument("--lease", type=float, default=60.0, help="seconds until a killed worker's item is taken again")
    parser.add_argument("--poll", type=float, default=1.0, help="seconds between two looks at an empty queue")
    parser.add_argument("--once", action="store_true", help="end when nothing is due")
    parser.set_defaults(run=_work)


def _queue_file(options: argparse.Namespace) -> Path:
    if (options.storage is None) == (options.queue is None):
        raise ValueError("name either --storage FOLDER or --queue FILE.")
    return Path(options.queue or options.storage / QUEUE)


def _queue(options: argparse.Namespace) -> StudyQueue:
    file = _queue_file(options)
    if not file.is_file():
        raise FileNotFoundError(f"{file} not found: nothing was queued yet, or the plugin writes elsewhere.")
    return StudyQueue(file)


def _start(options: argparse.Namespace) -> int:
    if options.rules and options.bundle:
        raise ValueError("name either bundles or --rules.")
    rules: list[dict[str, str]] | None = None
    if options.rules:
        rules = [
            {key: value for key, value in vars(rule).items() if value is not None}
            for rule in read_rules(str(options.rules))
        ]
    elif options.bundle:
        rules = [{"bundle": name, "level": options.level} for name in options.bundle]
    settings = ServerOptions(
        http_port=options.http_port,
        dicom_port=options.dicom_port,
        aet=options.aet,
        stable_age=options.stable_age,
        existing=not options.new_only,
        modalities=tuple(options.modality or [THIS_COMPUTER]),
        remote_access=options.remote_access,
        certificate=options.certificate,
        ask_password=not options.no_password,
        plugins=tuple(options.plugins or PLUGIN_FOLDERS),
    )
    path = write_config(options.storage, rules, settings)
    StudyQueue(path.parent / QUEUE)
    print(f"Orthanc: {Storage(path.parent).url}, DICOM {options.aet} on port {options.dicom_port}")
    if not options.no_password:
        print(f"User {USER}, password in {path.parent / 'password'}")
    if options.config_only:
        print(f"Configuration: {path}")
        return 0
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin:/usr/local/bin")
    if program is None:
        raise FileNotFoundError("Orthanc is not installed (Debian, Ubuntu: apt-get install orthanc orthanc-python).")
    sys.stdout.flush()
    os.umask(0o077)
    os.execv(program, [program, str(path)])


def _client(options: argparse.Namespace) -> OrthancClient:
    from .orthanc_client import OrthancClient

    url, user, password = "http://127.0.0.1:8042", "", ""
    if options.storage is not None:
        storage = Storage(options.storage)
        url, password = storage.url, storage.password
        user = USER if password else ""
    password = os.environ.pop(PASSWORD_VARIABLE, "") or password
    if options.password_file:
        password = options.password_file.read_text(encoding="utf-8").strip()
    user = options.user or user
    if password and not user:
        raise ValueError("a password needs its --user.")
    return OrthancClient(options.orthanc or url, user, password, options.ca_file, options.plain_http)


def _work(options: argparse.Namespace) -> int:
    from .orthanc_client import Unreachable, WrongPassword
    from .worker import Worker, WorkerOptions

    file = _queue_file(options)
    client = _client(options)
    try:
        client.check()
        unknown = [name for name in options.send_to if name not in client.modalities()]
        if unknown:
            raise ValueError(
                f"--send-to {', '.join(unknown)}: Orthanc knows {', '.join(client.modalities()) or 'none'}."
            )
    except WrongPassword:
        raise
    except Unreachable as error:
        logging.getLogger(__name__).warning("%s The worker waits for it.", error)
    engine = build_engine(options)
    about = engine.about
    settings = WorkerOptions(
        name=options.name or about.name,
        spool=options.spool or file.parent / SPOOL,
        max_attempts=options.max_attempts,
        lease=options.lease,
        poll=options.poll,
        dicomweb=options.dicomweb,
        send_to=tuple(options.send_to),
    )
    worker = Worker(StudyQueue(file), client, engine, settings)

    end_on_signals(worker)
    print(f"Working as {settings.name} ({about.serial}) for {client.url}; results are {about.use}.", flush=True)
    worker.run(options.once)
    return 0


def _list(options: argparse.Namespace) -> int:
    queue = _queue(options)
    items = queue.listing(options.state)
    if options.json:
        print(queue.as_json(items))
        return 0
    print(", ".join(f"{number} {state}" for state, number in queue.counts().items()))
    for item in items:
        print(printable(_line(item)))
    return 0


def _line(item: Any) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(item.ended or item.started or item.queued))
    parts = [str(item.id), item.state, item.bundle, when, f"{item.attempts} attempts", f"{item.objects} objects"]
    parts.append(f"{item.level} {item.series_uid or item.study_uid}")
    return "  ".join(parts) + (f"  {item.reason}" if item.reason else "")


def _retry(options: argparse.Namespace) -> int:
    if options.item != "all" and not options.item.isdigit():
        raise ValueError(f"{options.item!r}: the number of an item, or all, is expected.")
    try:
        count = _queue(options).retry(None if options.item == "all" else int(options.item))
    except KeyError as error:
        raise ValueError(error.args[0]) from None
    print(f"{count} queued again.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
