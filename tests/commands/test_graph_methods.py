"""`graph.invoke` and the other methods of a graph, called from scripts, event loops, pytest, threads and forks."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator

import pytest

from tests.commands.projects import Project
from tests.patience import eventually_sync

BEGIN = """
import asyncio, json, os, pathlib, sys, threading, uuid

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
    """Return the lines that a script prints. It must end with status 0, and print no errors or warnings."""
    ended = project.script(BEGIN + script, "-W", "error", *options, **env).ended()
    assert (ended.status, ended.err) == (0, ""), ended
    return ended.out.splitlines()


async def test_a_plain_script_invokes_reads_and_ends(replayed: Project) -> None:
    """State and history can be read after the run. No remaining thread prevents the end of the process."""
    thread = replayed.thread()
    running = replayed.script(
        BEGIN
        + f"config = {{'configurable': {{'thread_id': {thread!r}}}}}\n"
        + "print(graph.invoke({'wait': False}, config)['log'])\n"
        + "print(graph.get_state(config).next)\n"
        + "print([snapshot.metadata['step'] for snapshot in graph.get_state_history(config)])\n"
        + "print(graph.invoke(None, config)['log'] == graph.get_state(config).values['log'])\n"
        + "print([thread.name for thread in threading.enumerate() if not thread.daemon])\n"
    )
    ended = running.ended()
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        "['first', 'beside', 'second', 'third']",
        "()",
        "[4, 3, 2, 1, 0]",
        "True",
        "['MainThread']",
    ]
    assert {pid for _, _, pid in replayed.notes()} == {running.pid}


def test_a_batch_runs_each_input_on_a_thread_of_its_own(project: Project) -> None:
    """Results are in the order of the inputs, errors in their place or raised; `with_config` reaches all of them."""
    script = """
inputs = [{'wait': False}, {'wat': 1}, {'wait': False}]
results = graph.with_config(max_concurrency=2).batch(inputs, return_exceptions=True)
print([type(result).__name__ for result in results])
print(len(graph.batch(inputs[:1] * 3, [config() for _ in range(3)], output_keys="log")[0]))
try:
    asyncio.run(graph.abatch(inputs))
except ValueError as error:
    print(type(error).__name__)
"""
    assert printed(project, script) == ["['dict', 'InvalidInputError', 'dict']", "4", "InvalidInputError"]


def test_scripts_that_end_after_their_first_call_end_without_an_error(project: Project) -> None:
    """Several scripts are run, because the end of a process seldom coincides with the last answer of the server."""
    script = BEGIN + "graph.get_state(config())"
    running = [project.script(script) for _ in range(6)]
    assert [each.ended().status for each in running] == [0] * 6


def test_sync_and_async_methods_work_inside_a_running_event_loop(project: Project) -> None:
    """A sync method blocks the loop that it is called from, but not the graph; an async method does not block it."""
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


def test_a_cancelled_ainvoke_does_not_wait_for_the_thread(project: Project) -> None:
    """A cancelled `ainvoke` ends while its node still runs, and the thread goes on."""
    lines = printed(
        project,
        """
async def main():
    thread = config()
    invoking = asyncio.create_task(graph.ainvoke({"wait": True}, thread))
    while not os.path.exists("notes.txt") or "second" not in pathlib.Path("notes.txt").read_text():
        await asyncio.sleep(0.02)
    invoking.cancel()
    await asyncio.wait([invoking])
    print(invoking.cancelled(), "second-ended" not in pathlib.Path("notes.txt").read_text())
    pathlib.Path("go").touch()
    while (await graph.aget_state(thread)).next:
        await asyncio.sleep(0.05)
    print("done")

asyncio.run(main())
""",
    )
    assert lines == ["True True", "done"]


def test_it_works_in_pytest_without_asyncio(project: Project) -> None:
    """Several tests of one process share the session; warnings are errors."""
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


def test_several_os_threads_may_invoke_at_once(project: Project) -> None:
    """Several OS threads invoke at once, and end after the main thread."""
    lines = printed(
        project,
        """
graph.get_state(config())  # the main thread has used it before
def work():
    log = graph.invoke({}, config())["log"] + graph.invoke({}, config())["log"]
    os.write(1, f"{log}\\n".encode())  # in one piece, although other threads print, too

for _ in range(6):
    threading.Thread(target=work).start()
""",
    )
    assert lines == [str(["first", "beside", "second", "third"] * 2)] * 6


def test_a_child_that_is_forked_after_a_call_is_refused_and_its_parent_goes_on(project: Project) -> None:
    """Temporal's SDK does not survive a fork: a call in the child is an error that says how to start the process."""
    lines = printed(
        project,
        """
from stepgraph.errors import StepgraphError

graph.invoke({}, config())
parent, child = os.getpid(), os.fork()
try:
    log = graph.invoke({}, config())["log"]
except StepgraphError as error:
    print(error.message.partition(", and ")[0].replace(str(os.getpid()), "C").replace(str(parent), "P"), flush=True)
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), log)
""",
    )
    assert lines == [
        "Process C was forked after process P had connected to Temporal",
        "7 ['first', 'beside', 'second', 'third']",
    ]


def test_a_child_that_is_forked_before_any_call_has_its_own_session(project: Project) -> None:
    """A server that loads an application and then forks its workers needs nothing else."""
    lines = printed(
        project,
        """
child = os.fork()
log = graph.invoke({}, config())["log"]
if child:
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), log)
else:
    os._exit(7 if log == ["first", "beside", "second", "third"] else 8)
""",
    )
    assert lines == ["7 ['first', 'beside', 'second', 'third']"]


def test_a_graph_that_is_defined_again_runs_its_new_code(project: Project) -> None:
    """A notebook may define a graph several times, and use an earlier definition again."""
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


DEFINED = """
from steps import State, StateGraph, START, END
from stepgraph import Command, interrupt

def only(node, name=graph.name):
    builder = StateGraph(State)
    builder.add_node("only", node)
    return builder.add_edge(START, "only").add_edge("only", END).compile(name=name)

started, go = threading.Event(), threading.Event()

def waiting(state):
    os.write(1, b"waiting starts\\n")
    started.set()
    go.wait()
    return {"log": ["waiting"]}
"""


def test_two_graphs_of_one_name_called_at_once_are_refused_by_name(project: Project) -> None:
    """The call of the second is refused while one of the first is under way, and works when that has returned."""
    lines = printed(
        project,
        DEFINED
        + """
from stepgraph.errors import GraphDefinitionError

first, second = only(waiting), only(lambda state: {"log": ["second"]})
results = []
invoking = threading.Thread(target=lambda: results.append(first.invoke({}, config())["log"]))
invoking.start()
started.wait()
try:
    second.invoke({}, config())
except GraphDefinitionError as error:
    print(error.graph == graph.name, error)
go.set()
invoking.join()
print(results[0], second.invoke({}, config())["log"])
""",
    )
    assert lines == [
        "waiting starts",
        f"True Two graphs named {project.graph!r} are called at once in this process, and the nodes of both would run "
        "the code of one. Give each a name of its own, compile(name=...); or compile the graph once and call that; or "
        "call the second when the calls of the first have returned.",
        "['waiting'] ['second']",
    ]


def test_a_graph_that_is_compiled_for_each_call_is_one_graph(project: Project) -> None:
    """Two graphs of one name that were compiled from the same functions work side by side."""
    lines = printed(
        project,
        DEFINED
        + """
results = []
invoking = threading.Thread(target=lambda: results.append(only(waiting).invoke({}, config())["log"]))
invoking.start()
started.wait()
go.set()
print(only(waiting).invoke({}, config())["log"])
invoking.join()
print(results[0])
""",
    )
    assert lines == ["waiting starts"] * 2 + ["['waiting']"] * 2


def test_a_thread_of_an_earlier_definition_goes_on_with_the_later_one(project: Project) -> None:
    """A thread that waits for an answer does not keep its graph from being defined again."""
    lines = printed(
        project,
        DEFINED
        + """
thread = config()
print(len(only(lambda state: {"log": [interrupt("one?")]}).invoke({}, thread)["__interrupt__"]))
later = only(lambda state: {"log": ["later", interrupt("two?")]})
print(later.invoke({}, config())["__interrupt__"][0].value)
print(later.invoke(Command(resume="yes"), thread)["log"])
""",
    )
    assert lines == ["1", "two?", "['later', 'yes']"]


def test_a_graph_that_comes_to_a_shared_task_queue_interrupts_no_node(project: Project) -> None:
    """The nodes of the graphs that are there run on, each once, while the worker gets another graph."""
    lines = printed(
        project,
        DEFINED
        + """
results = []
invoking = threading.Thread(target=lambda: results.append(only(waiting).invoke({}, config())["log"]))
invoking.start()
started.wait()
print(only(lambda state: {"log": ["other"]}, name=f"other-{graph.name}").invoke({}, config())["log"])
go.set()
invoking.join()
print(results[0])
""",
        STEPGRAPH_TASK_QUEUE=f"shared-{project.graph}",
    )
    assert lines == ["waiting starts", "['other']", "['waiting']"]


def test_several_graphs_may_share_a_task_queue(project: Project) -> None:
    """With STEPGRAPH_TASK_QUEUE one worker serves all graphs."""
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


async def test_ctrl_c_ends_a_script_while_its_node_runs(replayed: Project) -> None:
    """Ctrl-C ends a script while its node runs. The next process that has the graph goes on with the thread."""
    thread = replayed.thread()
    script = (
        BEGIN
        + f"config = {{'configurable': {{'thread_id': {thread!r}}}}}\n"
        + "try:\n    graph.invoke({'wait': True}, config)\nexcept KeyboardInterrupt:\n    print('interrupted')\n"
    )
    running = replayed.script(script)
    eventually_sync(lambda: "second" in replayed.ran(thread))
    running.process.send_signal(signal.SIGINT)
    ended = running.ended()
    assert "second-ended" not in replayed.ran(thread)
    assert (ended.status, ended.out, ended.err) == (0, "interrupted\n", "")
    replayed.go()
    resumed = replayed.starter("resume", thread, "--graph", "steps:graph", "--json")
    assert resumed.json["values"]["log"] == ["first", "beside", "second", "third"]
    ran = replayed.ran(thread)
    assert [ran.count(node) for node in ("first", "beside", "second", "third")] == [1, 1, 2, 1]


def test_an_iterator_of_a_history_need_not_be_exhausted(project: Project) -> None:
    """The iterator of a history may be closed, deleted, or left open until the process ends, without errors."""
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


def test_with_external_workers_no_node_runs_in_the_process(project: Project) -> None:
    """With STEPGRAPH_WORKERS=external no node runs in the process, and a graph without a worker is an error."""
    script = "try:\n    print(graph.invoke({}, config())['log'])\nexcept Exception as error:\n    print(error)\n"
    (unserved,) = printed(project, script, STEPGRAPH_WORKERS="external")
    assert unserved.startswith(f"No worker serves graph '{project.graph}'")
    worker = project.worker()
    assert printed(project, script, STEPGRAPH_WORKERS="external") == ["['first', 'beside', 'second', 'third']"]
    assert {pid for _, _, pid in project.notes()} == {worker.pid}
    (invalid,) = printed(project, script, STEPGRAPH_WORKERS="elsewhere")
    assert invalid == "STEPGRAPH_WORKERS must be 'in-process' or 'external'; got 'elsewhere'."


def test_a_node_may_invoke_a_graph(project: Project) -> None:
    """A sync node uses the sync methods, an async node the async ones; an async node with a sync call gets an error."""
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


def test_the_next_call_after_a_connection_error_connects_again(project: Project) -> None:
    """The next call after a connection error connects again, so a notebook need not be restarted."""
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


def test_a_script_without_logging_prints_a_line_for_a_failed_node(project: Project) -> None:
    """A failed node is one line on standard error, with its checkpoint; the caller gets the node's own exception."""
    project.write("broken", "")
    script = BEGIN + "try:\n    graph.invoke({}, config())\nexcept ConnectionError as error:\n    print(error.node)\n"
    ended = project.script(script).ended()
    assert (ended.status, ended.out) == (0, "second\n")
    (line,) = ended.err.splitlines()
    assert line.startswith("node failed")
    assert "checkpoint_id=" in line
    assert json.dumps("Traceback") not in ended.err
