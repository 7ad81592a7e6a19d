"""Texts without the names of files, which often hold those of patients: instances are called by their UIDs."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from ..data.studies.headers import is_uid
from ..data.studies.series import Found
from ..utils.shown_names import full_names
from .deidentify import Deidentifier

__all__ = ["Nameless"]


class Nameless:
    """What the files of a folder are called.

    Args:
        found: in the folder.
        folder: itself.
        deidentify: gives the instances other UIDs in texts too.

    With the environment variable ``MEDSSM_FULL_NAMES=1`` files keep their names.
    """

    def __init__(self, found: Found, folder: str | os.PathLike[str], deidentify: Deidentifier | None = None) -> None:
        self._uid = deidentify.uid if deidentify is not None else str
        self._called: dict[str, str] = {}
        for series in found.series:
            for instance in series.instances:
                uid = self.uid(str(instance.header.get("SOPInstanceUID", "")))
                self._called[os.path.abspath(instance.path)] = uid and f"instance {uid}"
        for aside in found.set_aside:
            uid = self.uid(aside.uid)
            self._called[os.path.abspath(aside.path)] = uid and f"instance {uid}"
        for number, path in enumerate(sorted(self._called), start=1):
            self._called[path] = self._called[path] or f"file {number} of {len(self._called)} (by name)"
        self._folder = os.path.abspath(folder)
        self._longest = sorted(self._called, key=len, reverse=True)

    def uid(self, uid: str) -> str:
        """What an identifier is called; empty for what is none, and may be anything."""
        return self._uid(uid) if is_uid(uid) else ""

    def file(self, path: str | os.PathLike[str]) -> str:
        """What a file of the folder is called, or the address of one of its frames."""
        return os.fspath(path) if full_names() else self.text(os.path.abspath(path))

    def text(self, text: str) -> str:
        """A text without the names of the folder's files, and without the folder's."""
        if full_names():
            return text
        if self._folder in text:
            for path in self._longest:
                if path in text:
                    text = text.replace(path, self._called[path])
            if self._folder != os.sep:
                text = text.replace(self._folder, "(input folder)")
        return text

    @contextmanager
    def in_logs(self) -> Iterator[None]:
        """Log messages of all packages without these names, on the handlers that there are; also in several threads."""
        loggers = [logging.getLogger(), *logging.root.manager.loggerDict.values()]
        handlers = {handler for logger in loggers for handler in getattr(logger, "handlers", [])}
        if logging.lastResort is not None:  # where there are none
            handlers.add(logging.lastResort)

        def clean(record: logging.LogRecord) -> bool:  # one for each use: the end of another leaves it in its place
            return self._clean(record)

        for handler in handlers:
            handler.addFilter(clean)
        try:
            yield
        finally:
            for handler in handlers:
                handler.removeFilter(clean)

    def _clean(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self.text(record.getMessage()), ()
        if record.exc_info:  # a traceback repeats the messages of its errors
            record.exc_info, record.exc_text = None, None
        return True
