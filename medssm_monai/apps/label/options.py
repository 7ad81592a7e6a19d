"""How the server of this app is guarded and limited; the command that starts it sets this, its parts read it."""

from __future__ import annotations

import os
from dataclasses import dataclass

__all__ = ["GROUPS", "Limits", "ServerOptions", "current_options", "use_options"]

GROUPS = {
    "model": "PUT and DELETE /model/NAME: exchange or remove the weights that are served",
    "reload": "POST /reload: build the app anew (the threads of the old one stay)",
    "logs": "GET /logs: the server's log",
    "docs": "GET / and /docs: pages about the interface, with scripts from elsewhere",
}


@dataclass(frozen=True)
class Limits:
    """What a request may cost.

    Attributes:
        upload_bytes: of one request's body, and of what a session's archive unpacks to.
        json_bytes: of a body or parameter in JSON.
        max_epochs: of a training.
        max_samples: of a scoring, for each image.
        parallel: inferences at once.
        waiting: inferences that wait for their turn; more are answered with 503.
        seconds: from an inference's request to its answer; afterwards 504.
        sessions: at once.
    """

    upload_bytes: int = 512 << 20
    json_bytes: int = 1 << 20
    max_epochs: int = 1000
    max_samples: int = 64
    parallel: int = max(2, min(4, os.cpu_count() or 2))
    waiting: int = 24
    seconds: float = 600.0
    sessions: int = 64


@dataclass(frozen=True)
class ServerOptions:
    """Attributes:
    token: what a client must know; None lets everyone in.
    hosts: names under which the server may be asked (``Host`` of a request).
    origins: of other servers' pages that may ask it from a browser, ``https://viewer.example``.
    allowed: keys of :data:`GROUPS`, endpoints that are closed otherwise.
    limits: of the requests.
    audit: file of the audit log; None keeps none.
    """

    token: str | None = None
    hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "::1")
    origins: tuple[str, ...] = ()
    allowed: frozenset[str] = frozenset()
    limits: Limits = Limits()
    audit: str | None = None


_current: list[ServerOptions] = []


def use_options(options: ServerOptions) -> None:
    """Set the options of the server that this process will run."""
    _current[:] = [options]


def current_options() -> ServerOptions | None:
    """What :func:`use_options` was told; None in a process that is no guarded server."""
    return _current[0] if _current else None
