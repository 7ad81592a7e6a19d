"""Who may ask the server: the token, and requests that a page of another origin makes a browser send."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from .audit import note

__all__ = ["Gate", "Tokens", "foreign_origin", "refuse"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

ONCE = ("authorization", "host", "origin", "sec-fetch-site")
WITHOUT_TOKEN = (("GET", "/auth/"), ("GET", "/auth"), ("POST", "/auth/token"))  # how clients ask for one


class Tokens:
    """The secret of the server, and tokens that it signs for users by name.

    MONAI Label's clients ask for user and password and get a token for them; the password is the secret. Users are who
    they say they are: the name is for the audit log.

    Args:
        secret: of the server.
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def issue(self, user: str, password: str) -> str | None:
        """A token for a user who knows the secret, else None."""
        if not hmac.compare_digest(password.encode("utf-8", "replace"), self._secret):
            return None
        name = base64.urlsafe_b64encode(user[:64].encode("utf-8", "replace")).decode().rstrip("=")
        return f"{name}.{self._sign(name)}"

    def user(self, authorization: str) -> str | None:
        """Name in an ``Authorization`` header: of a signed token, ``token`` for the secret itself; None: no entry."""
        scheme, _, token = authorization.strip().partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            return None
        if hmac.compare_digest(token.encode("utf-8", "replace"), self._secret):
            return "token"
        name, _, signature = token.rpartition(".")
        if not hmac.compare_digest(signature.encode("utf-8", "replace"), self._sign(name).encode()):
            return None
        return base64.urlsafe_b64decode(name + "=" * (-len(name) % 4)).decode("utf-8", "replace")

    def _sign(self, name: str) -> str:
        return hmac.new(self._secret, name.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def foreign_origin(headers: Mapping[str, str], scheme: str, allowed: Collection[str]) -> str | None:
    """The page of another origin that made a browser send a request, or None.

    Args:
        headers: of the request, names in lower case.
        scheme: ``http`` or ``https``.
        allowed: origins that may.
    """
    origin = headers.get("origin")
    if origin is not None:
        try:
            own = urlsplit(origin)
        except ValueError:  # no address
            return origin
        same = own.scheme in (scheme, "https") and own.netloc.lower() == headers.get("host", "").lower()
        return None if same or origin.rstrip("/") in allowed else origin
    site = headers.get("sec-fetch-site", "none")  # of browsers, also where they send no origin
    return None if allowed or site in ("none", "same-origin") else f"a page elsewhere ({site})"


class Gate:
    """ASGI middleware that answers 403 to other origins and 401 to requests without a token.

    Args:
        app: what is behind it.
        tokens: None asks for none.
        origins: other origins that may ask.
    """

    def __init__(self, app: App, tokens: Tokens | None, origins: Collection[str] = ()) -> None:
        self.app, self.tokens, self.origins = app, tokens, [origin.rstrip("/") for origin in origins]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # MONAI Label has no websockets
        pairs = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        headers = dict(pairs)
        twice = [name for name in ONCE if sum(name == given for given, _ in pairs) > 1]
        if twice:
            await refuse(send, 400, f"{', '.join(twice)}: one header of a kind, please.")
            return
        page = foreign_origin(headers, scope.get("scheme", "http"), self.origins)
        if page is not None:
            await refuse(send, 403, f"requests of {page[:200]} are not answered; start the server with --allow-origin.")
            return
        if self.tokens is not None and (scope["method"], scope["path"]) not in WITHOUT_TOKEN:
            user = self.tokens.user(headers.get("authorization", ""))
            if user is None:
                message = "the token of this server is missing or wrong; send 'Authorization: Bearer TOKEN'."
                await refuse(send, 401, message, [(b"www-authenticate", b"Bearer")])
                return
            note(user=user)
        await self.app(scope, receive, send)


async def refuse(send: Send, status: int, detail: str, headers: Collection[tuple[bytes, bytes]] = ()) -> None:
    """Answer with a status and the form of the other errors, ``{"detail": …}``."""
    body = json.dumps({"detail": detail}).encode()
    sizes = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*sizes, *headers]})
    await send({"type": "http.response.body", "body": body})
