"""The processes of a run: a server on a database file, workers, burners. Only these are ever killed, by process id."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
from pathlib import Path

from temporalio.client import Client

from stepgraph.hosting._sdk_runtime import runtime
from stepgraph.hosting._server_keeper import TUNING
from tests.chaos.ledger import note
from tests.conftest import ROOT, has_poller, temporal_binary
from tests.patience import eventually

TASK_QUEUE = "chaos"


class Processes:
    """Starts, kills and restarts processes. `end` ends all of them.

    Args:
        folder: for the database and the logs.
        env: what workers find in their environment.
        workers: how many workers run.
        burners: how many processes burn the time of the cores.
    """

    def __init__(self, folder: Path, env: dict[str, str], *, workers: int, burners: int) -> None:
        self.folder = folder
        self.port = _free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._worker_count, self._burner_count = workers, burners
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("TEMPORAL_", "STEPGRAPH_"))},
            "TEMPORAL_ADDRESS": self.address,
            "STEPGRAPH_TASK_QUEUE": TASK_QUEUE,
            "STEPGRAPH_LOG_LEVEL": "warning",
            "PYTHONPATH": str(ROOT),
            **env,
        }
        self._server: subprocess.Popen[bytes] | None = None
        self._workers: list[subprocess.Popen[bytes]] = []
        self._burners: list[subprocess.Popen[bytes]] = []
        self._started = 0
        self.kills = {"worker": 0, "server": 0}

    async def start(self) -> Client:
        """Start everything, and return a client once a worker polls."""
        client = await self._start_server()
        for _ in range(self._worker_count):
            self._start_worker()
        await eventually(lambda: has_poller(client, TASK_QUEUE))
        burn = "while True: pass"
        self._burners = [self._popen("burner", sys.executable, "-c", burn) for _ in range(self._burner_count)]
        return client

    def kill_worker(self) -> None:
        """Kill one of the workers, and start another."""
        place = random.randrange(len(self._workers))
        victim = self._workers.pop(place)
        _kill(victim)
        note("kill-worker", pid=victim.pid)  # only now is it certain that it notes nothing more
        self.kills["worker"] += 1
        self._start_worker()

    async def kill_server(self) -> None:
        """Kill the server, and start it again on the same port and database."""
        assert self._server is not None
        _kill(self._server)
        note("kill-server", pid=self._server.pid)
        self.kills["server"] += 1
        await self._start_server()

    def end(self) -> None:
        """Kill everything that still runs."""
        for each in (*self._workers, *self._burners, *([self._server] if self._server else [])):
            if each.poll() is None:
                _kill(each)

    def logs(self) -> str:
        """Return what the workers have logged."""
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("worker-*.log")))

    async def _start_server(self) -> Client:
        binary = temporal_binary()
        assert binary is not None, "the extra 'embedded' brings the temporal command"
        self._server = self._popen(
            "server",
            *(binary, "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", str(self.port)),
            *("--db-filename", str(self.folder / "temporal.db"), "--log-level", "error", *TUNING),
        )
        return await eventually(self._connected, lambda: (self.folder / "server-0.log").read_text()[-2000:])

    async def _connected(self) -> Client | None:
        try:
            async with asyncio.timeout(5):
                client = await Client.connect(self.address, runtime=runtime())
                await client.count_workflows("")
        except (RuntimeError, TimeoutError):
            return None
        return client

    def _start_worker(self) -> None:
        graphs = str(ROOT / "tests" / "chaos" / "shapes.py")
        self._workers.append(self._popen("worker", sys.executable, str(ROOT / "worker.py"), "--graphs", graphs))

    def _popen(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}-{self._started}.log").open("wb") as log:
            self._started += 1
            return subprocess.Popen(
                command, cwd=self.folder, env=self._env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
