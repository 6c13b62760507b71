"""Worker processes: which graphs they serve, what they check and log, and how they stop."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.commands.projects import Project
from tests.conftest import EMBEDS, ROOT
from tests.patience import PATIENCE, eventually_sync

pytestmark = pytest.mark.xdist_group(EMBEDS)


@pytest.fixture
async def replayed(project: Project) -> AsyncIterator[Project]:
    """A project whose threads are replayed at the end."""
    yield project
    await project.replay()


def run(project: Project, graph: str, thread: str, input_data: str = "{}", **env: str) -> None:
    """Start a run without waiting for its end."""
    ended = project.starter("run", graph, "--input", input_data, "--thread", thread, "--detach", **env)
    assert ended.status == 0, ended.err


@pytest.mark.parametrize("how", ["repeated", "listed", "setting"])
def test_a_worker_serves_the_graphs_of_its_addresses(project: Project, how: str) -> None:
    """The addresses of graphs follow --graphs, which may be repeated, or come from STEPGRAPH_GRAPHS."""
    other = f"other-{project.graph}"
    project.write("inner/more.py", f"from steps import builder\ngraph = builder.compile(name={other!r})\n")
    more = "inner/more.py:graph"
    arguments: list[str] = {
        "repeated": ["--graphs", "./steps.py", "--graphs", more],
        "listed": ["--graphs", "steps:graph", more],
        "setting": [],
    }[how]
    worker = project.start(ROOT / "worker.py", *arguments, env={"STEPGRAPH_GRAPHS": f"steps:graph,{more}"})
    worker.wait_for("worker starts")
    project.wait_until_polling(worker)
    (starts,) = (event for event in worker.events if event["event"] == "worker starts")
    assert starts["graphs"] == [project.graph, other]
    assert starts["task_queues"] == [f"stepgraph.{project.graph}", f"stepgraph.{other}", "stepgraph"]
    threads = {project.thread(): graph for graph in (project.graph, other)}
    project.together(*(("run", graph, "--input", "{}", "--thread", thread) for thread, graph in threads.items()))
    for thread in threads:
        assert "third" in project.ran(thread)
    assert {pid for _, _, pid in project.notes()} == {worker.pid}


async def test_a_worker_may_poll_one_task_queue_for_all(replayed: Project) -> None:
    """A worker with --task-queue polls that queue only; commands that start runs use STEPGRAPH_TASK_QUEUE."""
    queue = f"all-{replayed.graph}"
    worker = replayed.worker("--graphs", "steps:graph", "--task-queue", queue)
    assert next(event for event in worker.events if event["event"] == "worker starts")["task_queues"] == [queue]
    thread = replayed.thread()
    run(replayed, replayed.graph, thread, STEPGRAPH_TASK_QUEUE=queue)
    eventually_sync(lambda: "third" in replayed.ran(thread))
    listed = replayed.starter("threads", "--json", STEPGRAPH_TASK_QUEUE=queue)
    eventually_sync(lambda: replayed.starter("threads", "--json", STEPGRAPH_TASK_QUEUE=queue).json)
    assert listed.status == 0


async def test_every_line_of_the_json_log_has_its_keys(replayed: Project) -> None:
    """A line of the JSON log has graph, thread, run, step, node and checkpoint id, where these are known."""
    worker = replayed.worker()
    thread = replayed.thread()
    replayed.write("broken", "")
    run(replayed, replayed.graph, thread)
    worker.wait_for("run failed")
    events = {event["event"]: event for event in worker.events if event.get("node") == "second" or "node" not in event}
    assert events[next(iter(events))]["event"].startswith(f"Temporal as configured at {replayed.address}, ")
    for event in ("node starts", "node failed"):
        record = events[event]
        assert (record["graph"], record["thread"], record["step"]) == (replayed.graph, thread, 3)
        assert record["checkpoint_id"].startswith(record["run"])
    assert events["node failed"]["error"] == "ConnectionError: no [red]route[/]"
    assert events["node failed"]["level"] == "warning"
    assert events["super-step done"]["checkpoint_id"] == events["run failed"]["checkpoint_id"]
    assert events["run failed"]["thread"] == thread
    assert {"timestamp", "level", "logger"} <= set(events["node starts"])
    assert worker.out == ""
    assert worker.terminate().status == 0


def test_the_console_log_is_readable_text(project: Project) -> None:
    """With --log-format console the log is readable text."""
    worker = project.start(ROOT / "worker.py", "--graphs", "steps:graph", "--log-format", "console")
    worker.wait_for("worker starts")
    assert f"graphs=['{project.graph}']" in worker.err
    assert "\x1b" not in worker.err
    assert worker.terminate().status == 0
    assert "worker stopped" in worker.err


async def test_a_node_that_runs_at_sigterm_finishes(replayed: Project) -> None:
    """After SIGTERM a worker finishes its node, takes no new work and ends with status 0; another worker goes on."""
    worker = replayed.worker("--graphs", "steps:graph", STEPGRAPH_GRACEFUL_SHUTDOWN_SECONDS=str(PATIENCE))
    thread, later = replayed.thread(), replayed.thread()
    run(replayed, replayed.graph, thread, '{"wait": true}')
    eventually_sync(lambda: "second" in replayed.ran(thread))
    worker.process.send_signal(signal.SIGTERM)
    worker.wait_for("worker drains")
    run(replayed, replayed.graph, later)
    assert worker.process.poll() is None
    replayed.go()
    assert worker.ended().status == 0
    worker.wait_for("worker stopped")
    assert replayed.ran(thread).count("second-ended") == 1
    assert "third" not in replayed.ran(thread)
    assert replayed.ran(later) == []
    other = replayed.worker()
    eventually_sync(lambda: "third" in replayed.ran(thread) and "third" in replayed.ran(later))
    assert replayed.ran(thread).count("second") == 1
    assert {pid for node, _, pid in replayed.notes() if node == "third"} == {other.pid}


async def test_a_node_that_outlasts_the_graceful_shutdown_runs_again_on_another_worker(replayed: Project) -> None:
    """After STEPGRAPH_GRACEFUL_SHUTDOWN_SECONDS a node is interrupted; another worker runs it with the same key."""
    worker = replayed.worker("--graphs", "steps:graph", STEPGRAPH_GRACEFUL_SHUTDOWN_SECONDS="0.5")
    thread = replayed.thread()
    run(replayed, replayed.graph, thread, '{"wait": true}')
    eventually_sync(lambda: "second" in replayed.ran(thread))
    eventually_sync(lambda: ("node done", "beside") in ((event["event"], event.get("node")) for event in worker.events))
    assert worker.terminate().status == 0
    assert "second-ended" not in replayed.ran(thread)
    stopping = [event for event in worker.events if event["event"] in ("worker drains", "node interrupted")]
    assert [event["event"] for event in stopping] == ["worker drains", "node interrupted"]
    assert (stopping[0]["seconds"], stopping[1]["worker_stops"]) == (0.5, True)
    other = replayed.worker()
    eventually_sync(lambda: replayed.ran(thread).count("second") == 2)
    replayed.go()
    eventually_sync(lambda: "third" in replayed.ran(thread))
    (_, key, pid), (_, key_again, pid_again) = (note for note in replayed.notes(thread) if note[0] == "second")
    assert (key, pid, pid_again) == (key_again, worker.pid, other.pid)
    assert replayed.ran(thread).count("beside") == 1


def test_a_second_signal_ends_a_worker_at_once(project: Project) -> None:
    """After a second signal a worker does not wait for its nodes."""
    worker = project.worker("--graphs", "steps:graph", STEPGRAPH_GRACEFUL_SHUTDOWN_SECONDS="86400")
    run(project, project.graph, project.thread(), '{"wait": true}')
    eventually_sync(lambda: "second" in project.ran())
    worker.process.send_signal(signal.SIGINT)
    worker.wait_for("worker drains")
    worker.process.send_signal(signal.SIGTERM)
    assert worker.ended().status == -signal.SIGTERM


def test_check_reports_whether_a_worker_could_start(project: Project) -> None:
    """`--check` exits with 0 if settings, graphs and the connection are in order, as health checks need it."""
    checked = project.start(ROOT / "worker.py", "--graphs", "steps:graph", "--check").ended()
    assert checked.status == 0
    last = json.loads(checked.err.splitlines()[-1])
    assert (last["event"], last["graphs"]) == ("worker could start", [project.graph])


WRONG: dict[str, tuple[list[str], dict[str, str], str]] = {
    "no graphs": ([], {}, r"A worker needs graphs: worker.py --graphs MODULE:VARIABLE, or STEPGRAPH_GRAPHS="),
    "error texts": (
        ["--graphs", "steps:graph"],
        {"STEPGRAPH_ERROR_TEXTS": "no"},
        "must be 'shown' or 'hidden'; got 'no'",
    ),
    "no module": (["--graphs", "nosuch:graph"], {}, "There is no module 'nosuch'"),
    "no graph": (["--graphs", "steps:builder"], {}, "'steps:builder' is a graph that is not compiled"),
    "one name twice": (["--graphs", "twice"], {}, "'twice' brings a second graph named 'x'"),
    "nothing listens": ([], {"TEMPORAL_ADDRESS": "127.0.0.1:1"}, "No Temporal server answers at 127.0.0.1:1"),
    "no address": ([], {"TEMPORAL_ADDRESS": "http://127.0.0.1:1"}, "an address is HOST:PORT, without a scheme"),
    "no host": ([], {"TEMPORAL_ADDRESS": "nosuch.invalid:7233"}, "the host 'nosuch.invalid' is not known"),
    "no namespace": ([], {"TEMPORAL_NAMESPACE": "nosuch"}, "has no namespace 'nosuch'"),
    "no profile": ([], {"TEMPORAL_PROFILE": "nosuch"}, "cannot be read: Profile 'nosuch' not found"),
    "no config file": ([], {"TEMPORAL_CONFIG_FILE": "nosuch"}, "There is no file 'nosuch', which TEMPORAL_CONFIG_FILE"),
    "drain": (
        [],
        {"STEPGRAPH_GRACEFUL_SHUTDOWN_SECONDS": "x"},
        "STEPGRAPH_GRACEFUL_SHUTDOWN_SECONDS must be a number, 0 or more; got 'x'",
    ),
    "endless drain": (
        [],
        {"STEPGRAPH_GRACEFUL_SHUTDOWN_SECONDS": "inf"},
        "STEPGRAPH_GRACEFUL_SHUTDOWN_SECONDS may be 86,400 at the most; got inf",
    ),
    "inline": ([], {"STEPGRAPH_INLINE_BYTES": "-1"}, "STEPGRAPH_INLINE_BYTES must be a number, 0 or more; got '-1'"),
    "endless inline": ([], {"STEPGRAPH_INLINE_BYTES": "inf"}, "STEPGRAPH_INLINE_BYTES may be 1,000,000,000,000,000 at"),
    "cache": ([], {"STEPGRAPH_STATE_CACHE_BYTES": "x"}, "STEPGRAPH_STATE_CACHE_BYTES must be a number, 0 or more"),
    "cached": ([], {"STEPGRAPH_MAX_CACHED_WORKFLOWS": "1e30"}, "STEPGRAPH_MAX_CACHED_WORKFLOWS may be 1,000,000 at"),
    "certificate": (
        [],
        {"TEMPORAL_TLS_CLIENT_CERT_PATH": "nosuch"},
        "cannot be read: [Errno 2] No such file or directory",
    ),
    "exception": (["--graphs", "raising"], {}, "'raising' cannot be loaded: Own: mine ("),
    "log format": (["--log-format", "xml"], {}, "STEPGRAPH_LOG_FORMAT must be 'console' or 'json'; got 'xml'"),
    "log level": ([], {"STEPGRAPH_LOG_LEVEL": "loud"}, "STEPGRAPH_LOG_LEVEL must be debug, info, warning or error"),
}


def test_a_worker_that_cannot_start_prints_the_reason(project: Project) -> None:
    """A worker that cannot start prints the reason and exits with 1. Every other case is with --check."""
    project.write(
        "twice.py", "from steps import builder\na = builder.compile(name='x')\nb = builder.compile(name='x')\n"
    )
    project.write("raising.py", "class Own(BaseException): ...\nraise Own('mine')\n")
    started = {}
    for number, (name, (arguments, env, _)) in enumerate(WRONG.items()):
        graphs = [] if "--graphs" in arguments or name == "no graphs" else ["--graphs", "steps:graph"]
        check = ["--check"] if number % 2 else []
        started[name] = project.start(ROOT / "worker.py", *graphs, *arguments, *check, env=env)
        if len(started) % 4 == 0:
            started[name].ended()
    for name, (_, _, message) in WRONG.items():
        ended = started[name].ended()
        assert ended.status == 1, (name, ended)
        assert message in ended.err, (name, ended)
        assert ended.err.splitlines()[-1].startswith("Error: "), (name, ended)
        assert "Traceback" not in ended.err
        assert ended.out == ""


def test_the_command_works_without_its_script(project: Project) -> None:
    """`pip install` installs `worker.py` as the command `stepgraph-worker`."""
    command = Path(sys.executable).with_name("stepgraph-worker")
    ended = subprocess.run([command, "--help"], capture_output=True, text=True, check=True, env=project.env)
    assert "--graphs" in ended.stdout
