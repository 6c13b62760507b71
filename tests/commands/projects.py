"""Projects: folders with graph files, as a user has them, and the processes that run in them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from stepgraph.cli.graph_loader import load_graphs
from tests.conftest import ROOT, Stage, has_poller, temporal_binary
from tests.patience import PATIENCE, eventually, eventually_sync

SHORT_HEARTBEAT_TIMEOUT = 4.0
"""Seconds, in tests that kill a worker: short, because they wait for it, but not so short that a worker that lives on
a busy machine misses it."""

SHORT_IDLE_SECONDS = 0.5
"""How long an embedded server stays up without a user, in tests that wait for its end."""

LONG_IDLE_SECONDS = 60.0
"""How long it stays up in other tests, which end it themselves."""

STEPS = '''
"""first; then second and beside; then third. Notes record which node ran, with which key, in which process.

Second waits for a file `go` if the state says so, and fails while there is a file `broken`.
"""

import os
import time
from operator import add
from pathlib import Path
from typing import Annotated, TypedDict

from stepgraph import END, START, StateGraph

HERE = Path(__file__).parent


class State(TypedDict):
    wait: bool
    log: Annotated[list[str], add]


def note(*what):
    with open(HERE / "notes.txt", "a") as notes:
        print(*what, os.getpid(), file=notes)


def first(state: State, config):
    note("first", config["metadata"]["idempotency_key"])
    return {"log": ["first"]}


def second(state: State, config):
    note("second", config["metadata"]["idempotency_key"])
    while state.get("wait") and not (HERE / "go").exists():
        time.sleep(0.02)
    if (HERE / "broken").exists():
        raise ConnectionError("no [red]route[/]")
    note("second-ended", config["metadata"]["idempotency_key"])
    return {"log": ["second"]}


async def beside(state: State, config):
    note("beside", config["metadata"]["idempotency_key"])
    return {"log": ["beside"]}


def third(state: State, config):
    note("third", config["metadata"]["idempotency_key"])
    return {"log": ["third"]}


builder = StateGraph(State)
builder.add_node(first)
builder.add_node(second, heartbeat_timeout=float(os.environ["HEARTBEAT_TIMEOUT"]))
builder.add_node(beside)
builder.add_node(third)
builder.add_edge(START, "first")
builder.add_edge("first", "second")
builder.add_edge("first", "beside")
builder.add_edge(["second", "beside"], "third")
builder.add_edge("third", END)
graph = builder.compile(name="NAME")
'''


def is_alive(pid: int) -> bool:
    """Return whether a process runs. One that has ended, but was not waited for, does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return command_of(pid).strip() != "" and "<defunct>" not in command_of(pid)


def command_of(pid: int) -> str:
    """Return the command line of a process; empty if there is no such process."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        listed = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return listed.stdout


def is_listening(port: int) -> bool:
    """Return whether a process listens on a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass(frozen=True)
class Ended:
    """Exit status and output of a process that has ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The standard output, which must be one JSON document."""
        return json.loads(self.out)


class Running:
    """A process of a project. Its output goes to files, because a full pipe would block it."""

    def __init__(self, project: Project, command: tuple[str, ...], stdin: str | None, env: dict[str, str]) -> None:
        name = uuid.uuid4().hex[:8]
        self._out, self._err = project.folder / f"{name}.out", project.folder / f"{name}.err"
        with open(self._out, "wb") as out, open(self._err, "wb") as err:
            self.process = subprocess.Popen(
                command,
                cwd=project.folder,
                env=env,
                stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                stdout=out,
                stderr=err,
            )
        if stdin is not None:
            assert self.process.stdin is not None
            with self.process.stdin as pipe:
                pipe.write(stdin.encode())

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    @property
    def out(self) -> str:
        """What it has printed to its standard output."""
        return self._out.read_text()

    @property
    def err(self) -> str:
        """What it has printed to its standard error."""
        return self._err.read_text()

    @property
    def events(self) -> list[dict[str, Any]]:
        """The complete lines of its JSON log."""
        return [json.loads(line) for line in self.err.split("\n")[:-1]]

    def wait_for(self, text: str) -> None:
        """Wait until it has printed a text."""
        eventually_sync(
            lambda: text in self.out + self.err or self.process.poll() is not None, lambda: self.out + self.err
        )
        assert text in self.out + self.err, self.out + self.err

    def ended(self) -> Ended:
        """Wait until it has ended."""
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still runs after {PATIENCE:g} s: {self.out}{self.err}") from None
        return Ended(status, self.out, self.err)

    def terminate(self) -> Ended:
        """Send SIGTERM, and wait until it has ended."""
        self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def kill(self) -> None:
        """Send SIGKILL, and wait until it has ended."""
        self.process.kill()
        self.process.wait()


class Project:
    """A folder with a graph file, `steps.py`, whose graph has a name that no other project has.

    Args:
        folder: an existing folder.
        address: a Temporal server for its processes. Without one, they use a server on localhost:7233, or embed one.
    """

    def __init__(self, folder: Path, address: str | None = None) -> None:
        self.folder = folder
        self.graph = f"steps-{uuid.uuid4().hex[:8]}"
        self.address = address
        self.write("steps.py", STEPS.replace("NAME", self.graph))
        self.threads: list[str] = []
        self.heartbeat_timeout = 30.0
        """Heartbeat timeout of the node ``second``, in seconds."""
        self.idle_seconds = LONG_IDLE_SECONDS
        """How long an embedded server stays up without a user. `end` ends it in any case."""
        self._started: list[Running] = []

    @property
    def env(self) -> dict[str, str]:
        """The environment of its processes."""
        env = {name: value for name, value in os.environ.items() if not name.startswith(("TEMPORAL_", "STEPGRAPH_"))}
        env.pop("COLUMNS", None)
        env["HEARTBEAT_TIMEOUT"] = str(self.heartbeat_timeout)
        env["STEPGRAPH_EMBEDDED_IDLE_SECONDS"] = str(self.idle_seconds)
        if self.address is not None:
            env["TEMPORAL_ADDRESS"] = self.address
        return env

    def write(self, name: str, text: str) -> Path:
        """Write a file in the folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def go(self) -> None:
        """Let nodes that wait go on."""
        (self.folder / "go").touch()

    def thread(self) -> str:
        """Return a new thread id. Its thread is replayed at the end."""
        self.threads.append(f"thread-{uuid.uuid4().hex[:12]}")
        return self.threads[-1]

    def notes(self, thread: str | None = None) -> list[tuple[str, str, int]]:
        """Return node, idempotency key and process id of each note, of all threads or of one."""
        notes = self.folder / "notes.txt"
        lines = [line.split() for line in notes.read_text().splitlines()] if notes.exists() else []
        return [(node, key, int(pid)) for node, key, pid in lines if thread is None or key.startswith(f"{thread}/")]

    def ran(self, thread: str | None = None) -> list[str]:
        """Return the nodes that have run, of all threads or of one; ``second-ended`` when second has finished."""
        return [node for node, _, _ in self.notes(thread)]

    def start(self, *command: object, stdin: str | None = None, env: dict[str, str] | None = None) -> Running:
        """Start Python with these arguments in the folder."""
        arguments = (sys.executable, *map(str, command))
        running = Running(self, arguments, stdin, {**self.env, **(env or {})})
        self._started.append(running)
        return running

    def starter(self, *arguments: object, stdin: str | None = None, **env: str) -> Ended:
        """Run `starter.py` to its end."""
        return self.start(ROOT / "starter.py", *arguments, stdin=stdin, env=env).ended()

    def together(self, *commands: tuple[object, ...], **env: str) -> list[Ended]:
        """Run several `starter.py` commands side by side, to their ends."""
        running = [self.start(ROOT / "starter.py", *arguments, env=env) for arguments in commands]
        return [each.ended() for each in running]

    def worker(self, *arguments: object, **env: str) -> Running:
        """Start `worker.py`, for `steps:graph` without arguments, and wait until it polls its task queues."""
        worker = self.start(ROOT / "worker.py", *(arguments or ("--graphs", "steps:graph")), env=env)
        worker.wait_for("worker starts")
        self.wait_until_polling(worker)
        return worker

    def wait_until_polling(self, worker: Running) -> None:
        """Wait until a worker with a JSON log polls all its task queues, so that clients find it."""
        started = eventually_sync(lambda: [event for event in worker.events if event["event"] == "worker starts"])

        async def polls_all() -> None:
            client = await Client.connect(self.address or self.server()["address"])
            for task_queue in started[0]["task_queues"]:
                await eventually(lambda task_queue=task_queue: has_poller(client, task_queue))  # type: ignore[misc]

        with ThreadPoolExecutor(1) as pool:  # the test may run in an event loop
            pool.submit(asyncio.run, polls_all()).result()

    def script(self, text: str, *options: str, **env: str) -> Running:
        """Start a script of the user."""
        return self.start(*options, self.write(f"script_{uuid.uuid4().hex[:8]}.py", text), env=env)

    def server(self) -> dict[str, Any]:
        """Return what the keeper wrote of the embedded server; empty before there was one."""
        path = self.folder / ".stepgraph" / "server.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def has_server(self) -> bool:
        """Return whether the keeper or the server runs."""
        server = self.server()
        return any(server.get(role) and is_alive(server[role]) for role in ("keeper", "server"))

    def wait_until_server_ends(self) -> None:
        """Wait until neither the keeper nor the server runs."""
        eventually_sync(lambda: not self.has_server(), self.server)

    async def replay(self, threads: Iterable[str] = ()) -> None:
        """Replay every run of its threads with the graphs of its files."""
        stage = Stage(await Client.connect(self.address or self.server()["address"]))
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("HEARTBEAT_TIMEOUT", str(self.heartbeat_timeout))
            for graph in load_graphs([str(self.folder / "steps.py")]):
                stage.use(graph)
        stage.threads = [*self.threads, *threads]
        assert await stage.replay() >= len(stage.threads)

    def end(self) -> None:
        """End all processes that still run, by their ids."""
        for running in self._started:
            if running.process.poll() is None:
                running.kill()
        server = self.server()
        for role in ("keeper", "server"):  # the keeper first: it would start its server again
            if server.get(role) and str(self.folder) in command_of(server[role]):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(server[role], signal.SIGKILL)
        if server:
            self.wait_until_server_ends()


def embeds() -> bool:
    """Return whether a project without an address embeds a server: none may listen on localhost:7233."""
    return temporal_binary() is not None and not is_listening(7233)


def plain(text: str) -> str:
    """Return a text without the escape codes of a terminal."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
