"""`graph.invoke` and its kin, wherever a user may call them from: scripts, event loops, pytest, threads, forks."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import AsyncIterator

import pytest

from tests.commands.projects import Project, eventually

BEGIN = """
import asyncio, json, os, pathlib, sys, threading, time, uuid

from steps import graph


def config():
    return {"configurable": {"thread_id": f"thread-{uuid.uuid4().hex}"}}


"""


@pytest.fixture
async def replayed(project: Project) -> AsyncIterator[Project]:
    """A project whose threads are replayed at the end."""
    yield project
    await project.replay()


def printed(project: Project, script: str, *options: str, **env: str) -> list[str]:
    """The lines that a script prints; it must end well, and silently."""
    ended = project.script(BEGIN + script, "-W", "error", *options, **env).ended()
    assert (ended.status, ended.err) == (0, ""), ended
    return ended.out.splitlines()


async def test_a_plain_script_invokes_reads_and_ends_promptly(replayed: Project) -> None:
    """State and history are at hand after the run; nothing holds up the process's end."""
    thread = replayed.thread()
    running = replayed.script(
        BEGIN
        + f"config = {{'configurable': {{'thread_id': {thread!r}}}}}\n"
        + "print(graph.invoke({'wait': False}, config)['log'])\n"
        + "print(graph.get_state(config).next)\n"
        + "print([snapshot.metadata['step'] for snapshot in graph.get_state_history(config)])\n"
        + "print(graph.invoke(None, config)['log'] == graph.get_state(config).values['log'], flush=True)\n"
    )
    running.says("True")
    told = time.monotonic()
    ended = running.ended()
    assert time.monotonic() - told < 3
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.splitlines() == ["['first', 'beside', 'second', 'third']", "()", "[4, 3, 2, 1, 0]", "True"]
    assert {pid for _, _, pid in replayed.notes()} == {running.pid}


def test_scripts_that_end_at_once_end_well(project: Project) -> None:
    """Time and again: whether the process ends in the very moment of the last answer is a matter of luck."""
    script = BEGIN + "graph.get_state(config())"
    running = [project.script(script) for _ in range(6)]
    assert [each.ended().status for each in running] == [0] * 6


def test_both_faces_work_inside_a_running_event_loop(project: Project) -> None:
    """The blocking one blocks the loop it is called from, and not the graph; the async one leaves it free."""
    lines = printed(
        project,
        """
async def main():
    print(graph.invoke({}, config())["log"])
    beats = []

    async def beat():
        while True:
            beats.append(1)
            await asyncio.sleep(0.001)

    beating = asyncio.create_task(beat())
    threads = [config() for _ in range(3)]
    for values in await asyncio.gather(*(graph.ainvoke({}, thread) for thread in threads)):
        print(values["log"])
    beating.cancel()
    print(len(beats) > 3)
    print((await graph.aget_state(threads[0])).next)
    print([snapshot.metadata["step"] async for snapshot in graph.aget_state_history(threads[0], limit=2)])

asyncio.run(main())
asyncio.run(graph.ainvoke({}, config()))  # another loop, the same session
""",
    )
    assert lines == ["['first', 'beside', 'second', 'third']"] * 4 + ["True", "()", "[4, 3]"]


def test_a_cancelled_ainvoke_leaves_the_loop_at_once(project: Project) -> None:
    """The thread goes on; whoever cancelled is not kept waiting."""
    lines = printed(
        project,
        """
async def main():
    thread = config()
    invoking = asyncio.create_task(graph.ainvoke({"wait": True}, thread))
    while not os.path.exists("notes.txt") or "second" not in pathlib.Path("notes.txt").read_text():
        await asyncio.sleep(0.02)
    cancelled = time.monotonic()
    invoking.cancel()
    await asyncio.wait([invoking])
    print(invoking.cancelled(), time.monotonic() - cancelled < 1)
    pathlib.Path("go").touch()
    while (await graph.aget_state(thread)).next:
        await asyncio.sleep(0.05)
    print("done")

asyncio.run(main())
""",
    )
    assert lines == ["True True", "done"]


def test_it_works_in_pytest_without_asyncio(project: Project) -> None:
    """Several tests of one process share the session; warnings are errors there, as here."""
    project.write(
        "test_steps.py",
        BEGIN
        + "def test_one():\n    assert graph.invoke({}, config())['log'] == ['first', 'beside', 'second', 'third']\n\n"
        + "def test_two():\n    test_one()\n",
    )
    command = ("-m", "pytest", "-q", "-W", "error", "-p", "no:asyncio", "-p", "no:cacheprovider", "test_steps.py")
    ended = project.start(*command).ended()
    assert ended.status == 0, ended.out
    assert "2 passed" in ended.out


def test_several_threads_of_the_system_may_invoke_at_once(project: Project) -> None:
    """Also when the main one has ended before them."""
    lines = printed(
        project,
        """
graph.get_state(config())  # the main thread has used it before
def work():
    log = graph.invoke({}, config())["log"] + graph.invoke({}, config())["log"]
    os.write(1, f"{log}\\n".encode())  # in one piece, whoever else prints

for _ in range(6):
    threading.Thread(target=work).start()
""",
    )
    assert lines == [str(["first", "beside", "second", "third"] * 2)] * 6


def test_a_forked_child_has_a_session_of_its_own(project: Project) -> None:
    """And the parent keeps its own."""
    lines = printed(
        project,
        """
print(graph.invoke({}, config())["log"], flush=True)
child = os.fork()
print(graph.invoke({}, config())["log"], flush=True)
if child:
    print(os.waitpid(child, 0)[1], graph.invoke({}, config())["log"] != [])
""",
    )
    assert lines == ["['first', 'beside', 'second', 'third']"] * 3 + ["0 True"]


def test_a_graph_that_is_defined_again_runs_its_new_code(project: Project) -> None:
    """As in a notebook; and back again."""
    lines = printed(
        project,
        f"""
from steps import State, StateGraph, START, END

def defined(text):
    builder = StateGraph(State)
    builder.add_node("only", lambda state: {{"log": [text]}})
    return builder.add_edge(START, "only").add_edge("only", END).compile(name={project.graph!r})

one, two = defined("one"), defined("two")
for each in (one, two, defined("three"), one):
    print(each.invoke({{}}, config())["log"])
""",
    )
    assert lines == ["['one']", "['two']", "['three']", "['one']"]


def test_several_graphs_may_share_a_task_queue(project: Project) -> None:
    """With STEPGRAPH_TASK_QUEUE one worker has them all."""
    lines = printed(
        project,
        """
from steps import builder

other = builder.compile(name="other-" + graph.name)
for each in (graph, other, graph):
    print(each.invoke({}, config())["log"])
print(asyncio.run(other.ainvoke({}, config()))["log"])
""",
        STEPGRAPH_TASK_QUEUE=f"shared-{project.graph}",
    )
    assert lines == ["['first', 'beside', 'second', 'third']"] * 4


async def test_ctrl_c_ends_a_script_promptly_and_loses_nothing(replayed: Project) -> None:
    """Whatever its node is doing. The next process that has the graph goes on."""
    thread = replayed.thread()
    script = (
        BEGIN
        + f"config = {{'configurable': {{'thread_id': {thread!r}}}}}\n"
        + "try:\n    graph.invoke({'wait': True}, config)\nexcept KeyboardInterrupt:\n    print('interrupted')\n"
    )
    running = replayed.script(script)
    eventually(lambda: "second" in replayed.ran(thread))
    told = time.monotonic()
    running.process.send_signal(signal.SIGINT)
    ended = running.ended()
    assert time.monotonic() - told < 3
    assert (ended.status, ended.out, ended.err) == (0, "interrupted\n", "")
    replayed.go()
    resumed = replayed.starter("resume", thread, "--graph", "steps:graph", "--json")
    assert resumed.json["values"]["log"] == ["first", "beside", "second", "third"]
    ran = replayed.ran(thread)
    assert [ran.count(node) for node in ("first", "beside", "second", "third")] == [1, 1, 2, 1]


def test_a_history_may_be_abandoned_half_way(project: Project) -> None:
    """Closed, forgotten, or left open until the process ends: nobody complains."""
    lines = printed(
        project,
        """
thread = config()
graph.invoke({}, thread)
closed = graph.get_state_history(thread)
print(next(closed).metadata["step"])
closed.close()
forgotten = graph.get_state_history(thread)
print(next(forgotten).metadata["step"])
del forgotten
for snapshot in graph.get_state_history(thread):
    break

async def main():
    async for snapshot in graph.aget_state_history(thread):
        break
    left_open = graph.aget_state_history(thread)
    print((await anext(left_open)).metadata["step"])

asyncio.run(main())
left_open = graph.get_state_history(thread)
print(next(left_open).metadata["step"], next(left_open).metadata["step"])
""",
    )
    assert lines == ["4", "4", "4", "4 3"]


def test_the_nodes_may_be_left_to_workers_elsewhere(project: Project) -> None:
    """With STEPGRAPH_WORKERS=external nothing runs here, and a graph that nobody serves is an error."""
    script = "try:\n    print(graph.invoke({}, config())['log'])\nexcept Exception as error:\n    print(error)\n"
    (alone,) = printed(project, script, STEPGRAPH_WORKERS="external")
    assert alone.startswith(f"No worker serves graph '{project.graph}'")
    worker = project.worker()
    assert printed(project, script, STEPGRAPH_WORKERS="external") == ["['first', 'beside', 'second', 'third']"]
    assert {pid for _, _, pid in project.notes()} == {worker.pid}
    (wrong,) = printed(project, script, STEPGRAPH_WORKERS="elsewhere")
    assert wrong == "STEPGRAPH_WORKERS must be 'in-process' or 'external'; got 'elsewhere'."


def test_a_node_may_invoke_a_graph(project: Project) -> None:
    """With the blocking methods, or, if it is async, by awaiting; one that mixes them up is told so."""
    script = f"""
from steps import State, StateGraph, START, END

def outer(inner):
    builder = StateGraph(State)
    builder.add_node("only", inner)
    return builder.add_edge(START, "only").add_edge("only", END).compile(name=inner.__name__ + {project.graph!r})

def blocking(state):
    return {{"log": graph.invoke({{}}, config())["log"]}}

async def awaiting(state):
    thread = config()
    await graph.ainvoke({{}}, thread)
    return {{"log": [snapshot.values["log"] async for snapshot in graph.aget_state_history(thread, limit=1)][0]}}

async def mistaken(state):
    return blocking(state)

print(outer(blocking).invoke({{}}, config())["log"])
print(outer(awaiting).invoke({{}}, config())["log"])
try:
    outer(mistaken).invoke({{}}, config())
except Exception as error:
    print("use ainvoke" in str(error))
"""
    ended = project.script(BEGIN + script).ended()
    assert ended.out.splitlines() == ["['first', 'beside', 'second', 'third']"] * 2 + ["True"], ended.err


def test_an_unreachable_server_is_an_error_and_the_next_call_tries_again(project: Project) -> None:
    """A script or a notebook need not be started again."""
    lines = printed(
        project,
        f"""
from stepgraph.errors import NoServerError

for address in ("127.0.0.1:1", {project.address!r}):
    os.environ["TEMPORAL_ADDRESS"] = address
    try:
        print(graph.invoke({{}}, config())["log"])
    except NoServerError as error:
        print(error.address)
""",
    )
    assert lines == ["127.0.0.1:1", "['first', 'beside', 'second', 'third']"]


def test_a_script_without_logging_hears_of_failed_nodes_once(project: Project) -> None:
    """A line on standard error, with the checkpoint to look at; the caller gets the node's own exception."""
    project.write("broken", "")
    script = BEGIN + "try:\n    graph.invoke({}, config())\nexcept ConnectionError as error:\n    print(error.node)\n"
    ended = project.script(script).ended()
    assert (ended.status, ended.out) == (0, "second\n")
    (line,) = ended.err.splitlines()
    assert line.startswith("node failed")
    assert "checkpoint_id=" in line
    assert json.dumps("Traceback") not in ended.err
