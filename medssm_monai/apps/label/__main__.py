"""Start MONAI Label's server with this app on a local folder, without a network.

    python -m medssm_monai.apps.label --studies FOLDER --models mamba_mis,medconvmamba

Images lie in FOLDER itself; labels and scores are kept below it by MONAI Label. Clients need the token that is printed
at the start.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import socket
import sys
from contextlib import suppress
from pathlib import Path

from ...bundle.find import BUNDLES_VARIABLE, find_bundle, list_bundles
from ..loopback import is_loopback
from ..uploads import private_uploads
from .options import GROUPS, Limits, ServerOptions, use_options

__all__ = ["main"]

PROGRAM = "python -m medssm_monai.apps.label"
ENTRY = Path(__file__).with_name("main.py")
DEFAULTS = {"MLFLOW_DISABLE_TELEMETRY": "true", "OMP_WAIT_POLICY": "PASSIVE"}  # for the trainings
TOKEN_VARIABLE = "MEDSSM_LABEL_TOKEN"
PROXIES_VARIABLE = "FORWARDED_ALLOW_IPS"  # of uvicorn: addresses of proxies whose X-Forwarded-For is believed
SHORTEST_TOKEN = 16
MAX_CONNECTIONS = 256


def _parser(prog: str = PROGRAM) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog,
        description=__doc__.splitlines()[0],
        epilog=f"example: {prog} --studies FOLDER --models mamba_mis,medconvmamba",
    )
    parser.add_argument("--studies", required=True, help="folder of the images")
    parser.add_argument("--models", default="all", help="bundles, separated by commas (default: all that are found)")
    parser.add_argument("--bundles", help=f"folder that holds the bundles (default: {BUNDLES_VARIABLE}, ./bundles)")
    parser.add_argument("--app-dir", help="where MONAI Label keeps logs and trainings (default: STUDIES/.medssm_label)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this computer only)")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--device", help="cpu, cuda:0, ... (default: a GPU where there is one)")
    parser.add_argument("--conf", nargs=2, action="append", default=[], metavar=("KEY", "VALUE"), help="see the docs")
    guard = parser.add_argument_group("who may ask")
    guard.add_argument("--token-file", help=f"file of the token (default: {TOKEN_VARIABLE}, else a new one each time)")
    guard.add_argument("--no-token", action="store_true", help="let everyone of this computer in (127.0.0.1 only)")
    guard.add_argument("--trusted-host", action="append", default=[], help="name that clients call this server by")
    guard.add_argument("--allow-origin", action="append", default=[], help="origin of a web viewer, https://NAME")
    groups = "; ".join(f"{name}: {what}" for name, what in GROUPS.items())
    guard.add_argument("--allow", action="append", default=[], choices=GROUPS, help=f"open more endpoints. {groups}")
    guard.add_argument("--ssl-certfile", help="certificate, for https")
    guard.add_argument("--ssl-keyfile", help="its key")
    limit, default = parser.add_argument_group("what a request may cost"), Limits()
    limit.add_argument("--max-upload-mb", type=int, default=default.upload_bytes >> 20)
    limit.add_argument("--max-epochs", type=int, default=default.max_epochs, help="of a training")
    limit.add_argument("--max-samples", type=int, default=default.max_samples, help="of a scoring, for each image")
    limit.add_argument("--parallel", type=int, default=default.parallel, help="inferences at once")
    limit.add_argument("--timeout", type=float, default=default.seconds, help="seconds for an inference")
    return parser


def prepare_app(app_dir: Path) -> None:
    """Make the folder of the app, its owner's alone, with its entry file.

    Raises:
        SystemExit: another app's ``main.py`` lies there, or the folder is a link or someone else's.
    """
    entry = app_dir / ENTRY.name
    if entry.is_file() and "medssm_monai" not in entry.read_text(encoding="utf-8", errors="replace"):
        sys.exit(f"{entry} belongs to another app of MONAI Label; name another folder with --app-dir.")
    app_dir.mkdir(parents=True, exist_ok=True)
    if app_dir.is_symlink() or (hasattr(os, "getuid") and app_dir.stat().st_uid != os.getuid()):
        sys.exit(f"{app_dir} is a link or someone else's: code is run from it; name another folder with --app-dir.")
    app_dir.chmod(0o700)
    entry.unlink(missing_ok=True)  # a link is not written through
    shutil.copyfile(ENTRY, entry)


def choose_token(options: argparse.Namespace) -> str | None:
    """The token of the server: from the file, the environment, or a new one; None with ``--no-token``.

    Raises:
        SystemExit: no token for a server that others reach, or one that is too short.
    """
    if options.no_token:
        if not is_loopback(options.host):
            sys.exit(f"--no-token is for 127.0.0.1 only; {options.host} can be reached from other computers.")
        return None
    token = os.environ.pop(TOKEN_VARIABLE, "")  # not handed on to the trainings
    if options.token_file:
        try:
            token = Path(options.token_file).read_text(encoding="utf-8").strip()
        except OSError as error:
            sys.exit(f"--token-file: {error}")
    if not token:
        return secrets.token_urlsafe(24)
    if len(token) < SHORTEST_TOKEN:
        sys.exit(f"a token has {SHORTEST_TOKEN} characters or more, this one {len(token)}.")
    return token


def host_names(host: str, more: list[str]) -> tuple[str, ...]:
    """Names and addresses under which the server may be asked."""
    names = {"localhost", "127.0.0.1", "::1", host, *more}
    if not is_loopback(host):
        names |= {socket.gethostname(), socket.getfqdn()}
    if host in ("0.0.0.0", "::"):
        with suppress(OSError):  # a computer whose name has no address
            names |= {str(found[4][0]) for found in socket.getaddrinfo(socket.gethostname(), None)}
    return tuple(sorted(name for name in names - {"0.0.0.0", "::"} if name and "*" not in name))


def server_options(options: argparse.Namespace, app_dir: Path) -> ServerOptions:
    """Guards and limits from the command line."""
    limits = Limits(
        upload_bytes=options.max_upload_mb << 20,
        max_epochs=options.max_epochs,
        max_samples=options.max_samples,
        parallel=options.parallel,
        seconds=options.timeout,
    )
    return ServerOptions(
        token=choose_token(options),
        hosts=host_names(options.host, options.trusted_host),
        origins=tuple(options.allow_origin),
        allowed=frozenset(options.allow),
        limits=limits,
        audit=str(app_dir / "logs" / "audit.log"),
    )


def _how_to_enter(guards: ServerOptions) -> str:
    if guards.token is None:
        return "Everyone on this computer may use the server (--no-token)."
    return (
        f"Token: {guards.token}\n"
        "Clients send it as 'Authorization: Bearer TOKEN'; 3D Slicer asks for a user (any name) and a password: it."
    )


def main(arguments: list[str] | None = None, prog: str = PROGRAM) -> None:
    """Prepare the app folder and hand over to MONAI Label; returns when the server has ended."""
    options = _parser(prog).parse_args(arguments)
    if options.bundles:
        os.environ[BUNDLES_VARIABLE] = str(Path(options.bundles).absolute())
    names = sorted(list_bundles()) if options.models == "all" else options.models.split(",")
    roots = [find_bundle(name) for name in names]
    studies = Path(options.studies).resolve()
    for root in roots:
        if root.resolve().is_relative_to(studies):
            sys.exit(f"bundle {root} lies in the studies, where requests write; keep it elsewhere.")
    try:
        from monailabel.config import settings
        from monailabel.main import Main
    except ImportError as error:
        sys.exit(f"MONAI Label is missing or incomplete ({error}); install it: pip install 'medssm-monai[label]'.")
    os.environ.setdefault(PROXIES_VARIABLE, "")  # who asked is told by the connection, not by a header of the request
    for variable, value in DEFAULTS.items():
        os.environ.setdefault(variable, value)
    os.umask(0o077)  # labels, index, logs, trainings: their owner's alone
    app_dir = Path(options.app_dir or Path(options.studies) / ".medssm_label").absolute()
    prepare_app(app_dir)
    (app_dir / "logs").mkdir(exist_ok=True)
    guards = server_options(options, app_dir)
    use_options(guards)
    conf = [("models", ",".join(names)), ("zoo_source", "local"), ("sam2", "false"), *map(tuple, options.conf)]
    conf += [("device", options.device)] if options.device else []
    sys.argv = ["monailabel", "start_server", "--app", str(app_dir), "--studies", options.studies]
    sys.argv += ["--host", options.host, "--port", str(options.port), "--limit_concurrency", str(MAX_CONNECTIONS)]
    sys.argv += ["--uvicorn_app", "medssm_monai.apps.label.server:app"]
    for name in ("ssl_certfile", "ssl_keyfile"):
        sys.argv += [f"--{name}", getattr(options, name)] if getattr(options, name) else []
    sys.argv += [word for pair in conf for word in ("--conf", *pair)]
    print(_how_to_enter(guards), flush=True)
    with private_uploads() as uploads:
        settings.MONAI_LABEL_SESSION_PATH = str(uploads / "sessions")
        Main().run()


if __name__ == "__main__":
    main()
