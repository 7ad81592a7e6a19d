"""MLflow's SQLite stores in tests.

MLflow builds the tables of a new one by all its migrations, which takes seconds; here once, then copies.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from medssm_monai.handlers import mlflow_store


@contextmanager
def copied_tables() -> Iterator[None]:
    """While this lasts, MLflow itself builds the tables of the first new store in this process; others are copies."""
    from mlflow.store.db import utils

    build = utils._initialize_tables
    with closing(sqlite3.connect(":memory:", check_same_thread=False)) as kept, pytest.MonkeyPatch.context() as patch:

        def build_or_copy(engine) -> None:
            built = kept.execute("select count(*) from sqlite_master").fetchone()[0]
            if not built:
                build(engine)
            with closing(engine.raw_connection()) as connection:
                store = connection.driver_connection
                kept.backup(store) if built else store.backup(kept)

        patch.setattr(utils, "_initialize_tables", build_or_copy)
        yield


def play_server(monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    """Have a SQLite file play the server that the environment names: trackers take no other file for local."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    for name in mlflow_store.REQUESTS:
        monkeypatch.delenv(name, raising=False)
    begin = mlflow_store.MLflowStore.__init__

    def as_server(store, address, *args) -> None:
        begin(store, address, *args)
        store.is_local = address != uri

    monkeypatch.setattr(mlflow_store.MLflowStore, "__init__", as_server)
    monkeypatch.setattr(mlflow_store, "SECONDS", 60.0)  # a busy machine is no lost server
