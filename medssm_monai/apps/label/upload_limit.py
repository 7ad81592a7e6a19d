"""Requests that send more than agreed are answered with 413, whatever length they have declared."""

from __future__ import annotations

from contextlib import suppress

from .access import App, Message, Receive, Scope, Send, refuse

__all__ = ["UploadLimit"]

LOGIN = "/auth"  # asked without a token, so that nobody fills the disk


class _TooLarge(Exception):
    pass


class UploadLimit:
    """ASGI middleware.

    Args:
        app: what is behind it.
        max_bytes: of a body with files; a login has none.
        max_json_bytes: of any other body.
    """

    def __init__(self, app: App, max_bytes: int, max_json_bytes: int) -> None:
        self.app, self.max_bytes, self.max_json_bytes = app, max_bytes, max_json_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        files = headers.get(b"content-type", b"").lower().startswith(b"multipart/form-data")
        limit = self.max_bytes if files and not scope["path"].startswith(LOGIN) else self.max_json_bytes
        declared = headers.get(b"content-length", b"0")
        message = f"a request of this kind may send {limit} bytes; start the server with --max-upload-mb for more."
        if not declared.isdigit() or int(declared[:20]) > limit:
            await refuse(send, 413, message, [(b"connection", b"close")])
            return
        received, started, over = 0, False, False

        async def counted() -> Message:
            nonlocal received, over
            part = await receive()
            received += len(part.get("body", b""))
            if received > limit:
                over = True
                raise _TooLarge
            return part

        async def watched(part: Message) -> None:
            nonlocal started
            if over and not started:
                return  # whatever the app makes of the exception, the answer is below
            started = True
            await send(part)

        with suppress(_TooLarge):
            await self.app(scope, counted, watched)
        if over and not started:
            await refuse(send, 413, message, [(b"connection", b"close")])
