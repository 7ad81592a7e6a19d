"""Sessions: images that a client sends for a while. They lie in a folder that goes with the server."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from monailabel.utils.sessions import SessionInfo, Sessions

from .archives import unpack
from .options import Limits

__all__ = ["PrivateSessions"]

TOO_MANY = 429


class PrivateSessions(Sessions):
    """MONAI Label's sessions with names that cannot be guessed, archives that are unpacked safely, and a limit.

    Args:
        store_path: folder for them.
        expiry: seconds after which one goes that is not asked for.
        limits: of their number and size.
    """

    def __init__(self, store_path: str, expiry: int, limits: Limits) -> None:
        super().__init__(store_path, expiry)
        self.limits = limits

    def __bool__(self) -> bool:  # there are sessions on the server, also when there is none just now
        return True

    def get_session(self, session_id: str, update_ts: bool = True, fetch_cache: bool = True) -> SessionInfo | None:
        """None for anything that is not the name of a session."""
        try:
            name = str(uuid.UUID(session_id))
        except ValueError:
            return None
        return super().get_session(name, update_ts, fetch_cache) if name == session_id else None

    def remove_expired(self) -> int:
        return super().remove_expired() if Path(self.store_path).is_dir() else 0

    def add_session(
        self, data_file: str, expiry: int = 0, uncompress: bool = False, session_id: str | None = None
    ) -> tuple[str, Any]:
        """As in MONAI Label.

        Raises:
            ValueError: an archive that cannot be unpacked safely.
            HTTPException: as many sessions as the limit allows (429).
        """
        try:
            return self._add(data_file, expiry, uncompress)
        except BaseException:
            received = Path(data_file) if Path(data_file).is_dir() else Path(data_file).parent
            if received.parent == Path(tempfile.gettempdir()):  # a folder of this request alone
                shutil.rmtree(received, ignore_errors=True)
            raise

    def _add(self, data_file: str, expiry: int, uncompress: bool) -> tuple[str, Any]:
        if len(self) >= self.limits.sessions:
            raise HTTPException(TOO_MANY, f"{len(self)} sessions are open; delete one, or wait until one expires.")
        if uncompress and Path(data_file).is_file():
            with tempfile.TemporaryDirectory(prefix="session_") as folder:
                images = Path(folder) / "images"
                images.mkdir()
                unpack(Path(data_file), images, self.limits.upload_bytes)
                return super().add_session(str(images), expiry, False, str(uuid.uuid4()))
        return super().add_session(data_file, expiry, False, str(uuid.uuid4()))
