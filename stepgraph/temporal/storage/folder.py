"""A folder that holds payloads as files: the embedded server's folder, or one that every machine mounts."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from stepgraph.temporal.daemon_executor import off_loop
from stepgraph.temporal.storage.object_store import (
    ObjectNotFoundError,
    ObjectStore,
    ObjectStoreError,
    UnreachableError,
)

T = TypeVar("T")

MARKER_FILE = ".stepgraph-storage"
"""A file in the root folder. Without it, the folder was never used, or the real one is not mounted there."""

MAX_NAME_CHARACTERS = 200
"""Length that every file system accepts for a file name. A longer part of a key is replaced by its hash."""

TRANSIENT_ERRNOS = (errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.EIO, errno.ESTALE, errno.ETIMEDOUT)


class Folder(ObjectStore):
    """Stores each object as a file, with the parts of the key as folders.

    A file is visible only when it is complete, also while several processes write the same one. The folder has no
    buckets, so the methods ignore ``bucket``.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.address = root.as_uri()

    async def put_object(self, *, bucket: str, key: str, data: bytes) -> None:
        """Write an object's file."""
        await self._run(lambda: self._write(key, data))

    async def object_exists(self, *, bucket: str, key: str) -> bool:
        """Return whether an object's file exists."""
        return await self._run(self._path(key).is_file)

    async def get_object(self, *, bucket: str, key: str) -> bytes:
        """Read an object's file. `ObjectNotFoundError` if there is none."""
        return await self._run(lambda: self._read(key))

    async def check(self) -> None:
        """Create the folder if it does not exist, and a temporary file in it."""

        def create_file() -> None:
            self._create_root()
            tempfile.TemporaryFile(dir=self.root).close()

        await self._run(create_file)

    async def _run(self, function: Callable[[], T]) -> T:
        """Call a blocking function on another thread, and translate its `OSError`."""
        try:
            return await off_loop(function)
        except OSError as error:
            kind = UnreachableError if error.errno in TRANSIENT_ERRNOS else ObjectStoreError
            raise kind(f"{error.strerror or error} ({error.filename or self.root})") from error

    def _create_root(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / MARKER_FILE).touch()

    def _write(self, key: str, data: bytes) -> None:
        path = self._path(key)
        if not path.parent.is_dir():
            self._create_root()
            path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary_path = tempfile.mkstemp(dir=path.parent, prefix=".")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary_path, path)
        except BaseException:
            Path(temporary_path).unlink(missing_ok=True)
            raise

    def _read(self, key: str) -> bytes:
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError:
            if not (self.root / MARKER_FILE).exists():
                raise ObjectStoreError(
                    f"nothing was ever stored in {self.root}; is it the right folder, and mounted?"
                ) from None
            raise ObjectNotFoundError(f"there is no file {self._path(key)}") from None

    def _path(self, key: str) -> Path:
        return self.root.joinpath(*(_file_name(part) for part in key.split("/")))


def _file_name(part: str) -> str:
    """Return a file name for a part of a key.

    A thread id may be any text, and the SDK's driver leaves dots as they are: ``.`` and ``..`` must not be taken for
    folders.
    """
    if len(part) > MAX_NAME_CHARACTERS:
        return f"{part[: MAX_NAME_CHARACTERS - 65]}.{hashlib.sha256(part.encode()).hexdigest()}"
    return part.replace(".", "%2E") if not part.strip(".") else part
