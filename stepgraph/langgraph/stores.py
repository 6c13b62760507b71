"""Opens a store of LangGraph's by its address: in memory, SQLite, PostgreSQL, or what a function of the user's returns.

Owns the forms of an address, and what a store needs that several processes use at once and that may be killed at any
moment. Refuses to know which address is used (`stepgraph.hosting.process_store`). `STEPGRAPH_STORE` is where a user
reads of these addresses, so messages name it.
"""

from __future__ import annotations

import asyncio
import atexit
import importlib
import os
import sqlite3
import sys
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import SqliteStore

from stepgraph.errors import StepgraphError
from stepgraph.serde.error_text import first_line, type_name

SETTING: Final = "STEPGRAPH_STORE"
FORMS: Final = "memory, sqlite:///file.db, postgresql://user@host/database, module:function or none"
BUSY_SECONDS: Final = 30.0
"""How long a process waits while another one writes to the same SQLite file."""
CONNECTIONS: Final = 10
"""The largest number of connections of a process to PostgreSQL."""

_until_exit = ExitStack()
"""Context managers whose stores stay open until the process ends."""
atexit.register(_until_exit.close)


def open_store(address: str) -> Any:
    """Return the store at an address.

    Raises:
        StepgraphError: the address has no known form, or the store cannot be opened.
    """
    scheme, _, place = address.partition("://")
    try:
        if address == "memory":
            return InMemoryStore()
        if scheme == "sqlite" and place.startswith("/") and len(place) > 1:
            return _sqlite_store(Path(place[1:]))
        if scheme in ("postgresql", "postgres"):
            return _postgres_store(address)
        if not place and address.count(":") == 1:
            return _store_of_user(*address.split(":"))
    except StepgraphError:
        raise
    except Exception as error:  # of a driver, or of the user's function
        raise StepgraphError(
            f"The store {_without_password(address)!r} of {SETTING} cannot be opened: {type(error).__name__}: "
            f"{first_line(error)}.",
            setting=SETTING,
        ) from error
    raise StepgraphError(f"{SETTING} is {FORMS}; got {_without_password(address)!r}.", setting=SETTING)


class ThreadedSqliteStore(SqliteStore):  # type: ignore[misc]  # mypy does not look into langgraph
    """A `SqliteStore` whose async methods run on threads, so that nodes of both kinds use the same one."""

    async def abatch(self, ops: Iterable[Any]) -> list[Any]:
        """Execute operations together, off the event loop."""
        results: list[Any] = await asyncio.to_thread(self.batch, list(ops))
        return results


class _WritingConnection(sqlite3.Connection):
    """A connection whose transactions lock the database for writing when they begin.

    A transaction that reads first and then writes cannot wait for another writer: SQLite refuses it at once.
    """

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        return super().execute("BEGIN IMMEDIATE" if sql == "BEGIN" else sql, *parameters)


def _sqlite_store(path: Path) -> SqliteStore:
    """Return the store in a SQLite file, which several processes may use at once. Makes the file if there is none."""
    path = path.absolute()
    if not path.exists():
        _make_database(path)
    store = ThreadedSqliteStore(_connect(path))
    store.setup()
    return store


def _make_database(path: Path) -> None:
    """Make a database with all tables, at once: a process that is killed meanwhile leaves none with some of them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)  # of a process of the same id that was killed
    draft.touch(mode=0o600)
    try:
        connection = _connect(draft)
        connection.execute("PRAGMA journal_mode=WAL")  # the file keeps it
        ThreadedSqliteStore(connection).setup()
        connection.close()
        with suppress(FileExistsError):  # another process was faster
            os.link(draft, path)
    finally:
        draft.unlink()


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, factory=_WritingConnection
    )
    connection.execute("PRAGMA synchronous=FULL")  # what a put has acknowledged outlives the machine, too
    return connection


def _postgres_store(address: str) -> Any:
    """Return the store in a PostgreSQL database. Makes its tables if there are none."""
    try:
        postgres = importlib.import_module("langgraph.store.postgres")
    except ImportError as error:
        raise StepgraphError(
            f"{SETTING} names a PostgreSQL database, and {error.name or error} is not installed: "
            "pip install langgraph-checkpoint-postgres 'psycopg[binary,pool]'.",
            setting=SETTING,
        ) from error
    pool = {"min_size": 1, "max_size": CONNECTIONS}
    store = _until_exit.enter_context(postgres.PostgresStore.from_conn_string(address, pool_config=pool))
    store.setup()
    return store


def _store_of_user(module: str, name: str) -> Any:
    """Return a store that the user's code makes: a function that returns it, or a context manager; or the store."""
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)  # a console script does not have the working directory on its path
    found = getattr(importlib.import_module(module), name)
    store = found if isinstance(found, BaseStore) or not callable(found) else found()
    if not isinstance(store, BaseStore) and hasattr(store, "__enter__"):
        store = _until_exit.enter_context(store)
    if not isinstance(store, BaseStore):
        raise StepgraphError(
            f"{SETTING}={module}:{name} gives {type_name(store)}. It must be a BaseStore of LangGraph's, or a function "
            "without parameters that returns one or a context manager of one, and is not async.",
            setting=SETTING,
        )
    return store


def _without_password(address: str) -> str:
    head, at, tail = address.rpartition("@")
    return f"{head.partition('://')[0]}://...@{tail}" if at else address
