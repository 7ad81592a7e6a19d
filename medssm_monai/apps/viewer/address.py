"""Where the server listens: an address of this computer alone."""

from __future__ import annotations

import socket

from ..loopback import is_loopback

__all__ = ["listen"]

DEFAULT_PORT = 7860


def listen(host: str, port: int | None) -> socket.socket:
    """A socket that listens; without a port 7860, or any free one where that is taken.

    Raises:
        ValueError: an address that other computers reach: the page has no login.
        OSError: a port that was asked for is taken.
    """
    if not is_loopback(host):
        raise ValueError(
            f"--host {host} can be reached from other computers, and the viewer has no login; use 127.0.0.1, and from "
            "elsewhere a tunnel, such as ssh -L 7860:127.0.0.1:7860 COMPUTER."
        )
    for candidate in (port,) if port is not None else (DEFAULT_PORT, 0):
        try:
            return socket.create_server((host, candidate), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        except OSError as error:
            if port is not None or candidate == 0:
                raise OSError(
                    f"port {candidate} of {host} is not free ({error}); choose another with --port."
                ) from error
    raise AssertionError("unreachable")
