"""The keeper: a process that starts the embedded server, restarts it if it dies, and stops it when nobody uses it.

It runs as ``python -I _server_keeper.py FOLDER BINARY NAMESPACE IDLE_SECONDS``. It starts each server on the ports of
the server before, if they are free, so that its workers stay connected. It stops the server after IDLE_SECONDS without
a user, on SIGTERM, and when the folder is deleted. A server outlives a killed keeper; the next keeper adopts it.

``server.json`` in the folder has the server's address and process id. Three lock files beside it coordinate the
processes. The operating system releases a lock when its last holder ends, also by SIGKILL:

* ``users.lock``: shared; held by every process that uses the server;
* ``keeper.lock``: exclusive; held by the one keeper;
* ``server.lock``: exclusive; held by the server process, which inherits the open file. While it is held,
  ``server.json`` is right: the keeper writes the address before it takes the lock, and the process id, which is null
  until then, once the server is started. That process is alive and is the server. While the lock is free,
  ``server.json`` may be out of date.

The locks are made with `fcntl`, because the package ``filelock`` has shared locks only through SQLite, and releases a
lock explicitly, which would also release it for a server that inherited it.

This module imports the standard library alone and nothing from the working directory, so that it starts fast and cannot
be broken by a user's ``json.py``. It knows nothing of graphs or of Temporal's API.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import IO, Any

POLL_SECONDS = 0.1
"""How often a keeper checks its server, the users and the folder."""

MAX_QUICK_DEATHS = 3
QUICK_DEATH_SECONDS = 5.0
"""A keeper gives up when its server has died MAX_QUICK_DEATHS times running, each time within these seconds."""

END_SECONDS = 15.0
"""How long a server may take to end on SIGTERM before it is killed."""

TUNING = (
    *("--dynamic-config-value", "history.transferProcessorMaxPollRPS=2000"),
    *("--dynamic-config-value", "history.maximumBufferedEventsBatch=1000"),
    *("--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=1"),
)
"""Options of ``temporal server start-dev`` that make it two to three times as fast.

By default the server polls a shard's transfer queue 20 times a second, which limits a thread to 20 workflow tasks a
second; it fails a workflow task during which more than 100 events come, of activities that end say, and has the run
replayed; and SQLite syncs the disk at each commit. With a write-ahead log and ``synchronous=1`` (NORMAL) a crash of the
server's process loses nothing; a crash of the machine may lose the last moments
(https://www.sqlite.org/pragma.html#pragma_synchronous).
"""

NEEDED_BYTES = 128 * 1024
"""Room without which a disk counts as full. What a server fails to write has taken most of the rest by then."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""The errors of a full disk or a used-up quota. `stepgraph.hosting.disk_guard` has the same ones."""

LOG_LIMIT = 1_000_000
"""Bytes of ``server.log`` above which a new keeper empties it."""


class ServerProcess:
    """A running server, started by this keeper or adopted from an earlier one.

    Args:
        pid: its process id.
        lock: ``server.lock``, opened anew: not the open file that the server inherited.
        child: the process, if this keeper started it.
    """

    def __init__(self, pid: int, lock: IO[bytes], child: subprocess.Popen[bytes] | None = None) -> None:
        self.pid = pid
        self._lock = lock
        self._child = child

    def is_alive(self) -> bool:
        """Return whether the server still holds its lock."""
        if is_held(self._lock):
            return True
        if self._child is not None:
            self._child.wait()  # the lock is released as the process exits; this collects its exit status
        return False

    def end(self) -> None:
        """End the server with SIGTERM, or SIGKILL if that takes too long, and waits until it has ended."""
        for stop_signal in (signal.SIGTERM, signal.SIGKILL):
            if not self.is_alive():
                return
            with suppress(ProcessLookupError):
                os.kill(self.pid, stop_signal)
            deadline = time.monotonic() + END_SECONDS
            while self.is_alive() and time.monotonic() < deadline:
                time.sleep(0.05)


class Keeper:
    """Keeps one server running for one folder.

    Args:
        folder: where the server's database, log and locks are.
        binary: the Temporal CLI.
        namespace: a namespace that the server has from the start.
        idle_seconds: how long the server runs on without a user.
    """

    def __init__(self, folder: Path, binary: str, namespace: str, idle_seconds: float) -> None:
        self.folder = folder
        self.binary = binary
        self.namespace = namespace
        self.idle_seconds = idle_seconds
        self._endpoints: dict[str, str] | None = None
        """``address`` and ``web_ui`` of the server, the same for each restart."""
        self._stopping = False

    def run(self) -> int:
        """Keep the server running until nobody uses it. Returns the exit status: 1 if the server cannot be started."""
        keeper_lock = take_lock(self.folder / "keeper.lock")
        if keeper_lock is None:
            return 0  # another keeper is running
        with keeper_lock:
            quick_deaths = 0
            while quick_deaths < MAX_QUICK_DEATHS:
                if not self._wait_for_room(keeper_lock):
                    return 0
                started_at = time.monotonic()
                if self._watch(self._adopt() or self._start(), keeper_lock):
                    return 0
                quick_deaths = quick_deaths + 1 if time.monotonic() - started_at < QUICK_DEATH_SECONDS else 0
        return 1

    def stop(self, _signal: int, _frame: FrameType | None) -> None:
        """Handle SIGTERM: ends the server, then the keeper."""
        self._stopping = True

    def _watch(self, server: ServerProcess, keeper_lock: IO[bytes]) -> bool:
        """Watch a server until its end. Returns whether the keeper ended it; False means that it died."""
        idle_since: float | None = None
        try:
            while server.is_alive():
                if self._stopping or not self._folder_exists(keeper_lock):
                    return True
                users_lock = take_lock(self.folder / "users.lock", attempts=1)
                if users_lock is None:
                    idle_since = None
                else:
                    with users_lock:  # a new user waits for this lock, so none can come while the server ends
                        idle_since = idle_since or time.monotonic()
                        if time.monotonic() - idle_since >= self.idle_seconds:
                            server.end()
                            return True
                time.sleep(POLL_SECONDS)
            return self._stopping
        finally:
            server.end()

    def _wait_for_room(self, keeper_lock: IO[bytes]) -> bool:
        """Wait until the disk has room for a server, which may have died of that; False if the keeper has to end."""
        while not has_room(self.folder):
            users_lock = take_lock(self.folder / "users.lock", attempts=1)
            if users_lock is not None:
                users_lock.close()
            if self._stopping or users_lock is not None or not self._folder_exists(keeper_lock):
                return False
            time.sleep(POLL_SECONDS)
        return True

    def _folder_exists(self, keeper_lock: IO[bytes]) -> bool:
        """Return whether the folder is still the one in which this keeper took its lock.

        A server whose folder was deleted must not run on: its database cannot be reached any more.
        """
        try:
            return os.path.samestat(os.fstat(keeper_lock.fileno()), os.stat(self.folder / "keeper.lock"))
        except OSError:
            return False

    def _adopt(self) -> ServerProcess | None:
        """Take over the server that a killed keeper left running; None if there is none."""
        lock = open(self.folder / "server.lock", "ab")  # noqa: SIM115 (open for as long as the server is watched)
        if not is_held(lock):
            lock.close()
            return None
        info = read_server_info(self.folder)
        if info is None or not isinstance(info.get("server"), int):
            sys.exit(
                f"A server holds {lock.name}, but server.json lacks its process id. End that server, then try again."
            )
        self._endpoints = {"address": info["address"], "web_ui": info["web_ui"]}
        write_server_info(self.folder, {**info, "keeper": os.getpid()})
        return ServerProcess(info["server"], lock)

    def _start(self) -> ServerProcess:
        if self._endpoints is None:
            port, ui_port = free_ports(read_server_info(self.folder) or {})
            self._endpoints = {"address": f"127.0.0.1:{port}", "web_ui": f"http://127.0.0.1:{ui_port}"}
        info = {**self._endpoints, "server": None, "keeper": os.getpid()}
        write_server_info(self.folder, info)
        path = self.folder / "server.lock"
        inherited_lock = take_lock(path)
        if inherited_lock is None:
            sys.exit(f"{path} is held by another process.")
        with inherited_lock:
            child = subprocess.Popen(
                [
                    *(self.binary, "server", "start-dev", "--db-filename", str(self.folder / "temporal.db")),
                    *("--ip", "127.0.0.1", "--port", port_of(self._endpoints["address"])),
                    *("--ui-port", port_of(self._endpoints["web_ui"])),
                    *("--namespace", self.namespace, "--log-level", "error"),
                    *TUNING,
                ],
                stdin=subprocess.DEVNULL,
                pass_fds=[inherited_lock.fileno()],
            )
        write_server_info(self.folder, {**info, "server": child.pid})
        return ServerProcess(child.pid, open(path, "ab"), child)


def has_room(folder: Path) -> bool:
    """Return whether a file of `NEEDED_BYTES` can be written to a folder. A quota counts, other errors do not."""
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, NEEDED_BYTES)
            else:  # macOS
                file.write(bytes(NEEDED_BYTES))
    except OSError as error:
        return error.errno not in FULL
    return True


def take_lock(path: Path, *, attempts: int = 5) -> IO[bytes] | None:
    """Lock a file exclusively, without waiting for its holder.

    Args:
        path: the file; made if need be.
        attempts: how often to try, 20 ms apart. `is_locked` holds a lock for a moment while it looks.

    Returns:
        The open file, which is locked until it is closed; None if another process holds the lock.
    """
    file = open_private(path)
    for attempt in range(attempts):
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        if attempt + 1 < attempts:
            time.sleep(0.02)
    file.close()
    return None


def open_private(path: Path) -> IO[bytes]:
    """Open a file for appending; if it has to be made, for this user alone."""
    return open(path, "ab", opener=lambda name, flags: os.open(name, flags, 0o600))


def is_locked(path: Path) -> bool:
    """Return whether any process holds the exclusive lock on a file."""
    with open_private(path) as file:
        return is_held(file)


def is_held(file: IO[bytes]) -> bool:
    """Return whether the exclusive lock on a file is held through another open file than this one."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(file, fcntl.LOCK_UN)
    return False


def read_server_info(folder: Path) -> dict[str, Any] | None:
    """Read ``server.json``: ``address``, ``web_ui``, and the process ids ``server`` and ``keeper``.

    Returns:
        None if there is no such file or it is not a JSON object.
    """
    try:
        info = json.loads((folder / "server.json").read_text())
    except (OSError, ValueError):
        return None
    return info if isinstance(info, dict) else None


def write_server_info(folder: Path, info: dict[str, Any]) -> None:
    """Replace ``server.json`` atomically."""
    draft = folder / "server.json.new"
    draft.write_text(json.dumps(info))
    draft.replace(folder / "server.json")


def free_ports(previous: dict[str, Any]) -> tuple[int, int]:
    """Return two ports of 127.0.0.1 on which nothing listens: those of the previous server, where they are free."""
    with bound_socket(previous.get("address")) as server, bound_socket(previous.get("web_ui")) as web_ui:
        return server.getsockname()[1], web_ui.getsockname()[1]


def bound_socket(address: object) -> socket.socket:
    """Return a socket that is bound to the port of an address, or to any free port if that one is taken."""
    port = port_of(str(address or ""))
    for wanted in (int(port) if port.isdecimal() else 0, 0):
        found = socket.socket()
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind(("127.0.0.1", wanted))
        except (OSError, OverflowError):
            found.close()
            continue
        return found
    raise OSError("no free port on 127.0.0.1")


def port_of(address: str) -> str:
    """Return what follows the last colon of an address."""
    return address.rpartition(":")[2]


def main() -> int:
    """Run a keeper with the arguments of the command line."""
    folder, binary, namespace, idle_seconds = sys.argv[1:5]
    os.umask(0o077)  # the server inherits it: its database is for this user alone
    log = Path(folder) / "server.log"
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        os.truncate(log, 0)
    keeper = Keeper(Path(folder), binary, namespace, float(idle_seconds))
    signal.signal(signal.SIGTERM, keeper.stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return keeper.run()
    except OSError as error:
        print(f"The embedded server cannot be kept running: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
