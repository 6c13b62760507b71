"""`Peer`: the interface that a way to run durable steps implements to be measured."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from benchmarks.jobs import Job


class PeerError(Exception):
    """A peer cannot do what a benchmark case needs, or failed; the message says why in a few words."""


@dataclass(frozen=True)
class StorageUse:
    """What a finished thread takes on disk."""

    events: int | None
    """Events in Temporal's histories; `None` for a peer that does not use Temporal."""
    bytes: int
    """Bytes of the histories, or of the rows in a database."""
    external_bytes: int = 0
    """Bytes in external storage."""


class Peer:
    """One way to run the jobs, in a process of its own.

    Args:
        address: the address of the Temporal server.
        folder: a folder for the peer's files, such as a database.
    """

    packages: ClassVar[tuple[str, ...]] = ()
    """The packages whose versions the report shows."""

    def __init__(self, address: str, folder: Path) -> None:
        self.address = address
        self.folder = folder

    def serving(self, job: Job) -> AbstractAsyncContextManager[None]:
        """Keeps what the job's threads need, such as a worker, running while the context is open.

        Raises:
            PeerError: the peer cannot do this job.
        """
        raise NotImplementedError

    async def run(self, job: Job, thread: str) -> int:
        """Runs a thread from start to end, and returns the steps that it counted."""
        raise NotImplementedError

    async def storage_use(self, thread: str) -> StorageUse:
        """Returns what a finished thread takes on disk."""
        raise NotImplementedError
