"""The server of the page, on this computer alone."""

from __future__ import annotations

import os
import threading
import webbrowser
from collections.abc import Mapping, Sequence

from ..uploads import private_uploads
from .address import listen
from .models import Model
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
        what :func:`~.address.listen` raises.
    """
    listener = listen(host, port)
    number = listener.getsockname()[1]
    shown = f"http://{f'[{host}]' if ':' in host else host}:{number}"
    with private_uploads(PREFIX) as folder:
        os.environ["GRADIO_TEMP_DIR"] = str(folder / "files")
        import uvicorn

        from .hosted import hosted  # only now: Gradio makes folders for temporary files when it is imported

        config = uvicorn.Config(
            hosted(models, host, number),
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
