"""What a thread takes in a SQLite database."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


def bytes_of(database: Path, tables: dict[str, str], thread: str) -> int:
    """Bytes of everything in the rows of a thread.

    Args:
        database: the file.
        tables: each table with the column that names the thread.
        thread: its id.
    """
    total = 0
    with closing(sqlite3.connect(database)) as connection:
        for table, key in tables.items():
            columns = [row[1] for row in connection.execute(f"pragma table_info({table})")]
            sizes = " + ".join(f"ifnull(length(cast({column} as blob)), 0)" for column in columns)
            (found,) = connection.execute(f"select sum({sizes}) from {table} where {key} = ?", [thread]).fetchone()
            total += found or 0
    return total
