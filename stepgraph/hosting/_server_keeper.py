"""The process that keeps the embedded server: ``python -I keeper.py FOLDER BINARY NAMESPACE LINGER``.

It starts the server on the ports it had before, if they are free, starts it again should it die, and ends it once
nobody has used it for LINGER seconds. A keeper that was killed leaves its server running: the next one takes it over.

Three files in the folder are locks, which the operating system lets go of however their holder ends:

* ``users.lock``: shared by everybody who uses the server;
* ``keeper.lock``: of the one keeper;
* ``server.lock``: of the server itself, and taken only once ``server.json`` says where it is. So while it is held, that
  file can be trusted; when it is not, whatever answers at the address is something else.

Uses the standard library alone, and nothing of the folder it is started in, so that it starts fast and stays small.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import IO, Any, Protocol

LOOK_EVERY = 0.25
MAX_QUICK_DEATHS = 3
QUICK = 5.0
END_SECONDS = 15.0
TUNING = (
    *("--dynamic-config-value", "history.transferProcessorMaxPollRPS=2000"),
    *("--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=1"),
)
"""Options of ``temporal server start-dev`` that make it two to three times as fast.

By default the server polls a shard's transfer queue 20 times a second, which limits a thread to 20 workflow tasks a
second, and SQLite syncs the disk at each commit. With a write-ahead log and ``synchronous=1`` (NORMAL) a crash of the
server's process loses nothing; a crash of the machine may lose the last moments
(https://www.sqlite.org/pragma.html#pragma_synchronous).
"""

LOG_LIMIT = 1_000_000
"""Bytes of ``server.log`` beyond which a new keeper begins it anew."""


class Server(Protocol):
    """A running server, whoever started it."""

    def is_alive(self) -> bool:
        """Whether it runs, some moments from now."""

    def end(self) -> None:
        """Ends it, and waits until it has ended."""


class Keeper:
    """Keeps one server for one folder."""

    def __init__(self, folder: Path, binary: str, namespace: str, linger: float) -> None:
        self.folder = folder
        self.binary = binary
        self.namespace = namespace
        self.linger = linger
        self.stopping = False

    def run(self) -> int:
        """Until nobody uses the server any more. The exit status: 1 if the server cannot be started."""
        lock = take_lock(self.folder / "keeper.lock")
        if lock is None:
            return 0  # another one keeps it
        with lock:
            quick_deaths = 0
            while quick_deaths < MAX_QUICK_DEATHS:
                begun = time.monotonic()
                if self._watch(self._adopted() or self._started(), lock):
                    return 0
                quick_deaths = quick_deaths + 1 if time.monotonic() - begun < QUICK else 0
        return 1

    def stop(self, _signal: int, _frame: FrameType | None) -> None:
        """For SIGTERM: ends the server, then the keeper."""
        self.stopping = True

    def _watch(self, server: Server, lock: IO[bytes]) -> bool:
        """One life of the server; whether it was ended, rather than died."""
        try:
            idle_since: float | None = None
            while server.is_alive():
                if self.stopping or not self._is_ours(lock):
                    return True
                users = take_lock(self.folder / "users.lock", attempts=1)  # keeps new users waiting
                if users is None:
                    idle_since = None
                    continue
                with users:
                    idle_since = idle_since or time.monotonic()
                    if time.monotonic() - idle_since >= self.linger:
                        server.end()
                        return True
            return self.stopping
        finally:
            server.end()

    def _is_ours(self, lock: IO[bytes]) -> bool:
        """Whether the folder is still there: a server whose database was deleted must not go on unseen."""
        try:
            return os.path.samestat(os.fstat(lock.fileno()), os.stat(self.folder / "keeper.lock"))
        except OSError:
            return False

    def _adopted(self) -> Server | None:
        """The server that a killed keeper left behind."""
        if not is_locked(self.folder / "server.lock"):
            return None
        told = read_address(self.folder) or {}
        pid = told.get("server")
        database = self.folder / "temporal.db"
        if not isinstance(pid, int) or not runs_on(pid, database):
            sys.exit(f"A server without a keeper holds {self.folder / 'server.lock'}. End it, then try again.")
        write_address(self.folder, {**told, "keeper": os.getpid()})
        return _Adopted(pid, database)

    def _started(self) -> Server:
        port, ui_port = self._ports()
        told = {
            "address": f"127.0.0.1:{port}",
            "web_ui": f"http://127.0.0.1:{ui_port}",
            "server": None,
            "keeper": os.getpid(),
        }
        write_address(self.folder, told)
        lock = take_lock(self.folder / "server.lock")
        if lock is None:
            sys.exit(f"{self.folder / 'server.lock'} is held by another process.")
        with lock:
            server = subprocess.Popen(
                [
                    *(self.binary, "server", "start-dev", "--db-filename", str(self.folder / "temporal.db")),
                    *("--ip", "127.0.0.1", "--port", str(port), "--ui-port", str(ui_port)),
                    *("--namespace", self.namespace, "--log-level", "error"),
                    *TUNING,
                ],
                stdin=subprocess.DEVNULL,
                pass_fds=[lock.fileno()],
            )
        write_address(self.folder, {**told, "server": server.pid})
        return _Started(server)

    def _ports(self) -> list[int]:
        """Those of the server before, where they are free: who is connected to it then stays connected."""
        told = read_address(self.folder) or {}
        probes = []
        for key in ("address", "web_ui"):
            _, _, before = str(told.get(key, "")).rpartition(":")
            probes.append(_bound(int(before) if before.isdecimal() else 0))
        ports = [probe.getsockname()[1] for probe in probes]
        for probe in probes:
            probe.close()
        return ports


class _Started:
    """A server that this keeper started."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def is_alive(self) -> bool:
        try:
            self.process.wait(LOOK_EVERY)
        except subprocess.TimeoutExpired:
            return True
        return False

    def end(self) -> None:
        if self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class _Adopted:
    """A server that outlived its keeper."""

    def __init__(self, pid: int, database: Path) -> None:
        self.pid = pid
        self.database = database

    def is_alive(self) -> bool:
        time.sleep(LOOK_EVERY)
        return runs_on(self.pid, self.database)

    def end(self) -> None:
        for how in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + END_SECONDS
            if runs_on(self.pid, self.database):
                os.kill(self.pid, how)
            while runs_on(self.pid, self.database) and time.monotonic() < deadline:
                time.sleep(0.05)


def take_lock(path: Path, *, attempts: int = 5) -> IO[bytes] | None:
    """The file, locked until it is closed; `None` if somebody else holds it, rather than just looks at it."""
    file = open(path, "ab")  # noqa: SIM115 (the caller closes it)
    for attempt in range(attempts):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if attempt + 1 < attempts:
                time.sleep(0.02)
        else:
            return file
    file.close()
    return None


def is_locked(path: Path) -> bool:
    """Whether somebody holds the lock."""
    with open(path, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def read_address(folder: Path) -> dict[str, Any] | None:
    """What a keeper wrote of its server: ``address``, ``web_ui``, and the process ids ``server`` and ``keeper``."""
    try:
        found = json.loads((folder / "server.json").read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def write_address(folder: Path, told: dict[str, Any]) -> None:
    """Replaces ``server.json`` in one go."""
    draft = folder / "server.json.new"
    draft.write_text(json.dumps(told))
    draft.replace(folder / "server.json")


def runs_on(pid: int, database: Path) -> bool:
    """Whether a process is a server on this database: process ids are used again."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        asked = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
        command = asked.stdout
    return "start-dev" in command and str(database) in command


def _bound(wanted: int) -> socket.socket:
    """A socket on the port wanted if it is free, otherwise on one that is."""
    for port in (wanted, 0):
        probe = socket.socket()
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            probe.close()
            continue
        return probe
    raise OSError("no free port on 127.0.0.1")


def main() -> int:
    """The command."""
    folder, binary, namespace, linger = sys.argv[1:5]
    log = Path(folder) / "server.log"
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        os.truncate(log, 0)
    keeper = Keeper(Path(folder), binary, namespace, float(linger))
    signal.signal(signal.SIGTERM, keeper.stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return keeper.run()
    except OSError as error:
        print(f"The server could not be kept: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
