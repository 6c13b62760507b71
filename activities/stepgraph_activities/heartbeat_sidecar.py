"""Tells the sidecar process of the attempts at activities that run in this process.

The sidecar (`stepgraph_activities.sidecar_process`) reports them as failed the moment this process dies, and repeats
their heartbeats while this process cannot send any. It is started with the first attempt. Where it cannot be started,
the heartbeat timeout alone tells of a dead worker.
"""

from __future__ import annotations

import atexit
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.service import ConnectConfig

from stepgraph.temporal.logs import get_logger

MAX_DETAILS_BYTES = 64_000
"""The size of a heartbeat's details above which the sidecar is not told them. It then does not repeat the heartbeat,
because one without details erases those that the server has."""

MAX_UNSENT_BYTES = 10_000_000
"""How much may wait for a sidecar that does not read, before it is given up."""

CLOSE_SECONDS = 1.0
"""How long a process that ends waits for its sidecar: milliseconds, unless the sidecar has attempts to report."""

log = get_logger("sidecar")


class StandIn:
    """The sidecar's knowledge of one attempt."""

    def __init__(self, sidecar: _Sidecar, token: bytes) -> None:
        self._sidecar = sidecar
        self._token = token

    def beat(self, details: Sequence[Payload]) -> None:
        """Tell that this process has sent a heartbeat with these details."""
        serialized = [payload.SerializeToString() for payload in details]
        fits = sum(map(len, serialized)) <= MAX_DETAILS_BYTES
        self._sidecar.send("beat", self._token, serialized if fits else None)


@contextmanager
def standing_in(client: Client, info: activity.Info, timeout: timedelta) -> Iterator[StandIn]:
    """Have the sidecar know an attempt at an activity until the ``with`` block ends.

    Args:
        client: the worker's client, to whose server the sidecar connects if need be.
        info: the attempt.
        timeout: its heartbeat timeout.
    """
    sidecar = _current()
    key = sidecar.know_client(client.service_client.config)
    token = info.task_token
    sidecar.send("open", token, key, client.namespace, client.identity, timeout.total_seconds())
    try:
        yield StandIn(sidecar, token)
    finally:
        sidecar.send("close", token)


class _Sidecar:
    """The sidecar process of this process. Any thread may use it; no call blocks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._configs: dict[str, ConnectConfig] = {}
        self._unsent = b""
        self._process: subprocess.Popen[bytes] | None = None
        if not _runs_python(sys.executable):
            log.warning("no sidecar: a dead worker is noticed at its heartbeat timeout", executable=sys.executable)
            return
        script = Path(__file__).with_name("sidecar_process.py")
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", str(script), str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C, and a signal to the worker's process group, do not reach it
            )
        except OSError as error:
            log.warning("no sidecar: a dead worker is noticed at its heartbeat timeout", error=str(error))
            return
        assert self._process.stdin is not None
        os.set_blocking(self._process.stdin.fileno(), False)
        atexit.register(self._close)
        self.send("path", sys.path)

    def _close(self) -> None:
        """End the input of the sidecar, which ends then, unless it has attempts to report."""
        assert self._process is not None
        assert self._process.stdin is not None
        with suppress(OSError, subprocess.TimeoutExpired):
            self._process.stdin.close()
            self._process.wait(CLOSE_SECONDS)

    @property
    def has_died(self) -> bool:
        """Whether the process was started, and has ended."""
        return self._process is not None and self._process.poll() is not None

    def know_client(self, config: ConnectConfig) -> str:
        """Return the key of a server, told to the sidecar if it is new or if its credentials have changed."""
        key = f"{config.target_host} {config.api_key} {sorted(config.rpc_metadata.items())}"
        if key not in self._configs:
            self._configs[key] = config
            self.send("client", key, replace(config, runtime=None, lazy=False))
        return key

    def send(self, *message: Any) -> None:
        """Send a message; what the pipe does not take now is sent with the next one."""
        if self._process is None or self._process.stdin is None:
            return
        with self._lock:
            self._unsent += pickle.dumps(message)
            try:
                with suppress(BlockingIOError):
                    sent = os.write(self._process.stdin.fileno(), self._unsent)
                    self._unsent = self._unsent[sent:]
            except OSError:  # the sidecar has died; the next attempt starts another
                self._unsent = b""
            if len(self._unsent) > MAX_UNSENT_BYTES:
                self._process.kill()


def _runs_python(executable: str) -> bool:
    """Return whether a file is a Python interpreter: in a frozen program, or inside a server, it is that program."""
    name = Path(executable or "").name.lower()
    return not getattr(sys, "frozen", False) and name.startswith(("python", "pypy"))


_sidecar: _Sidecar | None = None
_sidecar_lock = threading.Lock()


def _current() -> _Sidecar:
    """Return this process's sidecar. Starts it if there is none, or if it has died."""
    global _sidecar
    with _sidecar_lock:
        if _sidecar is None or _sidecar.has_died:
            _sidecar = _Sidecar()
        return _sidecar


def _forget() -> None:
    global _sidecar, _sidecar_lock
    _sidecar, _sidecar_lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)  # a forked child is not the process that the sidecar watches
