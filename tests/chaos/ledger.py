"""The ledger: what nodes really did, noted outside of Temporal, in a file that outlives every process.

A note is a line: what, the idempotency key, the node, the process id and the time of the machine's monotonic clock,
which all processes share.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

LEDGER = "CHAOS_LEDGER"
"""The environment variable with the path of the file."""

What = Literal["begin", "end", "raise", "kill-worker", "kill-server"]


@dataclass(frozen=True)
class Note:
    what: What
    key: str
    """The idempotency key: ``thread/checkpoint/task``. Of a kill: empty."""
    node: str
    pid: int
    time: float

    @property
    def thread(self) -> str:
        return self.key.partition("/")[0]


def note(what: What, key: str = "-", node: str = "-", pid: int | None = None) -> None:
    """Add a note. The system appends one write of this size as a whole, whoever else writes."""
    line = f"{what} {key} {node} {os.getpid() if pid is None else pid} {time.monotonic():.4f}\n"
    with open(os.environ[LEDGER], "ab", buffering=0) as file:
        file.write(line.encode())


def notes(path: Path) -> list[Note]:
    """Return all notes in the order of their times."""
    lines = path.read_text().splitlines() if path.exists() else []
    parts = [line.split() for line in lines]
    found = [Note(what, key, node, int(pid), float(at)) for what, key, node, pid, at in parts]  # type: ignore[arg-type]
    return sorted(found, key=lambda each: each.time)
