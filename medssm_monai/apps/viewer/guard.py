"""Who may ask the server, for what, and what the page may load."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias
from urllib.parse import unquote, urlsplit

__all__ = ["POLICY", "Guard"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' blob: data:; worker-src 'self' blob:; "
    "media-src 'self' blob:; object-src 'none'; frame-src 'none'; frame-ancestors 'none'; base-uri 'self'; "
    "form-action 'self'"
)
"""The browser itself refuses whatever would come from, or go to, elsewhere."""
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
CLOSED = ("/proxy=", "file=http:", "file=https:", "/openapi.json", "/docs", "/redoc", "/deep_link")
"""Parts of addresses that nobody needs: some of them make the server fetch something from elsewhere."""


class Guard:
    """ASGI middleware: answers requests under the server's own names, from its own page, and adds headers that keep the
    page to this server.

    A page of another site cannot reach the server through the visitor's browser, under the name of another site
    (``Host``) or from its own (``Origin``).

    Args:
        app: what is behind it.
        hosts: names under which the server may be asked, without the port.
    """

    def __init__(self, app: App, hosts: tuple[str, ...]) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # Gradio's page uses no others
            await send({"type": "websocket.close", "code": 1008})
            return
        reason = self._refusal(scope)
        if reason is not None:
            await self._answer(send, reason)
            return
        kept = "/assets/" in scope["path"] or "/static/" in scope["path"]

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                mine = [*HEADERS] if kept else [*HEADERS, (b"cache-control", b"no-store")]
                names = {name for name, _ in mine}
                others = [pair for pair in message.get("headers", ()) if pair[0].lower() not in names]
                message = {**message, "headers": [*others, *mine]}
            await send(message)

        await self.app(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> str | None:
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        if _host_name(host) not in self.hosts:
            return "this name is not the viewer's; open the address that it printed at its start."
        origin = headers.get(b"origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return "another site asked for this."
        path = unquote(str(scope["path"])).lower()
        if any(part in path for part in CLOSED):
            return "the viewer does not offer this."
        return None

    @staticmethod
    async def _answer(send: Send, reason: str) -> None:
        headers = [(b"content-type", b"text/plain; charset=utf-8"), *HEADERS]
        await send({"type": "http.response.start", "status": 403, "headers": headers})
        await send({"type": "http.response.body", "body": f"Refused: {reason}\n".encode()})


def _host_name(host: str) -> str:
    """``Host`` header without the port, in lower case; brackets of IPv6 addresses taken off."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
