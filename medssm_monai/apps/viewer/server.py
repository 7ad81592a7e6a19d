"""The server of the page, on this computer alone."""

from __future__ import annotations

import os
import tempfile
import threading
import webbrowser
from collections.abc import Mapping, Sequence

import gradio as gr
import uvicorn
from fastapi import FastAPI

from ..label.uploads import private_uploads
from .address import listen
from .guard import Guard
from .look import CSS, theme
from .models import Model
from .page import MAX_UPLOAD, build_page
from .quiet import refuse_outgoing_connections

__all__ = ["serve"]

PREFIX = "medssm_viewer_"
GRACE_SECONDS = 3


def serve(models: Mapping[str, Sequence[Model]], host: str, port: int | None, open_browser: bool) -> None:
    """Serve the page until the process is told to end (Ctrl+C, SIGTERM).

    Args:
        models: what is offered, by kind.
        host: an address of this computer alone.
        port: None takes 7860, or any free one.
        open_browser: open the page in the browser when it is there.

    Raises:
        what :func:`listen` raises.
    """
    listener = listen(host, port)
    shown = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
    with private_uploads(PREFIX) as folder:
        os.environ["GRADIO_TEMP_DIR"] = str(folder / "files")
        tempfile.tempdir = str(folder)
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        gr.mount_gradio_app(
            app,
            build_page(models),
            path="",
            server_name=host,
            server_port=listener.getsockname()[1],
            footer_links=[],
            run_history=False,
            app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None},
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
        names = tuple({"localhost", "127.0.0.1", "::1", host})
        config = uvicorn.Config(
            Guard(app, names),
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
            server_header=False,
            forwarded_allow_ips="",
        )
        refuse_outgoing_connections()
        print(f"The viewer is at {shown} (this computer only; Ctrl+C ends it).", flush=True)
        if open_browser:
            threading.Timer(1.0, webbrowser.open, [shown]).start()
        uvicorn.Server(config).run(sockets=[listener])
