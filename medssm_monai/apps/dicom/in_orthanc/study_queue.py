"""The queue between Orthanc and the workers: what waits, runs, is done or has failed. Standard library only.

One SQLite file on a local disk (WAL does not work on network file systems). It holds UIDs and Orthanc's own identifiers
(hashes), no name, number or date of a patient.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

__all__ = ["STATES", "Item", "StudyQueue"]

STATES = ("waiting", "running", "done", "failed", "given up")
"""``failed``: after several attempts, ``retry`` takes it up again. ``given up``: nothing to predict, or gone."""
LOCKED_SECONDS = 10.0
LOCKED_PAUSE = 0.02  # seconds between looks whether a new file is free
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 3600.0  # seconds between attempts; each is twice the one before
LONGEST_WAIT = 60.0  # seconds between looks whether what was missing (Orthanc, the disk) is there again
LONGEST_REASON = 1000
SCHEMA = """
CREATE TABLE IF NOT EXISTS items (
    id INTEGER PRIMARY KEY,
    level TEXT NOT NULL CHECK (level IN ('series', 'study')),
    resource TEXT NOT NULL,
    bundle TEXT NOT NULL,
    study_uid TEXT NOT NULL,
    series_uid TEXT NOT NULL,
    content TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'failed', 'given up')),
    attempts INTEGER NOT NULL DEFAULT 0,
    delays INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    objects INTEGER NOT NULL DEFAULT 0,
    queued REAL NOT NULL,
    next_try REAL NOT NULL,
    started REAL,
    ended REAL,
    owner TEXT NOT NULL DEFAULT '',
    lease REAL NOT NULL DEFAULT 0,
    UNIQUE (level, resource, bundle)
);
CREATE INDEX IF NOT EXISTS by_turn ON items (bundle, state, next_try);
CREATE TABLE IF NOT EXISTS stored (item INTEGER NOT NULL, result TEXT NOT NULL, PRIMARY KEY (item, result));
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""


@dataclass(frozen=True)
class Item:
    """One series or study for one bundle.

    Attributes:
        id: its number in the queue.
        level: ``"series"`` or ``"study"``.
        resource: Orthanc's identifier of the series or study.
        bundle: name under which a worker asks for it.
        study_uid, series_uid: DICOM's; the second is empty for a study.
        content: digest of the instances that are to be predicted.
        state: one of :data:`STATES`.
        attempts: how often it was begun; waits for Orthanc do not count.
        delays: how often it had to wait since, which sets the length of the next pause.
        reason: of a failure or a wait.
        objects: number of objects that were stored.
        queued, next_try, started, ended: seconds since 1970.
        owner, lease: who works at it, and until when nobody else may.
    """

    id: int
    level: str
    resource: str
    bundle: str
    study_uid: str
    series_uid: str
    content: str
    state: str
    attempts: int
    delays: int
    reason: str
    objects: int
    queued: float
    next_try: float
    started: float | None
    ended: float | None
    owner: str
    lease: float


COLUMNS = ", ".join(field.name for field in fields(Item))


def pause(number: int, longest: float = LONGEST_PAUSE) -> float:
    """Seconds before another try, after ``number`` that went wrong."""
    return min(FIRST_PAUSE * 2.0 ** min(max(number - 1, 0), 30), longest)


class StudyQueue:
    """A queue in a file; several processes may use it at once.

    Args:
        path: of the file; made where it is not there, readable by its owner only.
        timeout: seconds to wait while another process writes.

    Raises:
        sqlite3.OperationalError: from every method, where the file is locked for longer or the disk is full.
    """

    def __init__(self, path: str | os.PathLike[str], timeout: float = LOCKED_SECONDS) -> None:
        self.path, self.timeout = Path(path), timeout
        for missing in reversed([folder for folder in self.path.parents if not folder.exists()]):
            missing.mkdir(mode=0o700, exist_ok=True)
        if not self.path.exists():
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        self._write_ahead()
        with self._writing() as database:
            for statement in SCHEMA.split(";"):
                database.execute(statement)

    def _write_ahead(self) -> None:
        """Set the file's journal mode, which it keeps.

        SQLite does not wait for that: where two processes open a new file, one of them is told at once that the other
        holds it, whatever the timeout. So the waiting is ours.
        """
        database, end = sqlite3.connect(self.path, timeout=self.timeout), time.monotonic() + self.timeout
        try:
            while True:
                try:
                    database.execute("PRAGMA journal_mode = WAL")
                    return
                except sqlite3.OperationalError as error:
                    if "locked" not in str(error) or time.monotonic() >= end:
                        raise
                time.sleep(LOCKED_PAUSE)
        finally:
            database.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction of its own connection that no other process writes in."""
        database = sqlite3.connect(self.path, timeout=self.timeout, isolation_level=None)
        try:
            database.execute("PRAGMA synchronous = FULL")  # what was queued outlives a power cut
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")
        finally:
            database.close()

    def add(
        self, level: str, resource: str, bundle: str, study_uid: str, series_uid: str, content: str, now: float = 0.0
    ) -> bool:
        """Queue a series or study; one that is there with the same content stays as it is.

        What has got further instances since it was predicted is queued afresh; what is running is queued again once it
        ends.

        Returns:
            whether anything has changed.
        """
        now = now or time.time()
        with self._writing() as database:
            added = database.execute(
                "INSERT INTO items (level, resource, bundle, study_uid, series_uid, content, state, queued, next_try)"
                " VALUES (?, ?, ?, ?, ?, ?, 'waiting', ?, ?) ON CONFLICT (level, resource, bundle) DO NOTHING",
                (level, resource, bundle, study_uid, series_uid, content, now, now),
            ).rowcount
            renewed = database.execute(
                "UPDATE items SET content = ?, queued = ?, next_try = ?, attempts = 0, delays = 0, reason = '',"
                " state = CASE state WHEN 'running' THEN state ELSE 'waiting' END"
                " WHERE level = ? AND resource = ? AND bundle = ? AND content != ?",
                (content, now, now, level, resource, bundle, content),
            ).rowcount
        return bool(added or renewed)

    def first(self, name: str, value: int) -> int:
        """The number that was first given under a name: ``value``, if there was none yet."""
        with self._writing() as database:
            database.execute("INSERT INTO facts (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING", (name, value))
            return int(database.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()[0])

    def claim(self, bundle: str, owner: str, lease: float, max_attempts: int, now: float = 0.0) -> Item | None:
        """Take the item whose turn it is, for ``lease`` seconds; or None.

        What another worker has taken and not renewed is taken again: that worker was killed. What has ended its worker
        ``max_attempts`` times has failed.
        """
        now = now or time.time()
        with self._writing() as database:
            database.execute(
                "UPDATE items SET state = 'failed', ended = ?, owner = '', reason = 'its worker ended without a word,'"
                " || ' ' || attempts || ' times (killed, or out of memory)'"
                " WHERE bundle = ? AND state = 'running' AND lease < ? AND attempts >= ?",
                (now, bundle, now, max_attempts),
            )
            row = database.execute(
                f"SELECT {COLUMNS} FROM items WHERE bundle = ? AND next_try <= ?"
                " AND (state = 'waiting' OR (state = 'running' AND lease < ?)) ORDER BY next_try, id LIMIT 1",
                (bundle, now, now),
            ).fetchone()
            if row is None:
                return None
            database.execute(
                "UPDATE items SET state = 'running', attempts = attempts + 1, started = ?, ended = NULL, owner = ?,"
                " lease = ? WHERE id = ?",
                (now, owner, now + lease, row[0]),
            )
            return Item(*database.execute(f"SELECT {COLUMNS} FROM items WHERE id = ?", (row[0],)).fetchone())

    def renew(self, item: Item, lease: float, now: float = 0.0) -> bool:
        """Hold an item for ``lease`` further seconds; False where it is no longer ours."""
        with self._writing() as database:
            return bool(
                database.execute(
                    "UPDATE items SET lease = ? WHERE id = ? AND state = 'running' AND owner = ?",
                    ((now or time.time()) + lease, item.id, item.owner),
                ).rowcount
            )

    def note_stored(self, item: Item, results: Iterable[str]) -> None:
        """Remember that the objects of predictions, by any names, were stored for an item."""
        with self._writing() as database:
            database.executemany("INSERT OR IGNORE INTO stored VALUES (?, ?)", [(item.id, name) for name in results])

    def stored(self, item: Item) -> set[str]:
        """What :meth:`note_stored` was given for an item, ever."""
        with self._reading() as database:
            return {name for (name,) in database.execute("SELECT result FROM stored WHERE item = ?", (item.id,))}

    def finish(self, item: Item, state: str, reason: str = "", objects: int = 0, now: float = 0.0) -> bool:
        """End an item as ``"done"``, ``"failed"`` or ``"given up"``; False where it is no longer ours.

        Where further instances came meanwhile, it waits again.
        """
        now = now or time.time()
        with self._writing() as database:
            return bool(
                database.execute(
                    "UPDATE items SET state = CASE WHEN content = ? THEN ? ELSE 'waiting' END, reason = ?, objects = ?,"
                    " ended = ?, owner = '', delays = 0, lease = 0,"
                    " attempts = CASE WHEN content = ? THEN attempts ELSE 0 END"
                    " WHERE id = ? AND state = 'running' AND owner = ?",
                    (item.content, state, reason[:LONGEST_REASON], objects, now, item.content, item.id, item.owner),
                ).rowcount
            )

    def release(
        self, item: Item, reason: str = "", counted: bool = False, delay: float | None = None, now: float = 0.0
    ) -> bool:
        """Let an item wait again; False where it is no longer ours.

        Args:
            item: as it was claimed.
            reason: what it waits for.
            counted: whether this was an attempt.
            delay: seconds until the next; None for a pause that doubles each time.
            now: seconds since 1970.
        """
        now = now or time.time()
        if delay is None:
            delay, delayed = pause(item.delays + 1, LONGEST_PAUSE if counted else LONGEST_WAIT), 1
        else:
            delayed = 0
        with self._writing() as database:
            return bool(
                database.execute(
                    "UPDATE items SET state = 'waiting', owner = '', lease = 0, reason = ?, next_try = ?,"
                    " attempts = MAX(attempts - ?, 0), delays = delays + ?"
                    " WHERE id = ? AND state = 'running' AND owner = ?",
                    (
                        reason[:LONGEST_REASON],
                        now + delay,
                        0 if counted else 1,
                        delayed,
                        item.id,
                        item.owner,
                    ),
                ).rowcount
            )

    def retry(self, number: int | None = None) -> int:
        """Queue again what has failed or was given up: one, or all (None).

        Returns:
            how many.

        Raises:
            KeyError: no item has this number.
            ValueError: it has not failed.
        """
        now = time.time()
        with self._writing() as database:
            if number is not None:
                row = database.execute("SELECT state FROM items WHERE id = ?", (number,)).fetchone()
                if row is None:
                    raise KeyError(f"the queue has no item {number}.")
                if row[0] not in ("failed", "given up"):
                    raise ValueError(f"item {number} is {row[0]}; only what has failed or was given up is retried.")
            return database.execute(
                "UPDATE items SET state = 'waiting', attempts = 0, delays = 0, reason = '', next_try = ?"
                " WHERE state IN ('failed', 'given up') AND (? IS NULL OR id = ?)",
                (now, number, number),
            ).rowcount

    def listing(self, state: str | None = None, limit: int = -1) -> list[Item]:
        """Items in the order of their numbers, of one state or all; the newest ``limit`` of them.

        Raises:
            ValueError: no such state.
        """
        if state is not None and state not in STATES:
            raise ValueError(f"no state {state!r}; one of {', '.join(STATES)}.")
        with self._reading() as database:
            rows = database.execute(
                f"SELECT {COLUMNS} FROM items WHERE ? IS NULL OR state = ? ORDER BY id DESC LIMIT ?",
                (state, state, limit),
            ).fetchall()
        return [Item(*row) for row in reversed(rows)]

    def counts(self) -> dict[str, int]:
        """Number of items in each state."""
        with self._reading() as database:
            found = dict(database.execute("SELECT state, COUNT(*) FROM items GROUP BY state").fetchall())
        return {state: found.get(state, 0) for state in STATES}

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        database = sqlite3.connect(self.path, timeout=self.timeout, isolation_level=None)
        try:
            yield database
        finally:
            database.close()

    def as_json(self, items: Iterable[Item]) -> str:
        """Counts of all states, and these items, for programs."""
        return json.dumps({"counts": self.counts(), "items": [asdict(item) for item in items]}, indent=2)
