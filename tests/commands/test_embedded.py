"""Which server is used, and the embedded one: shared, kept, started again, and gone when nobody needs it."""

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

from tests.commands.projects import Project, Running, eventually, listens, lives
from tests.conftest import ROOT, temporal_binary

pytestmark = pytest.mark.xdist_group("localhost:7233")  # what embeds a server looks there for one first

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
    """A process that connects, logs to which server, and ends."""
    return project.start(ROOT / "worker.py", "--graphs", "steps:graph", "--check", env=env)


def told(running: Running) -> str:
    """The line that says which server is used."""
    assert running.ended().status == 0, running.err
    return str(running.events[0]["event"])


async def test_processes_that_start_together_share_one_server(embedding: Project) -> None:
    """Whichever is first starts it; all are told the same address and Web UI, and both answer."""
    together = [checking(embedding) for _ in range(3)]
    lines = {told(running) for running in together}
    assert len(lines) == 1
    assert re.fullmatch(LINE, lines.pop())
    server = embedding.server()
    for address in (server["address"], server["web_ui"].removeprefix("http://")):
        assert listens(int(address.rpartition(":")[2]))
    log = embedding.folder / ".stepgraph" / "server.log"
    eventually(lambda: "Temporal CLI" in log.read_text())
    assert log.read_text().count("Temporal CLI") == 1
    assert (embedding.folder / ".stepgraph" / ".gitignore").read_text() == "*\n"


async def test_the_database_survives_its_server(embedding: Project) -> None:
    """A thread of an earlier process, and of an earlier server, is there, at the address it had."""
    thread = embedding.thread()
    script = embedding.write("invoke.py", INVOKE)
    made = embedding.start(script, thread, "{}").ended()
    assert json.loads(made.out) == [4, 3, 2, 1, 0], made.err
    before = embedding.server()
    embedding.server_is_gone()
    read = embedding.start(script, thread).ended()
    assert read.out == made.out, read.err
    after = embedding.server()
    assert after["server"] != before["server"]
    assert (after["address"], after["web_ui"]) == (before["address"], before["web_ui"])
    await embedding.replay()


def test_the_server_ends_when_its_last_user_is_gone(embedding: Project) -> None:
    """However that one went: a user that was killed does not count as one."""
    first, second = embedding.worker(), embedding.worker()
    first.terminate()
    lasts_until = time.monotonic() + 2  # the linger is half a second
    while time.monotonic() < lasts_until:
        assert lives(embedding.server()["server"])
        time.sleep(0.1)
    second.kill()
    embedding.server_is_gone(within=10)


def test_the_server_ends_when_its_folder_is_deleted(embedding: Project) -> None:
    """It would go on with a database that nobody can see; who comes next gets a new one."""
    worker = embedding.worker()
    before = embedding.server()
    shutil.rmtree(embedding.folder / ".stepgraph")
    eventually(lambda: not lives(before["server"]) and not lives(before["keeper"]))
    worker.kill()
    assert told(checking(embedding))
    assert embedding.server()["server"] != before["server"]


SILENT = "import socket, time; s = socket.create_server(('127.0.0.1', 0)); port = s.getsockname()[1]; "
SILENT += "print(port, flush=True); time.sleep(600)"
WEB = "import http.server as h; s = h.HTTPServer(('127.0.0.1', 0), h.SimpleHTTPRequestHandler); "
WEB += "print(s.server_port, flush=True); s.serve_forever()"


@contextlib.contextmanager
def bystander(code: str = SILENT) -> Iterator[tuple[int, int]]:
    """A process that listens on a port and speaks no Temporal: its id, and the port."""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.pid, int(process.stdout.readline())
        finally:
            process.kill()


def test_an_address_left_behind_is_not_trusted(embedding: Project) -> None:
    """Its port and its process ids may be somebody else's by now: those are neither talked to nor ended."""
    with bystander() as (pid, port):
        stale = {"address": f"127.0.0.1:{port}", "web_ui": f"http://127.0.0.1:{port}", "server": pid, "keeper": pid}
        embedding.write(".stepgraph/server.json", json.dumps(stale))
        line = told(checking(embedding))
        assert re.fullmatch(LINE, line)
        assert str(port) not in line
        embedding.server_is_gone()
        assert lives(pid)


@pytest.mark.parametrize("text", ["{", '{"address": "x:y", "web_ui": null}'])
def test_an_address_that_makes_no_sense_is_replaced(embedding: Project, text: str) -> None:
    """Whatever happened to the file."""
    embedding.write(".stepgraph/server.json", text)
    assert re.fullmatch(LINE, told(checking(embedding)))


def test_nothing_in_the_working_directory_disturbs_the_keeper(embedding: Project) -> None:
    """A user's file may be called like a module of the standard library."""
    for name in ("json.py", "socket.py", "signal.py"):
        embedding.write(f"inner/{name}", "raise RuntimeError('not meant for you')")
    running = embedding.start(
        "-c",
        "import os, asyncio; from stepgraph.hosting.connection import connect; os.chdir('inner'); "
        "print(asyncio.run(connect())[1])",
        env={"STEPGRAPH_HOME": str(embedding.folder / ".stepgraph"), "PYTHONPATH": str(embedding.folder / "inner/..")},
    )
    assert re.fullmatch(LINE, running.ended().out.strip()), running.err


def test_a_namespace_is_made_where_it_is_wanted(embedding: Project) -> None:
    """The embedded server is the project's own."""
    told(checking(embedding))
    given = ("--input", "{}", "--thread", "t", "--json")
    ended = embedding.starter("run", "steps:graph", *given, TEMPORAL_NAMESPACE="mine")
    assert ended.status == 0, ended.out
    assert "namespace 'mine'" in told(checking(embedding, TEMPORAL_NAMESPACE="mine"))


def test_explicit_settings_come_first(project: Project) -> None:
    """With TEMPORAL_ADDRESS nothing is embedded, and the Web UI is what STEPGRAPH_WEB_UI says."""
    line = told(checking(project, STEPGRAPH_WEB_UI="http://ui.example/"))
    assert line == f"Temporal as configured at {project.address}, namespace 'default'. Web UI: http://ui.example"
    assert not (project.folder / ".stepgraph").exists()


def test_a_server_on_this_machine_comes_second(embedding: Project) -> None:
    """On localhost:7233, with its Web UI; nothing is embedded."""
    binary = temporal_binary()
    assert binary is not None
    command = [binary, "server", "start-dev", "--ip", "127.0.0.1", "--port", "7233", "--log-level", "error"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            eventually(lambda: listens(8233) and listens(7233))
            eventually(lambda: checking(embedding).ended().status == 0)
            line = told(checking(embedding))
        finally:
            server.send_signal(signal.SIGTERM)
    assert line == (
        "Temporal found on this machine at localhost:7233, namespace 'default'. Web UI: http://localhost:8233"
    )


def test_nothing_to_reach_and_nothing_to_embed_is_an_error_within_5_seconds(embedding: Project) -> None:
    """It names the address and the two ways to mend it."""
    script = embedding.write("without_binary.py", WITHOUT_BINARY)
    ended = embedding.start(script, "threads", env={"PATH": "/usr/bin:/bin"}).ended()
    assert ended.status == 1
    assert ended.seconds < 5
    assert ended.err == (
        "Error: No Temporal server answers at localhost:7233, and none is installed to be embedded. Either point "
        "TEMPORAL_ADDRESS at a server, or run: pip install 'stepgraph[embedded]'.\n"
    )


def test_an_address_where_nobody_answers_is_an_error_within_5_seconds(embedding: Project) -> None:
    """Whether nothing listens there, or something that is no Temporal."""
    with bystander() as (_, port), socket.create_server(("127.0.0.1", 0)) as free:
        nobody = free.getsockname()[1]
        free.close()
        for at, why in (
            (port, "something listens there, but gave no answer within 2 s"),
            (nobody, "nothing listens there (connection refused)"),
        ):
            ended = embedding.starter("threads", TEMPORAL_ADDRESS=f"127.0.0.1:{at}")
            assert ended.status == 1
            assert ended.seconds < 5
            assert ended.err == (
                f"Error: No Temporal server answers at 127.0.0.1:{at}, which TEMPORAL_ADDRESS names: {why}. Start that "
                "server or correct the address; or unset it, to use a server on this machine.\n"
            )


def test_a_web_server_is_no_temporal(embedding: Project) -> None:
    """The error says that what listens there speaks otherwise."""
    with bystander(WEB) as (_, port):
        ended = embedding.starter("threads", "--json", TEMPORAL_ADDRESS=f"127.0.0.1:{port}")
    assert ended.status == 1
    assert "what listens there does not speak as Temporal does" in ended.json["error"]["message"]
    assert ended.json["error"]["type"] == "NoServerError"


@pytest.mark.parametrize("spoilt", ["database", "folder", "linger"])
def test_a_server_that_cannot_be_embedded_says_why(embedding: Project, spoilt: str) -> None:
    """At once, with what the server's log says, or the setting to mend."""
    message, env = {
        "database": (r"cannot be started\. .*server\.log says: .*file is not a database", {}),
        "folder": (r"cannot use .*/afile: .*Name another folder with STEPGRAPH_HOME", {"STEPGRAPH_HOME": "afile"}),
        "linger": (r"STEPGRAPH_EMBEDDED_IDLE_SECONDS must be a number", {"STEPGRAPH_EMBEDDED_IDLE_SECONDS": "long"}),
    }[spoilt]
    embedding.write("afile", "")
    if spoilt == "database":
        embedding.write(".stepgraph/temporal.db", "this is no database")
    ended = embedding.starter("threads", **env)
    assert ended.status == 1
    assert ended.seconds < 10
    assert re.search(message, ended.err), ended.err
    assert "Traceback" not in ended.err


def test_a_keeper_that_is_told_to_end_ends_its_server(embedding: Project) -> None:
    """With SIGTERM."""
    told(checking(embedding, STEPGRAPH_EMBEDDED_IDLE_SECONDS="600"))
    server = embedding.server()
    assert embedding.has_server()
    os.kill(server["keeper"], signal.SIGTERM)
    embedding.server_is_gone()


def test_the_folder_may_be_elsewhere(embedding: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    """With STEPGRAPH_HOME."""
    home = tmp_path_factory.mktemp("home")
    assert re.fullmatch(LINE, told(checking(embedding, STEPGRAPH_HOME=str(home))))
    assert not (embedding.folder / ".stepgraph").exists()
    server = json.loads(Path(home / "server.json").read_text())
    eventually(lambda: not lives(server["keeper"]))
