"""Projects: a folder such as a user has, with graph files, and processes that really run in it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from temporalio.client import Client

from stepgraph.cli.graph_loader import load_graphs
from tests.conftest import ROOT, Stage, temporal_binary

T = TypeVar("T")

STEPS = '''
"""first; then second and beside; then third. Notes say what ran, where, and under which key.

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
builder.add_node(second, heartbeat_timeout=float(os.environ["HEARTBEAT"]))
builder.add_node(beside)
builder.add_node(third)
builder.add_edge(START, "first")
builder.add_edge("first", "second")
builder.add_edge("first", "beside")
builder.add_edge(["second", "beside"], "third")
builder.add_edge("third", END)
graph = builder.compile(name="NAME")
'''


def eventually(found: Callable[[], T], *, within: float = 20.0, about: Callable[[], object] = str) -> T:
    """What is found once it is something; fails, telling ``about()``, when that takes too long."""
    deadline = time.monotonic() + within
    while not (value := found()):
        assert time.monotonic() < deadline, f"waited for {within} s in vain; {about()}"
        time.sleep(0.02)
    return value


def lives(pid: int) -> bool:
    """Whether a process runs; one that ended, but was not waited for, does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return command_of(pid).strip() != "" and "<defunct>" not in command_of(pid)


def command_of(pid: int) -> str:
    """The command line of a process; empty if there is none."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        asked = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return asked.stdout


def listens(port: int) -> bool:
    """Whether something listens on a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    status: int
    out: str
    err: str
    seconds: float

    @property
    def json(self) -> Any:
        """Its standard output, which must be one JSON document."""
        return json.loads(self.out)


class Running:
    """A process of a project. What it prints goes to files, so it is never held up."""

    def __init__(self, project: Project, command: tuple[str, ...], given: str | None, env: dict[str, str]) -> None:
        name = uuid.uuid4().hex[:8]
        self._out, self._err = project.folder / f"{name}.out", project.folder / f"{name}.err"
        self.begun = time.monotonic()
        with open(self._out, "wb") as out, open(self._err, "wb") as err:
            self.process = subprocess.Popen(
                command,
                cwd=project.folder,
                env=env,
                stdin=subprocess.DEVNULL if given is None else subprocess.PIPE,
                stdout=out,
                stderr=err,
            )
        if given is not None:
            assert self.process.stdin is not None
            with self.process.stdin as stdin:
                stdin.write(given.encode())

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    @property
    def events(self) -> list[dict[str, Any]]:
        """The lines of its JSON log."""
        return [json.loads(line) for line in self.err.splitlines()]

    def says(self, text: str, *, within: float = 20.0) -> None:
        """Waits until it has printed something."""
        eventually(
            lambda: text in self.out + self.err or self.process.poll() is not None,
            within=within,
            about=lambda: self.out + self.err,
        )
        assert text in self.out + self.err, self.out + self.err

    def ended(self, *, within: float = 30.0) -> Ended:
        """Waits for its end."""
        try:
            status = self.process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still runs after {within} s: {self.out}{self.err}") from None
        return Ended(status, self.out, self.err, time.monotonic() - self.begun)

    def terminate(self, *, within: float = 30.0) -> Ended:
        """SIGTERM, and the end it brings."""
        self.process.send_signal(signal.SIGTERM)
        return self.ended(within=within)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()


class Project:
    """A folder with a graph file, `steps.py`, whose graph has a name that no other project has.

    Args:
        folder: where it is.
        address: a Temporal server for its processes; without one, they find or embed one.
    """

    def __init__(self, folder: Path, address: str | None = None) -> None:
        self.folder = folder
        self.graph = f"steps-{uuid.uuid4().hex[:8]}"
        self.address = address
        self.write("steps.py", STEPS.replace("NAME", self.graph))
        self.threads: list[str] = []
        self.heartbeat = 30.0  # seconds; those that kill a worker do not want to wait for so long
        self._started: list[Running] = []

    @property
    def env(self) -> dict[str, str]:
        """The environment of its processes."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("TEMPORAL_", "STEPGRAPH_"))}
        kept.pop("COLUMNS", None)
        kept["HEARTBEAT"] = str(self.heartbeat)
        kept["STEPGRAPH_EMBEDDED_IDLE_SECONDS"] = "0.5"
        if self.address is not None:
            kept["TEMPORAL_ADDRESS"] = self.address
        return kept

    def write(self, name: str, text: str) -> Path:
        """A file in the folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def go(self) -> None:
        """Lets nodes that wait go on."""
        (self.folder / "go").touch()

    def thread(self) -> str:
        """A new thread id, of a thread that is replayed at the end."""
        self.threads.append(f"thread-{uuid.uuid4().hex[:12]}")
        return self.threads[-1]

    def notes(self, of: str | None = None) -> list[tuple[str, str, int]]:
        """What ran, under which key, in which process; of all threads, or of one."""
        notes = self.folder / "notes.txt"
        found = [line.split() for line in notes.read_text().splitlines()] if notes.exists() else []
        return [(what, key, int(pid)) for what, key, pid in found if of is None or key.startswith(f"{of}/")]

    def ran(self, of: str | None = None) -> list[str]:
        """The notes' first words."""
        return [what for what, _, _ in self.notes(of)]

    def start(self, *command: object, given: str | None = None, env: dict[str, str] | None = None) -> Running:
        """A process that runs Python with these arguments, in the folder."""
        arguments = (sys.executable, *map(str, command))
        running = Running(self, arguments, given, {**self.env, **(env or {})})
        self._started.append(running)
        return running

    def starter(self, *arguments: object, given: str | None = None, **env: str) -> Ended:
        """`starter.py`, to its end."""
        return self.start(ROOT / "starter.py", *arguments, given=given, env=env).ended()

    def together(self, *commands: tuple[object, ...], **env: str) -> list[Ended]:
        """Several `starter.py` commands side by side, to their ends."""
        running = [self.start(ROOT / "starter.py", *arguments, env=env) for arguments in commands]
        return [each.ended() for each in running]

    def worker(self, *arguments: object, **env: str) -> Running:
        """`worker.py`, serving by now; without arguments, `steps:graph`."""
        worker = self.start(ROOT / "worker.py", *(arguments or ("--graphs", "steps:graph")), env=env)
        worker.says("worker starts")
        return worker

    def script(self, text: str, *options: str, **env: str) -> Running:
        """A script of the user's."""
        return self.start(*options, self.write(f"script_{uuid.uuid4().hex[:8]}.py", text), env=env)

    def server(self) -> dict[str, Any]:
        """The embedded server, as its keeper tells of it; empty before there was one."""
        told = self.folder / ".stepgraph" / "server.json"
        return dict(json.loads(told.read_text())) if told.exists() else {}

    def has_server(self) -> bool:
        """Whether keeper or server run."""
        told = self.server()
        return any(told.get(role) and lives(told[role]) for role in ("keeper", "server"))

    def server_is_gone(self, *, within: float = 20.0) -> None:
        """Waits until neither keeper nor server run."""
        eventually(lambda: not self.has_server(), within=within, about=self.server)

    async def replay(self, threads: Iterable[str] = ()) -> None:
        """Replays every run of its threads with the graphs of its files."""
        told = self.address or self.server()["address"]
        stage = Stage(await Client.connect(told))
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("HEARTBEAT", str(self.heartbeat))
            for graph in load_graphs([str(self.folder / "steps.py")]):
                stage.use(graph)
        stage.threads = [*self.threads, *threads]
        assert await stage.replay() >= len(stage.threads)

    def end(self) -> None:
        """Ends whatever still runs, by its process id."""
        for running in self._started:
            if running.process.poll() is None:
                running.kill()
        told = self.server()
        for role in ("keeper", "server"):  # the keeper first: it would start its server again
            if told.get(role) and str(self.folder) in command_of(told[role]):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(told[role], signal.SIGKILL)
        if told:
            self.server_is_gone()


def embeds() -> bool:
    """Whether a project without an address embeds a server: nothing else may be there to be found."""
    return temporal_binary() is not None and not listens(7233)


def plain(text: str) -> str:
    """Text without the escape codes of a terminal."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
