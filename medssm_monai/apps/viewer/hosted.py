"""Gradio's page as an ASGI application, behind the guard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import gradio as gr
from fastapi import FastAPI

from .guard import Guard
from .look import CSS, theme
from .models import Model
from .page import MAX_UPLOAD, build_page

__all__ = ["hosted"]


def hosted(models: Mapping[str, Sequence[Model]], host: str, port: int) -> Guard:
    """The application.

    Args:
        models: what is offered, by kind.
        host: address of the server.
        port: of the server.
    """
    closed: dict[str, None] = dict.fromkeys(("docs_url", "redoc_url", "openapi_url"))
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    gr.mount_gradio_app(
        app,
        build_page(models),
        path="",
        server_name=host,
        server_port=port,
        footer_links=[],
        run_history=False,  # the browser would keep what was asked and answered
        app_kwargs=closed,
        allowed_paths=[],
        show_error=False,
        max_file_size=MAX_UPLOAD,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=theme(),
        css=CSS,
    )
    return Guard(app, tuple({"localhost", "127.0.0.1", "::1", host}))
