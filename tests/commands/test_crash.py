"""Processes are killed at the worst moment: threads go on where they were."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest
from temporalio.client import Client

from stepgraph import GraphClient
from tests.commands.projects import Project, eventually, lives

pytestmark = pytest.mark.xdist_group("localhost:7233")  # what embeds a server looks there for one first


@pytest.fixture
async def replayed(project: Project) -> AsyncIterator[Project]:
    """A project on the session's server, whose threads are replayed at the end."""
    yield project
    await project.replay()


@pytest.fixture
async def replayed_embedding(embedding: Project) -> AsyncIterator[Project]:
    """A project with a server of its own, whose threads are replayed at the end."""
    yield embedding
    await embedding.replay()


def waiting_thread(project: Project) -> str:
    """A thread whose second node runs, and waits, and whose node beside it is done."""
    thread = project.thread()
    given = ("--input", '{"wait": true}', "--thread", thread, "--detach")
    assert project.starter("run", project.graph, *given).status == 0

    def is_half_done() -> bool:
        tasks = project.starter("state", thread, "--json").json["tasks"]
        return {task["name"]: task["result"] is not None for task in tasks} == {"beside": True, "second": False}

    eventually(is_half_done)
    assert "second" in project.ran(thread)
    return thread


def counted(project: Project, thread: str) -> list[int]:
    """How often first, beside, second and third ran."""
    ran = project.ran(thread)
    return [ran.count(node) for node in ("first", "beside", "second", "third")]


async def test_a_worker_killed_in_a_node_is_replaced_by_another(replayed: Project) -> None:
    """Finished nodes ran once; the interrupted one runs again, under the key that it had."""
    replayed.heartbeat = 2
    worker = replayed.worker()
    thread = waiting_thread(replayed)
    worker.kill()
    other = replayed.worker()
    eventually(lambda: replayed.ran(thread).count("second") == 2)
    replayed.go()
    client = GraphClient(await Client.connect(str(replayed.address)), replayed.graph)
    run = await client.aget_run({"configurable": {"thread_id": thread}})
    assert run is not None
    assert (await run.result())["log"] == ["first", "beside", "second", "third"]
    assert counted(replayed, thread) == [1, 1, 2, 1]
    (_, key, pid), (_, key_again, pid_again) = (note for note in replayed.notes(thread) if note[0] == "second")
    assert key == key_again
    assert key.startswith(f"{thread}/")
    assert (pid, pid_again) == (worker.pid, other.pid)
    keys = [key for what, key, _ in replayed.notes(thread) if what != "second-ended"]
    assert len(set(keys)) == 4


async def test_super_steps_in_a_row_go_on_after_the_last_heartbeat(replayed: Project) -> None:
    """What a killed worker had told of is not run again: a super-step before, and a finished sibling."""
    replayed.heartbeat = 2
    steps = (replayed.folder / "steps.py").read_text()
    replayed.write("steps.py", steps.replace("builder.compile(", 'builder.compile(durability="async", '))
    worker = replayed.worker()
    thread = replayed.thread()
    given = ("--input", '{"wait": true}', "--thread", thread, "--detach")
    assert replayed.starter("run", replayed.graph, *given).status == 0
    client = await Client.connect(str(replayed.address))
    handle = client.get_workflow_handle(thread)
    while True:
        pending = (await handle.describe()).raw_description.pending_activities
        told = b"".join(payload.data for each in pending for payload in each.heartbeat_details.payloads)
        if b"beside" in told:
            break
        await asyncio.sleep(0.1)
    worker.kill()
    replayed.worker()
    eventually(lambda: replayed.ran(thread).count("second") == 2)
    replayed.go()
    run = await GraphClient(client, replayed.graph).aget_run({"configurable": {"thread_id": thread}})
    assert run is not None
    assert (await run.result())["log"] == ["first", "beside", "second", "third"]
    assert counted(replayed, thread) == [1, 1, 2, 1]
    assert len({key for what, key, _ in replayed.notes(thread) if what == "second"}) == 1


async def test_a_killed_server_is_started_again_and_its_threads_go_on(replayed_embedding: Project) -> None:
    """By its keeper, on the ports and the database it had: workers and clients stay connected."""
    project = replayed_embedding
    project.worker()
    thread = waiting_thread(project)
    before = project.server()
    os.kill(before["server"], signal.SIGKILL)
    eventually(lambda: project.server()["server"] not in (before["server"], None))
    after = project.server()
    assert (after["address"], after["web_ui"], after["keeper"]) == (
        *(before["address"], before["web_ui"]),
        before["keeper"],
    )
    project.go()
    ended = project.starter("resume", thread, "--json")
    assert ended.json["values"]["log"] == ["first", "beside", "second", "third"]
    assert counted(project, thread) == [1, 1, 1, 1]


async def test_a_server_killed_with_its_keeper_is_started_by_the_next_user(replayed_embedding: Project) -> None:
    """The worker that was there meanwhile goes on, and the history is all there."""
    project = replayed_embedding
    worker = project.worker()
    thread = waiting_thread(project)
    before = project.server()
    for role in ("keeper", "server"):
        os.kill(before[role], signal.SIGKILL)
    eventually(lambda: not project.has_server())
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


async def test_everything_is_killed_and_the_thread_goes_on(replayed_embedding: Project) -> None:
    """Worker, server and keeper at once, as when a machine loses its power."""
    project = replayed_embedding
    project.heartbeat = 2
    worker = project.worker()
    thread = waiting_thread(project)
    worker.kill()
    before = project.server()
    for role in ("keeper", "server"):
        os.kill(before[role], signal.SIGKILL)
    eventually(lambda: not project.has_server())
    project.go()
    ended = project.starter("resume", thread, "--graph", "steps:graph", "--json")
    assert ended.status == 0, ended.out
    assert ended.json["values"]["log"] == ["first", "beside", "second", "third"]
    assert counted(project, thread) == [1, 1, 2, 1]
    project.worker()


async def test_a_killed_keeper_is_replaced_and_its_server_stays(replayed_embedding: Project) -> None:
    """The next keeper takes over the server that the last one left."""
    project = replayed_embedding
    project.worker()
    thread = waiting_thread(project)
    before = project.server()
    os.kill(before["keeper"], signal.SIGKILL)
    eventually(lambda: not lives(before["keeper"]))
    assert project.starter("threads").status == 0
    after = project.server()
    assert after["keeper"] != before["keeper"]
    assert {**after, "keeper": None} == {**before, "keeper": None}
    project.go()
    assert project.starter("resume", thread).status == 0
    assert counted(project, thread) == [1, 1, 1, 1]
