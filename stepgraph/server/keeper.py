"""The process that keeps the embedded server: ``python -m stepgraph.server.keeper FOLDER BINARY NAMESPACE``.

It starts the server on the ports it had before, if they are free, starts it again should it die, and ends it once
nobody has used it for `STEPGRAPH_EMBEDDED_LINGER` seconds. Uses the standard library alone, so that it starts fast and
stays small.
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
from typing import IO

DEFAULT_LINGER = 600.0
LOOK_EVERY = 0.5
MAX_QUICK_DEATHS = 3


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
        with open(self.folder / "keeper.lock", "ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return 0  # another one keeps it
            quick_deaths = 0
            while not self.stopping:
                started = time.monotonic()
                if self._keep_one(lock):
                    return 0
                quick_deaths = quick_deaths + 1 if time.monotonic() - started < 5 else 0
                if quick_deaths >= MAX_QUICK_DEATHS:
                    return 1
        return 0

    def stop(self, _signal: int, _frame: FrameType | None) -> None:
        """For SIGTERM: ends the server, then the keeper."""
        self.stopping = True

    def _keep_one(self, lock: IO[bytes]) -> bool:
        """One life of the server; whether it was ended, rather than died."""
        port, ui_port = self._ports()
        server = subprocess.Popen(
            [
                *(self.binary, "server", "start-dev", "--db-filename", str(self.folder / "temporal.db")),
                *("--ip", "127.0.0.1", "--port", str(port), "--ui-port", str(ui_port)),
                *("--namespace", self.namespace, "--log-level", "error"),
            ],
            stdin=subprocess.DEVNULL,
            pass_fds=[lock.fileno()],  # should the keeper be killed, its server still counts as kept
        )
        self._write_address(port, ui_port, server.pid)
        idle_since: float | None = None
        while server.poll() is None:
            users = self._lock_out_users()
            if users is None:
                idle_since = None
            else:
                now = time.monotonic()
                idle_since = now if idle_since is None else idle_since
                if now - idle_since >= self.linger or self.stopping:
                    _end(server)
                    users.close()
                    return True
                users.close()
            if self.stopping:
                _end(server)
                return True
            time.sleep(LOOK_EVERY)
        return False

    def _lock_out_users(self) -> IO[bytes] | None:
        """A lock that keeps new users waiting; `None` while somebody uses the server."""
        users = open(self.folder / "users.lock", "ab")  # noqa: SIM115 (the caller closes it)
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            users.close()
            return None
        return users

    def _ports(self) -> tuple[int, int]:
        try:
            before = json.loads((self.folder / "server.json").read_text())
            ports = [int(before[key].rpartition(":")[2]) for key in ("address", "web_ui")]
        except (OSError, ValueError, KeyError):
            ports = [0, 0]
        return _free_port(ports[0]), _free_port(ports[1])

    def _write_address(self, port: int, ui_port: int, server: int) -> None:
        told = {
            "address": f"127.0.0.1:{port}",
            "web_ui": f"http://127.0.0.1:{ui_port}",
            "server": server,
            "keeper": os.getpid(),
        }
        draft = self.folder / "server.json.new"
        draft.write_text(json.dumps(told))
        draft.replace(self.folder / "server.json")


def _free_port(wanted: int) -> int:
    """The port wanted if it is free, otherwise one that is."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free port on 127.0.0.1")


def _end(server: subprocess.Popen[bytes]) -> None:
    server.send_signal(signal.SIGTERM)
    try:
        server.wait(timeout=15)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def main() -> int:
    """The command."""
    folder, binary, namespace = sys.argv[1:4]
    linger = float(os.environ.get("STEPGRAPH_EMBEDDED_LINGER") or DEFAULT_LINGER)
    keeper = Keeper(Path(folder), binary, namespace, linger)
    signal.signal(signal.SIGTERM, keeper.stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return keeper.run()


if __name__ == "__main__":
    sys.exit(main())
