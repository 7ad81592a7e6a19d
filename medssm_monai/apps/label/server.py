"""The server's application: MONAI Label's endpoints behind an audit log, trusted hosts, a token, and limits.

``python -m medssm_monai.apps.label`` hands :data:`app` to uvicorn.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import monailabel
from fastapi import FastAPI, Form, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from monailabel.interfaces.utils.app import app_instance
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from .access import Gate, Tokens
from .audit import Audit, asking_user, audit_log, note
from .endpoints import add_endpoints
from .errors import BAD_INPUT
from .options import ServerOptions, current_options
from .upload_limit import UploadLimit

__all__ = ["create_app"]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Build the app of the studies before the first request."""
    instance = app_instance()
    instance.server_mode(True)
    instance.on_init_complete()
    yield


def create_app(options: ServerOptions) -> FastAPI:
    """The application with these guards, from the outside in: audit, hosts, other origins, token, size of a request."""
    tokens = Tokens(options.token) if options.token else None
    limits, guards = options.limits, []
    if options.audit:
        guards.append(Middleware(Audit, log=audit_log(options.audit)))
    guards.append(Middleware(TrustedHostMiddleware, allowed_hosts=list(options.hosts), www_redirect=False))
    if options.origins:
        guards.append(
            Middleware(CORSMiddleware, allow_origins=list(options.origins), allow_methods=["*"], allow_headers=["*"])
        )
    guards.append(Middleware(Gate, tokens=tokens, origins=options.origins))
    guards.append(Middleware(UploadLimit, max_bytes=limits.upload_bytes, max_json_bytes=limits.json_bytes))
    docs = "docs" in options.allowed
    app = FastAPI(
        title="medssm-monai",
        lifespan=lifespan,
        middleware=guards,
        docs_url=None,
        redoc_url="/docs" if docs else None,
        openapi_url="/openapi.json" if docs else None,
    )
    app.add_exception_handler(RequestValidationError, _bad_request)
    _add_login(app, tokens)
    add_endpoints(app, options)
    if docs:
        _add_docs(app)
    return app


def _bad_request(_: Request, error: Exception) -> JSONResponse:
    """400 that names the arguments; what was sent is not repeated (it may be no JSON that can be sent)."""
    errors = error.errors() if isinstance(error, RequestValidationError) else ()
    wrong = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in errors]
    detail = "; ".join(wrong)[:1000].encode("ascii", "backslashreplace").decode()
    return JSONResponse({"detail": detail}, status_code=BAD_INPUT)


def _add_login(app: FastAPI, tokens: Tokens | None) -> None:
    """What MONAI Label's clients ask to log in: 3D Slicer opens its window for user and password."""

    @app.get("/auth/")
    def enabled() -> dict[str, Any]:
        return {"enabled": tokens is not None, "client_id": "medssm-monai", "realm": None}

    @app.post("/auth/token")
    def login(username: str = Form("", max_length=200), password: str = Form("", max_length=1000)) -> dict[str, Any]:
        note(user=username)
        token = tokens.issue(username, password) if tokens else None
        if tokens is not None and token is None:
            raise HTTPException(401, "wrong password: it is the token that the server printed when it was started.")
        return {"access_token": token, "token_type": "bearer" if token else None}

    @app.get("/auth/token/valid")
    def valid() -> dict[str, Any]:
        return {"username": asking_user(), "email": None, "name": None, "roles": []}


def _add_docs(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    def start() -> HTMLResponse:
        return get_swagger_ui_html(openapi_url="/openapi.json", title="medssm-monai")

    @app.get("/favicon.ico", include_in_schema=False)
    def icon() -> FileResponse:
        return FileResponse(Path(monailabel.__file__).parent / "endpoints" / "static" / "favicon.ico")


def __getattr__(name: str) -> Any:
    """:data:`app`, made when uvicorn asks for it."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    options = current_options()
    if options is None:
        raise RuntimeError("start the server with python -m medssm_monai.apps.label, which sets its guards.")
    return create_app(options)
