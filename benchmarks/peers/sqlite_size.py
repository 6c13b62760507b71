"""Measures what a thread takes in a SQLite database."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


def row_bytes(database: Path, tables: dict[str, str], thread: str) -> int:
    """Returns the bytes of all values in a thread's rows. Indexes and free pages do not count.

    Args:
        database: the database file.
        tables: for each table the column that has the thread id.
        thread: the thread id.
    """
    total = 0
    with closing(sqlite3.connect(database)) as connection:
        for table, key in tables.items():
            columns = [row[1] for row in connection.execute(f"pragma table_info({table})")]
            sizes = " + ".join(f"ifnull(length(cast({column} as blob)), 0)" for column in columns)
            (size,) = connection.execute(f"select sum({sizes}) from {table} where {key} = ?", [thread]).fetchone()
            total += size or 0
    return total
