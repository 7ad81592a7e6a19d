"""This process talks to its own computer only."""

from __future__ import annotations

import os
import sys
from typing import Any

from ..loopback import is_loopback

__all__ = ["QUIET", "refuse_outgoing_connections", "use_quiet_settings"]

QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_SHARE": "False",
    "GRADIO_SSR_MODE": "False",
    "GRADIO_MCP_SERVER": "False",
    "GRADIO_RUN_HISTORY": "False",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""Environment variables that Gradio and what it brings along read when they are imported."""


def use_quiet_settings() -> None:
    """Set :data:`QUIET`, whatever the environment says."""
    os.environ.update(QUIET)


def refuse_outgoing_connections() -> None:
    """Refuse every connection of this process to another computer, and every question for another computer's address,
    from now on to the end of the process (an audit hook of Python; it cannot be taken off)."""
    sys.addaudithook(_look_at)


def _look_at(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        address = (arguments[0],)
    else:
        return
    host = address[0] if isinstance(address, tuple) and address else None
    host = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    if isinstance(host, str) and host and not is_loopback(host):
        raise ConnectionRefusedError(f"the viewer connects to no other computer, and {host} was asked for.")
