"""Which MLflow store is used, how it is called, and how long one waits for a server that does not answer."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

__all__ = ["REQUESTS", "URI_VARIABLE", "environment", "local_uri", "resolve_tracking_uri", "short_reason", "shown_uri"]

URI_VARIABLE = "MLFLOW_TRACKING_URI"
REQUESTS = {  # as MLflow reads them at every request; its own default is to wait for more than four minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "6",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}


def local_uri(output_dir: str | os.PathLike[str]) -> str:
    """The SQLite file ``mlruns.db`` in the output folder."""
    from monai.utils import path_to_sqlite_uri  # only here, so that commands start without MONAI

    return path_to_sqlite_uri(Path(output_dir) / "mlruns.db")


def shown_uri(uri: str) -> str:
    """A store's address without the password that may be in it."""
    return re.sub(r"(://[^/@:]*):[^/@]*@", r"\1:***@", uri)


def resolve_tracking_uri(output_dir: str | os.PathLike[str], tracking_uri: str | None = None) -> str:
    """``MLFLOW_TRACKING_URI`` when set, else ``tracking_uri``, else a SQLite file ``mlruns.db`` in the output folder.

    Raises:
        ValueError: a folder, which MLflow no longer keeps runs in.
    """
    own = local_uri(output_dir)
    source, chosen = URI_VARIABLE, os.environ.get(URI_VARIABLE)
    if not chosen:
        source, chosen = "tracking_uri", tracking_uri
    if not chosen:
        return own
    if chosen.startswith("file:") or "://" not in chosen:
        folder = re.sub(r"^file:(//)?", "", chosen)
        raise ValueError(
            f"{source} is {chosen!r}, a folder, and MLflow no longer keeps runs in folders. Give a SQLite file, "
            f"{source}={local_uri(folder)}, or a server, {source}=http://HOST:5000, or "
            f"none: the runs then go to {own}."
        )
    return chosen


@contextmanager
def environment(values: Mapping[str, str | None]) -> Iterator[None]:
    """Environment variables with these values while the block runs; None takes one away."""
    before = {name: os.environ.get(name) for name in values}
    try:
        _set(values)
        yield
    finally:
        _set(before)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def short_reason(error: BaseException) -> str:
    """The reason within MLflow's message, which repeats the address and wraps one library's error in another's."""
    text = " ".join(str(error).split()) or type(error).__name__
    for known in ("Connection refused", "Name or service not known", "timed out", "Max retries exceeded"):
        if known.lower() in text.lower():
            return known.lower()
    answered = re.search(r"\b[45]\d\d (?:Client|Server) Error: [A-Z][A-Za-z ]*", text)
    return answered[0].strip() if answered else text[:200]
