"""`Peer`: what a benchmark asks of a way to run durable steps."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from benchmarks.jobs import Job


@dataclass(frozen=True)
class Stored:
    """What a thread left on disk."""

    events: int | None
    """Of Temporal's history; `None` where there is none."""
    bytes: int
    outside: int = 0
    """Bytes in external storage."""


class Peer:
    """One way to run the jobs, set up in a process of its own.

    Args:
        address: the Temporal server's.
        folder: where it may keep a database.
    """

    versions: ClassVar[tuple[str, ...]] = ()
    """The packages whose versions belong into a report."""

    def __init__(self, address: str, folder: Path) -> None:
        self.address = address
        self.folder = folder

    def serving(self, job: Job) -> AbstractAsyncContextManager[None]:
        """Everything up that the job's threads need. `Unable` if the peer cannot do it."""
        raise NotImplementedError

    async def run(self, job: Job, thread: str) -> int:
        """Runs a thread from its start to its end; the steps it counted."""
        raise NotImplementedError

    async def stored(self, thread: str) -> Stored:
        """What a finished thread takes."""
        raise NotImplementedError


class Unable(Exception):
    """A peer cannot do this; says why in a few words."""
