"""A DICOM archive, study by study: which file belongs to which study is noted on the disk, not in memory."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ...data.studies.find import INDEX, files_below
from ...data.studies.headers import HeaderError, is_uid, read_header, require_pydicom
from ...data.studies.series import SetAside
from .study import Study, digest

__all__ = ["DicomArchive"]

SCHEMA = """
CREATE TABLE files (study TEXT NOT NULL, path TEXT NOT NULL, state TEXT NOT NULL);
CREATE TABLE wrong (path TEXT NOT NULL, reason TEXT NOT NULL);
"""
NO_STUDY = "the image does not say of which study it is; export it again"


class DicomArchive:
    """Studies of a folder, by their identifiers; their files may lie anywhere below it.

    Each header is read once, when the studies are first asked for. What was found lies in a temporary database, which
    the system removes when the process ends.

    Args:
        root: folder of the archive, or one file.
        out: folder of the results, passed over.

    Attributes:
        passed: why files are rightly left out, and how many.

    Raises:
        ImportError: pydicom is not installed.
    """

    kind = "dicom"

    def __init__(self, root: Path, out: Path | None = None) -> None:
        require_pydicom()
        self.root, self.out = root, out
        self.passed: Counter[str] = Counter()
        self._index: sqlite3.Connection | None = None

    def _indexed(self) -> sqlite3.Connection:
        if self._index is None:
            index = sqlite3.connect("")  # on the disk, without a name
            index.executescript(SCHEMA)
            closed: list[SetAside] = []
            for path in [self.root] if self.root.is_file() else files_below(self.root, closed, self.out):
                if path.name.upper() != INDEX:
                    self._note(index, path)
            for folder in closed:
                index.execute("INSERT INTO wrong VALUES (?, ?)", (os.fsencode(folder.path), folder.reason))
            index.execute("CREATE INDEX by_study ON files (study)")
            self._index = index
        return self._index

    def _note(self, index: sqlite3.Connection, path: Path) -> None:
        name = os.fsencode(path)
        try:
            if not path.is_file():
                self.passed["a pipe, a socket or a device, no file"] += 1
                return
            uid = str(read_header(path).get("StudyInstanceUID", "") or "").strip()
            state = path.stat()
        except HeaderError as error:
            if error.lost:
                index.execute("INSERT INTO wrong VALUES (?, ?)", (name, str(error)))
            else:
                self.passed[str(error)] += 1
        except OSError as error:
            index.execute("INSERT INTO wrong VALUES (?, ?)", (name, f"cannot be read ({error.strerror})"))
        else:
            if is_uid(uid):
                stamp = f"{state.st_size}:{state.st_mtime_ns}"
                index.execute("INSERT INTO files VALUES (?, ?, ?)", (uid, name, stamp))
            else:
                index.execute("INSERT INTO wrong VALUES (?, ?)", (name, NO_STUDY))

    def __iter__(self) -> Iterator[Study]:
        index = self._indexed()
        for (uid,) in index.execute("SELECT DISTINCT study FROM files ORDER BY study"):
            found = index.execute("SELECT path, state FROM files WHERE study = ? ORDER BY path", (uid,)).fetchall()
            files = tuple(os.fsdecode(path) for path, _ in found)
            stamp = digest(*(f"{self._named(path)}:{state}" for path, (_, state) in zip(files, found, strict=True)))
            yield Study(digest(uid), stamp, files, uid, uid)
        for path, reason in index.execute("SELECT path, reason FROM wrong ORDER BY path"):
            named = self._named(os.fsdecode(path))
            yield Study(digest("file", named), "", (os.fsdecode(path),), named, wrong=reason)

    def _named(self, path: str) -> str:
        return Path(os.path.relpath(path, self.root)).as_posix()

    def count(self) -> int:
        index = self._indexed()
        return sum(
            index.execute(f"SELECT COUNT({what}) FROM {table}").fetchone()[0]
            for what, table in (("DISTINCT study", "files"), ("*", "wrong"))
        )
