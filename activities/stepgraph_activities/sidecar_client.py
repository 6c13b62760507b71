"""Tells the sidecar process of the attempts at activities that run in this process.

The sidecar (`stepgraph_activities.sidecar_process`) reports them as failed the moment this process dies, and repeats
their heartbeats while this process cannot send any. It is started with the first attempt, and again if it dies. Where
it cannot be started, the heartbeat timeout alone tells of a dead worker.
"""

from __future__ import annotations

import atexit
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
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
"""How much may wait for a sidecar that does not read, before it is ended."""

MAX_STARTS = 3
"""How often a sidecar is started. One that dies again and again cannot run here."""

CLOSE_SECONDS = 1.0
"""How long a process that ends waits for its sidecar: milliseconds, unless the sidecar has attempts to report."""

log = get_logger("sidecar")


class SidecarClient:
    """This process's side of its sidecar. Any thread may use it; no call blocks."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0
        self._unsent = b""
        self._clients: dict[str, ConnectConfig] = {}
        """The servers that the sidecar knows, by key."""
        self._open: dict[bytes, tuple[Any, ...]] = {}
        """By task token, the message that tells of an attempt."""

    def open(self, token: bytes, client: Client, timeout: timedelta, details: Sequence[Payload]) -> None:
        """Tell of an attempt that begins."""
        config = client.service_client.config
        key = f"{config.target_host} {config.api_key} {sorted(config.rpc_metadata.items())}"
        seconds = timeout.total_seconds()
        message = ("open", token, key, client.namespace, client.identity, seconds, _serialized(details))
        with self._lock:
            self._ensure_process()
            self._open[token] = message
            if key not in self._clients:
                self._clients[key] = replace(config, runtime=None, lazy=False)
                self._send("client", key, self._clients[key])
            self._send(*message)

    def beat(self, token: bytes, details: Sequence[Payload]) -> None:
        """Tell that this process has sent a heartbeat with these details."""
        with self._lock:
            if token in self._open:
                self._open[token] = (*self._open[token][:-1], _serialized(details))
                self._send("beat", token, self._open[token][-1])

    def close(self, token: bytes) -> None:
        """Tell that an attempt is over."""
        with self._lock:
            self._open.pop(token, None)
            self._send("close", token)

    def end(self) -> None:
        """End the input of the sidecar, which ends then, unless it has attempts to report."""
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError, subprocess.TimeoutExpired):
                self._process.stdin.close()
                self._process.wait(CLOSE_SECONDS)

    def _ensure_process(self) -> None:
        """Start the process if there is none, and tell it what the one before knew."""
        if (self._process is not None and self._process.poll() is None) or self._starts >= MAX_STARTS:
            return
        self.end()
        self._starts += 1
        self._process, self._unsent = _started_process(), b""
        if self._process is None or self._starts == MAX_STARTS:
            log.warning("no sidecar: a dead worker is noticed at its heartbeat timeout", executable=sys.executable)
            self._starts = MAX_STARTS
        self._send("path", sys.path)
        for key, config in self._clients.items():
            self._send("client", key, config)
        for message in self._open.values():
            self._send(*message)

    def _send(self, *message: Any) -> None:
        """Send a message; what the pipe does not take now is sent with the next one."""
        if self._process is None or self._process.stdin is None or self._process.stdin.closed:
            return
        self._unsent += pickle.dumps(message)
        try:
            with suppress(BlockingIOError):
                sent = os.write(self._process.stdin.fileno(), self._unsent)
                self._unsent = self._unsent[sent:]
        except OSError:  # the sidecar has died; the next attempt starts another
            self._unsent = b""
        if len(self._unsent) > MAX_UNSENT_BYTES:
            self._process.kill()


@contextmanager
def watched(
    client: Client, info: activity.Info, timeout: timedelta, details: Sequence[Payload]
) -> Iterator[Callable[[Sequence[Payload]], None]]:
    """Have the sidecar watch over an attempt at an activity until the ``with`` block ends.

    Yields a function that tells the sidecar the details of a heartbeat which this process has sent.

    Args:
        client: the worker's client, to whose server the sidecar connects if need be.
        info: the attempt.
        timeout: its heartbeat timeout.
        details: what the first heartbeat will say, for the sidecar to send if this process cannot.
    """
    sidecar, token = _sidecar, info.task_token
    sidecar.open(token, client, timeout, details)
    try:
        yield partial(sidecar.beat, token)
    finally:
        sidecar.close(token)


def _serialized(details: Sequence[Payload]) -> list[bytes] | None:
    """Return payloads as bytes; `None` if they are too large for the sidecar."""
    serialized = [payload.SerializeToString() for payload in details]
    return serialized if sum(map(len, serialized)) <= MAX_DETAILS_BYTES else None


def _started_process() -> subprocess.Popen[bytes] | None:
    """Start a sidecar; return `None` if that is not possible here."""
    name = Path(sys.executable or "").name.lower()
    if getattr(sys, "frozen", False) or not name.startswith(("python", "pypy")):
        return None  # the executable is a program with an interpreter in it, and would be started again
    script = Path(__file__).with_name("sidecar_process.py")
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", str(script), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C, and a signal to the worker's process group, do not reach it
        )
    except OSError:
        return None
    assert process.stdin is not None
    os.set_blocking(process.stdin.fileno(), False)
    return process


_sidecar = SidecarClient()


def _forget() -> None:
    global _sidecar
    _sidecar = SidecarClient()


atexit.register(lambda: _sidecar.end())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)  # a forked child is not the process that the sidecar watches
