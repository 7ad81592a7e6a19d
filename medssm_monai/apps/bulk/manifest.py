"""The manifest: what waits, is at work, done, failed or passed over, in one SQLite file. Standard library only.

One process writes it, the one that hands out the studies; it lies beside the results. Others may read it on the same
machine only (SQLite's write-ahead log is shared in memory). It names studies by their keys, and by what their files are
called only where the user asked for it.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ...utils.text_files import printable
from .drift import Batch
from .outcome import Outcome
from .study import Study
from .work import PLACE

__all__ = ["DEATHS", "GONE", "STATES", "Entry", "Manifest"]

STATES = ("waiting", "running", "done", "failed", "passed")
DEATHS = 3
"""So many workers may a study end before it counts as failed."""
GONE = "gone"
"""Of studies that the input does not have any more, whatever became of them; they come back with it."""
HERE, WORKER = "here", "worker"  # where a study runs: in the process that hands out the studies, or in another
VERSION = "2"
LONGEST_REASON = 1000
KILLED = f"its worker died {DEATHS} times (out of memory, or killed by a signal)"
SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS studies (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    stamp TEXT NOT NULL,
    name TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'failed', 'passed')),
    place TEXT NOT NULL DEFAULT '',
    attempts INTEGER NOT NULL DEFAULT 0,
    deaths INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    answer TEXT NOT NULL DEFAULT '',
    unlike TEXT NOT NULL DEFAULT '',
    figures TEXT NOT NULL DEFAULT '',
    predictions INTEGER NOT NULL DEFAULT 0,
    batch INTEGER,
    seconds REAL,
    ended REAL,
    seen INTEGER NOT NULL DEFAULT 0,
    gone INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS not_done ON studies (state) WHERE state != 'done';
CREATE INDEX IF NOT EXISTS not_there ON studies (gone, state) WHERE gone;
CREATE TABLE IF NOT EXISTS batches (id INTEGER PRIMARY KEY, sums TEXT NOT NULL, flags TEXT NOT NULL DEFAULT '');
"""
BETWEEN = "; "


@dataclass(frozen=True)
class Entry:
    """One study of the manifest."""

    key: str
    name: str
    state: str
    attempts: int
    deaths: int
    reason: str
    answer: str
    unlike: str
    figures: Mapping[str, Any]
    predictions: int
    batch: int | None
    seconds: float | None


COLUMNS = tuple(field.name for field in fields(Entry))


class Manifest:
    """Of one folder of results.

    Args:
        path: the file; made where it is not there, readable by its owner only.
        names: whether it notes what files are called.

    Raises:
        sqlite3.DatabaseError: the file is none of SQLite, or damaged.
    """

    def __init__(self, path: str | os.PathLike[str], names: bool = False) -> None:
        self.path, self.names = Path(path), names
        if not self.path.exists():
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        self._database = sqlite3.connect(self.path, isolation_level=None)
        # Changes of a killed process stay. A power cut may take the last ones, whose results are found again.
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.execute("PRAGMA journal_mode = WAL")  # no wait for the disk at each study
        with self._writing():
            for statement in SCHEMA.split(";"):
                self._database.execute(statement)
        self._pass = 0

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield self._database
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def belong_to(self, facts: Mapping[str, str], moved: bool = False) -> None:
        """Say what the results are of; the first ones that say so are asked for ever after.

        Args:
            facts: name -> value, such as the SHA-256 of the weights.
            moved: whether the input is the same as before, in another place.

        Raises:
            ValueError: there are results of something else.
        """
        with self._writing() as database:
            wanted = {"manifest": VERSION, **facts}
            known = dict(database.execute("SELECT name, value FROM facts"))
            if moved and PLACE in known:
                known[PLACE] = wanted[PLACE]
            others = [name for name, value in wanted.items() if known and known.get(name) != value]
            if not others:
                database.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", wanted.items())
        if others:
            was = "; ".join(f"{name}: {known.get(name, 'not said')}, now {wanted[name]}" for name in others)
            elsewhere = " Only where the input is the same and was moved, say --moved." if PLACE in others else ""
            raise ValueError(
                f"this folder holds results of other {' and '.join(others)} ({was}). Name another folder for these, or "
                f"give the same input, weights and options as before.{elsewhere}"
            )

    @property
    def facts(self) -> dict[str, str]:
        """What the results are of."""
        return dict(self._database.execute("SELECT name, value FROM facts"))

    def take_up(self) -> int:
        """What an earlier process left at work waits again; one that ran in that process counts as its death.

        Returns:
            how many studies were at work.
        """
        with self._writing() as database:
            found = database.execute("SELECT COUNT(*) FROM studies WHERE state = 'running'").fetchone()[0]
            database.execute(
                "UPDATE studies SET deaths = deaths + (place = ?), place = '', state = 'waiting'"
                " WHERE state = 'running'",
                (HERE,),
            )
            self._give_up(database)
        return int(found)

    @staticmethod
    def _give_up(database: sqlite3.Connection) -> None:
        database.execute(
            "UPDATE studies SET state = 'failed', reason = ?, ended = ? WHERE state = 'waiting' AND deaths >= ?",
            (KILLED, time.time(), DEATHS),
        )

    def retry_failed(self) -> int:
        """Let wait again what has failed; returns how many."""
        with self._writing() as database:
            return database.execute(
                "UPDATE studies SET state = 'waiting', deaths = 0, attempts = 0, reason = '' WHERE state = 'failed'"
            ).rowcount

    def begin_pass(self) -> None:
        """The source is going to be gone through from its beginning; what :meth:`note` gets was seen in this pass."""
        with self._writing() as database:
            self._pass = 1 + database.execute("PRAGMA user_version").fetchone()[0]  # a number that SQLite keeps for us
            database.execute(f"PRAGMA user_version = {self._pass:d}")

    def end_pass(self) -> None:
        """The source was gone through to its end: what was not seen is gone."""
        with self._writing() as database:
            database.execute("UPDATE studies SET gone = 1 WHERE seen < ? AND NOT gone", (self._pass,))

    def note(self, studies: Sequence[Study]) -> list[tuple[Study, int]]:
        """Note studies of a source: new ones wait, and those whose files have changed wait again.

        Returns:
            those that wait, each with the number of workers that it has ended.
        """
        waiting = []
        with self._writing() as database:
            for study in studies:
                name = printable(study.name) if self.names else ""  # SQLite holds UTF-8 alone
                database.execute("UPDATE studies SET seen = ?, gone = 0 WHERE key = ?", (self._pass, study.key))
                row = database.execute(
                    "SELECT stamp, state, deaths, name FROM studies WHERE key = ?", (study.key,)
                ).fetchone()
                if row is not None and name and row[3] != name:  # asked for later than the study was noted
                    database.execute("UPDATE studies SET name = ? WHERE key = ?", (name, study.key))
                if row is None:
                    database.execute(
                        "INSERT INTO studies (key, stamp, name, state, seen) VALUES (?, ?, ?, 'waiting', ?)",
                        (study.key, study.stamp, name, self._pass),
                    )
                elif row[0] != study.stamp and row[1] != "running":
                    database.execute(
                        "UPDATE studies SET stamp = ?, state = 'waiting', deaths = 0, attempts = 0, reason = '',"
                        " answer = '', unlike = '', figures = '', predictions = 0 WHERE key = ?",
                        (study.stamp, study.key),
                    )
                elif row[1] != "waiting":
                    continue
                deaths = 0 if row is None or row[0] != study.stamp else int(row[2])
                waiting.append((study, deaths))
        return waiting

    def begin(self, study: Study, here: bool) -> bool:
        """A study begins: this is on the disk before it does. False where it does not wait: it is listed twice.

        Args:
            study: as it was noted.
            here: in this process.
        """
        with self._writing() as database:
            return bool(
                database.execute(
                    "UPDATE studies SET state = 'running', place = ?, attempts = attempts + 1"
                    " WHERE key = ? AND state = 'waiting'",
                    (HERE if here else WORKER, study.key),
                ).rowcount
            )

    def release(self, study: Study) -> None:
        """A study that was begun waits again: the run was stopped before it ended."""
        with self._writing() as database:
            database.execute(
                "UPDATE studies SET state = 'waiting', place = '' WHERE key = ? AND state = 'running'", (study.key,)
            )

    def died(self, study: Study) -> bool:
        """The worker of a study died.

        Returns:
            whether the study is given up.
        """
        with self._writing() as database:
            database.execute(
                "UPDATE studies SET state = 'waiting', place = '', deaths = deaths + 1 WHERE key = ?", (study.key,)
            )
            self._give_up(database)
            return bool(
                database.execute("SELECT state = 'failed' FROM studies WHERE key = ?", (study.key,)).fetchone()[0]
            )

    def finish(self, study: Study, outcome: Outcome, batch: int | None = None, sums: Batch | None = None) -> None:
        """A study has ended.

        Args:
            study: as it was noted.
            outcome: its end.
            batch: number of the batch that it belongs to.
            sums: of that batch, with this study.
        """
        with self._writing() as database:
            database.execute(
                "UPDATE studies SET state = ?, place = '', reason = ?, answer = ?, unlike = ?, figures = ?,"
                " predictions = ?, batch = ?, seconds = ?, ended = ? WHERE key = ?",
                (
                    outcome.state,
                    outcome.reason[:LONGEST_REASON],
                    outcome.answer,
                    BETWEEN.join(outcome.unlike),
                    json.dumps(outcome.values) if outcome.values else "",
                    outcome.predictions,
                    batch,
                    outcome.seconds,
                    time.time(),
                    study.key,
                ),
            )
            if batch is not None and sums is not None:
                database.execute(
                    "INSERT OR REPLACE INTO batches VALUES (?, ?, ?)",
                    (batch, json.dumps(sums.plain()), BETWEEN.join(sums.flags())),
                )

    def last_batch(self) -> tuple[int, dict[str, Any]] | None:
        """Number and sums of the newest batch."""
        row = self._database.execute("SELECT id, sums FROM batches ORDER BY id DESC LIMIT 1").fetchone()
        return None if row is None else (int(row[0]), json.loads(row[1]))

    def batches(self) -> Iterator[tuple[int, dict[str, Any], str]]:
        """Number, sums and flags of each batch."""
        for number, sums, flags in self._database.execute("SELECT id, sums, flags FROM batches ORDER BY id"):
            yield int(number), json.loads(sums), str(flags)

    def counts(self) -> dict[str, int]:
        """Number of studies in each state, and of those that are :data:`GONE`, which are in none."""
        count = "SELECT COUNT(*) FROM studies WHERE"
        missing = {
            state: self._database.execute(f"{count} gone AND state = ?", (state,)).fetchone()[0] for state in STATES
        }
        found = {
            state: self._database.execute(f"{count} state = ?", (state,)).fetchone()[0] - missing[state]
            for state in STATES
            if state != "done"
        }
        total = self._database.execute("SELECT COUNT(*) FROM studies").fetchone()[0]
        gone = sum(missing.values())
        return {**{state: found.get(state, total - gone - sum(found.values())) for state in STATES}, GONE: gone}

    def unlike(self) -> tuple[int, int, Counter[str]]:
        """Of the studies that are done, each once: how many there are, how many are unlike the training, and in which
        respects."""
        studies, unlike, reasons = 0, 0, Counter[str]()
        rows = self._database.execute(
            "SELECT unlike, COUNT(*) FROM studies WHERE state = 'done' AND NOT gone GROUP BY unlike"
        )
        for text, count in rows:
            studies += count
            if text:
                unlike += count
                reasons.update(dict.fromkeys(text.split(BETWEEN), count))
        return studies, unlike, reasons

    def entries(self, states: Iterable[str] = STATES) -> Iterator[Entry]:
        """Studies of some states that are not gone, in the order in which they were noted; read as they are asked
        for."""
        wanted = list(states)
        marks = ", ".join("?" * len(wanted))
        rows = self._database.execute(
            f"SELECT {', '.join(COLUMNS)} FROM studies WHERE state IN ({marks}) AND NOT gone ORDER BY id",
            wanted,
        )
        for row in rows:
            yield Entry(**dict(zip(COLUMNS, row, strict=True)) | {"figures": json.loads(row[8] or "{}")})
