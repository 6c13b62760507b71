"""Workers, servers and keepers are killed in the middle of a node: threads go on from their last checkpoint."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator

import pytest
from temporalio.client import Client

from stepgraph import GraphClient
from tests.commands.projects import SHORT_HEARTBEAT_TIMEOUT, Project, is_alive
from tests.conftest import EMBEDS
from tests.patience import eventually, eventually_sync

pytestmark = pytest.mark.xdist_group(EMBEDS)


@pytest.fixture
async def replayed(project: Project) -> AsyncIterator[Project]:
    """A project on the server of the session, whose threads are replayed at the end."""
    yield project
    await project.replay()


@pytest.fixture
async def replayed_embedding(embedding: Project) -> AsyncIterator[Project]:
    """A project with an embedded server, whose threads are replayed at the end."""
    yield embedding
    await embedding.replay()


def waiting_thread(project: Project) -> str:
    """Start a thread. Wait until its node ``beside`` has finished, and its node ``second`` waits."""
    thread = project.thread()
    options = ("--input", '{"wait": true}', "--thread", thread, "--detach")
    assert project.starter("run", project.graph, *options).status == 0

    def is_half_done() -> bool:
        tasks = project.starter("state", thread, "--json").json["tasks"]
        return {task["name"]: task["result"] is not None for task in tasks} == {"beside": True, "second": False}

    eventually_sync(lambda: "second" in project.ran(thread))
    eventually_sync(is_half_done)
    return thread


def run_counts(project: Project, thread: str) -> list[int]:
    """Return how often first, beside, second and third have run."""
    ran = project.ran(thread)
    return [ran.count(node) for node in ("first", "beside", "second", "third")]


async def test_another_worker_goes_on_after_one_was_killed_in_a_node(replayed: Project) -> None:
    """After a worker was killed, finished nodes do not run again. The interrupted node has the same idempotency key."""
    replayed.heartbeat_timeout = SHORT_HEARTBEAT_TIMEOUT
    worker = replayed.worker()
    thread = waiting_thread(replayed)
    worker.kill()
    other = replayed.worker()
    eventually_sync(lambda: replayed.ran(thread).count("second") == 2)
    replayed.go()
    client = GraphClient(await Client.connect(str(replayed.address)), replayed.graph)
    run = await client.aget_run({"configurable": {"thread_id": thread}})
    assert run is not None
    assert (await run.result())["log"] == ["first", "beside", "second", "third"]
    assert run_counts(replayed, thread) == [1, 1, 2, 1]
    (_, key, pid), (_, key_again, pid_again) = (note for note in replayed.notes(thread) if note[0] == "second")
    assert key == key_again
    assert key.startswith(f"{thread}/")
    assert (pid, pid_again) == (worker.pid, other.pid)
    keys = [key for node, key, _ in replayed.notes(thread) if node != "second-ended"]
    assert len(set(keys)) == 4


async def test_a_killed_worker_is_noticed_without_its_heartbeat_timeout(replayed: Project) -> None:
    """The sidecar of a killed worker reports the node as lost. The heartbeat timeout here would take a day."""
    replayed.heartbeat_timeout = 86_400.0
    worker = replayed.worker()
    thread = waiting_thread(replayed)
    worker.kill()
    replayed.go()
    replayed.worker()
    client = GraphClient(await Client.connect(str(replayed.address)), replayed.graph)
    run = await client.aget_run({"configurable": {"thread_id": thread}})
    assert run is not None
    assert (await run.result())["log"] == ["first", "beside", "second", "third"]
    assert run_counts(replayed, thread) == [1, 1, 2, 1]


SCRIPT = """
from steps import graph

config = {"configurable": {"thread_id": "THREAD"}}
begun = graph.get_state(config).created_at is not None
print(graph.invoke(None if begun else {"wait": True}, config)["log"])
"""


async def test_a_killed_script_is_simply_run_again(replayed: Project) -> None:
    """The second process finds the run of the first still open, joins it with a worker of its own, and gets its result.

    So does a third process, which comes while the second one waits.
    """
    replayed.heartbeat_timeout = SHORT_HEARTBEAT_TIMEOUT
    thread = replayed.thread()
    script = SCRIPT.replace("THREAD", thread)
    killed = replayed.script(script)
    eventually_sync(lambda: "second" in replayed.ran(thread))
    killed.kill()
    others = [replayed.script(script), replayed.script(script)]
    eventually_sync(lambda: replayed.ran(thread).count("second") == 2)
    replayed.go()
    for other in others:
        ended = other.ended()
        assert (ended.status, ended.out) == (0, "['first', 'beside', 'second', 'third']\n"), ended.err
    assert run_counts(replayed, thread) == [1, 1, 2, 1]


async def test_a_process_that_reads_a_thread_runs_none_of_its_nodes(replayed: Project) -> None:
    """Whoever looks at a thread whose worker was killed sees where it stands, and does not take it on."""
    replayed.heartbeat_timeout = SHORT_HEARTBEAT_TIMEOUT
    worker = replayed.worker()
    thread = waiting_thread(replayed)
    worker.kill()
    ended = replayed.script(
        f"""
import time
from steps import graph
config = {{"configurable": {{"thread_id": "{thread}"}}}}
until = time.monotonic() + {3 * SHORT_HEARTBEAT_TIMEOUT}
while time.monotonic() < until:  # longer than the node's next attempt is away
    seen = graph.get_state(config).next, len(list(graph.get_state_history(config)))
print(*seen)
"""
    ).ended()
    assert ended.out.splitlines()[-1] == "('second',) 3"
    assert run_counts(replayed, thread) == [1, 1, 1, 0]
    replayed.worker()
    replayed.go()
    assert replayed.starter("resume", thread, "--json").json["values"]["log"] == ["first", "beside", "second", "third"]


async def test_a_process_that_ends_by_ctrl_c_does_not_fail_its_node(replayed: Project) -> None:
    """A node that needs a thread after its process has begun to end has not failed: the next process makes it again."""
    replayed.write("tools.py", TOOLS.replace("NAME", f"{replayed.graph}-tools"))
    thread = replayed.thread()
    config = {"configurable": {"thread_id": thread}}
    script = replayed.script(f"from tools import graph\ngraph.invoke({{'wait': True}}, {config})")
    eventually_sync(lambda: "tool" in replayed.ran())
    os.kill(script.pid, signal.SIGINT)
    script.ended()
    replayed.go()
    ended = replayed.script(f"from tools import graph\nprint(graph.invoke(None, {config})['log'])").ended()
    assert ended.out.splitlines()[-1] == "['tool']"


TOOLS = """
import asyncio, time
from steps import HERE, State, note
from stepgraph import START, StateGraph

async def tool(state: State, config):
    note("tool", config["metadata"]["idempotency_key"])
    if not (HERE / "go").exists():
        await asyncio.to_thread(time.sleep, 2)
    await asyncio.to_thread(time.sleep, 0)
    return {"log": ["tool"]}

builder = StateGraph(State)
builder.add_node(tool)
builder.add_edge(START, "tool")
graph = builder.compile(name="NAME")
"""


async def test_fused_steps_go_on_from_the_last_heartbeat(replayed: Project) -> None:
    """A killed worker's heartbeats had a super-step and a finished sibling: neither runs again."""
    replayed.heartbeat_timeout = SHORT_HEARTBEAT_TIMEOUT
    steps = (replayed.folder / "steps.py").read_text()
    replayed.write("steps.py", steps.replace("builder.compile(", 'builder.compile(durability="async", '))
    worker = replayed.worker()
    thread = replayed.thread()
    options = ("--input", '{"wait": true}', "--thread", thread, "--detach")
    assert replayed.starter("run", replayed.graph, *options).status == 0
    client = await Client.connect(str(replayed.address))
    handle = client.get_workflow_handle(thread)

    async def has_reported_beside() -> bool:
        pending = (await handle.describe()).raw_description.pending_activities
        return b"beside" in b"".join(payload.data for each in pending for payload in each.heartbeat_details.payloads)

    await eventually(has_reported_beside)
    await eventually(lambda: "second" in replayed.ran(thread))
    worker.kill()
    replayed.worker()
    eventually_sync(lambda: replayed.ran(thread).count("second") == 2)
    replayed.go()
    run = await GraphClient(client, replayed.graph).aget_run({"configurable": {"thread_id": thread}})
    assert run is not None
    assert (await run.result())["log"] == ["first", "beside", "second", "third"]
    assert run_counts(replayed, thread) == [1, 1, 2, 1]
    assert len({key for node, key, _ in replayed.notes(thread) if node == "second"}) == 1


async def test_a_killed_server_is_restarted_by_its_keeper(replayed_embedding: Project) -> None:
    """A restarted server has the same ports and database, so workers and clients stay connected, and threads go on."""
    project = replayed_embedding
    project.worker()
    thread = waiting_thread(project)
    before = project.server()
    os.kill(before["server"], signal.SIGKILL)
    eventually_sync(lambda: project.server()["server"] not in (before["server"], None))
    after = project.server()
    assert (after["address"], after["web_ui"], after["keeper"]) == (
        *(before["address"], before["web_ui"]),
        before["keeper"],
    )
    project.go()
    ended = project.starter("resume", thread, "--json")
    assert ended.json["values"]["log"] == ["first", "beside", "second", "third"]
    assert run_counts(project, thread) == [1, 1, 1, 1]


async def test_a_server_killed_with_its_keeper_is_started_by_the_next_user(replayed_embedding: Project) -> None:
    """A worker of the killed server goes on with the thread, because the next server has its address."""
    project = replayed_embedding
    worker = project.worker()
    thread = waiting_thread(project)
    before = project.server()
    for role in ("keeper", "server"):
        os.kill(before[role], signal.SIGKILL)
    eventually_sync(lambda: not project.has_server())
    project.go()
    ended = project.starter("resume", thread, "--json")
    assert ended.status == 0, ended.out
    assert ended.json["values"]["log"] == ["first", "beside", "second", "third"]
    after = project.server()
    assert after["address"] == before["address"]
    assert {after["keeper"], after["server"]}.isdisjoint({before["keeper"], before["server"]})
    history = project.starter("history", thread, "--json").json
    assert [snapshot["metadata"]["step"] for snapshot in history] == [4, 3, 2, 1, 0]
    assert {pid for _, _, pid in project.notes(thread)} == {worker.pid}


async def test_a_thread_survives_the_loss_of_all_processes(replayed_embedding: Project) -> None:
    """Worker, server and keeper are killed at the same time, as when a machine loses its power."""
    project = replayed_embedding
    project.heartbeat_timeout = SHORT_HEARTBEAT_TIMEOUT
    worker = project.worker()
    thread = waiting_thread(project)
    worker.kill()
    before = project.server()
    for role in ("keeper", "server"):
        os.kill(before[role], signal.SIGKILL)
    eventually_sync(lambda: not project.has_server())
    project.go()
    ended = project.starter("resume", thread, "--graph", "steps:graph", "--json")
    assert ended.status == 0, ended.out
    assert ended.json["values"]["log"] == ["first", "beside", "second", "third"]
    assert run_counts(project, thread) == [1, 1, 2, 1]
    project.worker()


async def test_a_killed_keeper_is_replaced_and_its_server_stays(replayed_embedding: Project) -> None:
    """The next keeper adopts the server of the one before."""
    project = replayed_embedding
    project.worker()
    thread = waiting_thread(project)
    before = project.server()
    os.kill(before["keeper"], signal.SIGKILL)
    eventually_sync(lambda: not is_alive(before["keeper"]))
    assert project.starter("threads").status == 0
    after = project.server()
    assert after["keeper"] != before["keeper"]
    assert {**after, "keeper": None} == {**before, "keeper": None}
    project.go()
    assert project.starter("resume", thread).status == 0
    assert run_counts(project, thread) == [1, 1, 1, 1]
