"""One line for each request: when, from where, who, what for, with which weights, and how it was answered."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

__all__ = ["Audit", "asking_user", "audit_log", "note"]

LONGEST = 200
_record: ContextVar[dict[str, Any] | None] = ContextVar("audit_record", default=None)


def note(**facts: Any) -> None:
    """Add facts to the line of the request that is being answered; outside of one nothing happens."""
    record = _record.get()
    if record is not None:
        record.update({key: value for key, value in facts.items() if value is not None})


def asking_user() -> str:
    """Who asks, as the gate knows it."""
    return str((_record.get() or {}).get("user", "anyone"))


def audit_log(path: str | Path) -> logging.Logger:
    """A logger that appends to a file, and to nothing else."""
    log = logging.getLogger(f"{__name__}.lines")
    log.propagate = False
    log.setLevel(logging.INFO)
    for handler in list(log.handlers):
        log.removeHandler(handler)
        handler.close()
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(handler)
    return log


class Audit:
    """ASGI middleware, the outermost: writes a JSON object for each request when it has been answered.

    Keys: ``time`` (UTC, of the request), ``client`` (address), ``user`` and ``client_id`` (as they call themselves),
    ``method``, ``path``, ``image``, ``label``, ``tag``, ``model``, where there are any, ``weights`` (SHA-256 of
    those that answered), ``status`` (0: the client went away), ``seconds``.

    Args:
        app: what is behind it.
        log: gets the lines.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], log: logging.Logger) -> None:
        self.app, self.log = app, log

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), 0
        record: dict[str, Any] = {
            "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            "client": (scope.get("client") or ("unknown",))[0],
            "user": "anyone",
            "method": scope["method"],
            "path": scope["path"],
        }
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"), max_num_fields=None)
        record.update({key: query[key][0] for key in ("image", "id", "label", "tag") if query.get(key)})

        async def counted(message: dict[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        token = _record.set(record)
        try:
            await self.app(scope, receive, counted)
        except BaseException:
            status = status or 500
            raise
        finally:
            _record.reset(token)
            seconds = round(time.perf_counter() - start, 3)
            short = {key: value[:LONGEST] if isinstance(value, str) else value for key, value in record.items()}
            self.log.info("%s", json.dumps({**short, "status": status, "seconds": seconds}, default=str))
