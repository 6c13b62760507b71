"""A folder that holds payloads as files: the embedded server's, or one that all machines of a deployment mount."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from stepgraph.temporal.daemon_executor import off_loop
from stepgraph.temporal.storage.place import AbsentError, Place, PlaceError, UnreachableError

T = TypeVar("T")

MARK = ".stepgraph-storage"
"""A file that tells the folder from one that is empty because nothing is mounted there."""

PART_MAX = 200
"""Characters of a part of a key that a file system takes for certain; a longer one goes by its hash."""

PASSING = (errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.EIO, errno.ESTALE, errno.ETIMEDOUT)


class Folder(Place):
    """A file for each payload. Files appear whole or not at all, whoever writes them at the same time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.address = root.as_uri()

    async def put_object(self, *, bucket: str, key: str, data: bytes) -> None:
        """Writes a file."""
        await self._do(lambda: self._write(key, data))

    async def object_exists(self, *, bucket: str, key: str) -> bool:
        """Whether the file is there."""
        return await self._do(self._path(key).is_file)

    async def get_object(self, *, bucket: str, key: str) -> bytes:
        """Reads a file; `AbsentError` if there is none."""
        return await self._do(lambda: self._read(key))

    async def check(self) -> None:
        """Writes a small file, and takes it away again."""

        def written() -> None:
            self._make()
            tempfile.TemporaryFile(dir=self.root).close()

        await self._do(written)

    async def _do(self, work: Callable[[], T]) -> T:
        try:
            return await off_loop(work)
        except OSError as error:
            kind = UnreachableError if error.errno in PASSING else PlaceError
            raise kind(f"{error.strerror or error} ({error.filename or self.root})") from error

    def _make(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / MARK).touch()

    def _write(self, key: str, data: bytes) -> None:
        path = self._path(key)
        if not path.parent.is_dir():
            self._make()
            path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise

    def _read(self, key: str) -> bytes:
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError:
            if not (self.root / MARK).exists():
                raise PlaceError(
                    f"nothing was ever stored in {self.root}; is it the right folder, and mounted?"
                ) from None
            raise AbsentError(f"there is no file {self._path(key)}") from None

    def _path(self, key: str) -> Path:
        return self.root.joinpath(*(_file_name(part) for part in key.split("/")))


def _file_name(part: str) -> str:
    """A part of a key, as a name that means nothing else to a file system: thread ids may be any text."""
    if len(part) > PART_MAX:
        return f"{part[: PART_MAX - 65]}.{hashlib.sha256(part.encode()).hexdigest()}"
    return part.replace(".", "%2E") if not part.strip(".") else part
