"""States beyond what Temporal carries, with external storage, on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import pairwise
from operator import add
from pathlib import Path
from typing import Annotated, Any, TypedDict

import boto3
import pytest
from temporalio.client import WorkflowHistory
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer

from stepgraph import END, START, Command, GraphClient, GraphPlugin, StateGraph, interrupt
from stepgraph.errors import NodeError, PayloadTooLargeError, StepgraphError, StorageError
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.temporal.executions import latest_run
from stepgraph.temporal.storage import driver
from tests.conftest import Stage
from tests.storing import BUCKET, objects, payloads_in, s3_bucket, storing

MEGABYTE = 1_000_000


class State(TypedDict):
    size: int
    data: str
    notes: Annotated[list[str], add]


@pytest.fixture
async def large(server: WorkflowEnvironment, tmp_path: Path) -> AsyncIterator[Stage]:
    """A stage whose clients and workers store large payloads in a folder."""
    stage = Stage(storing(server.client, tmp_path))
    yield stage
    await stage.replay()


def load(state: State) -> dict[str, Any]:
    """Makes the state large."""
    return {"data": "x" * state["size"]}


def chain(*nodes: Callable[[State], Any], name: str = "large") -> CompiledGraph:
    """The nodes one after the other."""
    builder = StateGraph(State)
    for node in nodes:
        builder.add_node(node)
    names = [START, *(node.__name__ for node in nodes), END]
    for source, destination in pairwise(names):
        builder.add_edge(source, destination)
    return builder.compile(name=name)


def history_bytes(history: WorkflowHistory) -> int:
    """What a run's events take at the server."""
    return sum(event.ByteSize() for event in history.events)


@pytest.mark.parametrize("megabytes", [5, 50])
async def test_a_large_state_fails_resumes_and_is_read(large: Stage, tmp_path: Path, megabytes: int) -> None:
    """Nothing of it is left out: results beside a failed task are kept, and every checkpoint can be read."""
    size = megabytes * MEGABYTE
    attempts: list[int] = []

    def copy(state: State) -> dict[str, Any]:
        attempts.append(1)
        return {"notes": [state["data"][: size // 4]]}

    def flaky(state: State) -> dict[str, Any]:
        if not attempts[1:]:
            attempts.append(2)
            raise ConnectionError("not now")
        return {"notes": ["fine"]}

    builder = StateGraph(State).add_node(load).add_node(copy).add_node(flaky)
    builder.add_edge(START, "load").add_edge("load", "copy").add_edge("load", "flaky").add_edge(["copy", "flaky"], END)
    graph = builder.compile(name="large")
    client, config = large.use(graph), large.thread()
    async with large.serving(graph):
        with pytest.raises(ConnectionError, match="not now"):
            await client.ainvoke({"size": size, "data": "", "notes": []}, config)
    state = await client.aget_state(config)  # without a worker
    assert (state.next, len(state.values["data"])) == (("flaky",), size)
    assert {task.name: task.result is not None for task in state.tasks} == {"copy": True, "flaky": False}
    async with large.serving(graph):
        done = await client.ainvoke(None, config)
        assert (len(done["data"]), [len(note) for note in done["notes"]]) == (size, [size // 4, 4])
        assert attempts == [1, 2]  # what had finished was not run again
        sizes = [len(shown.values.get("data", "")) async for shown in client.aget_state_history(config)]
        assert sizes == [size, size, 0, 0]
    runs = await large.runs(config["configurable"]["thread_id"])
    assert len(runs) == 2
    for run in runs:
        assert history_bytes(await large.history(run)) < 20_000
    assert max(path.stat().st_size for path in payloads_in(tmp_path)) > size


async def test_a_record_repeats_nothing_large_in_the_history(large: Stage, stage: Stage, tmp_path: Path) -> None:
    """Its state is what the run's writes made. Small ones stay as Temporal's own tools like them best."""
    graph = StateGraph(State).add_node(load).add_edge(START, "load").add_edge("load", END).compile(name="repeats")
    for size, on, stored in ((20_000, large, 0), (150_000, large, 1), (150_000, stage, 1)):
        client, config = on.use(graph), on.thread()
        async with on.serving(graph):
            await client.ainvoke({"size": size, "data": "", "notes": []}, config)
        (run,) = await on.runs(config["configurable"]["thread_id"])
        result = (await on.history(run)).events[-1].workflow_execution_completed_event_attributes.result.payloads[0]
        assert len(payloads_in(tmp_path)) == stored
        assert (len(result.data) < 1000) == (on is large and stored == 1)
        if on is stage or not stored:
            assert dict(result.metadata) == {"encoding": b"json/plain"}
        assert len((await client.aget_state(config)).values["data"]) == size  # without a worker


async def test_a_large_thread_is_updated_forked_and_replayed(large: Stage) -> None:
    """By hand as by nodes: with 5 MB in the input, the update and the fork's state."""
    size = 5 * MEGABYTE
    graph = chain(load)
    client, config = large.use(graph), large.thread()
    async with large.serving(graph):
        await client.ainvoke({"size": size, "data": "y" * size, "notes": ["z" * size]}, config)
        updated = await client.aupdate_state(config, {"data": "u" * size}, as_node="load")
        assert (await client.aget_state(updated)).values["data"] == "u" * size
        first = [shown async for shown in client.aget_state_history(config)][-2]
        assert first.values["data"] == "y" * size
        other = large.thread()["configurable"]["thread_id"]
        forked = await client.afork(first.config, {"notes": ["f" * size]}, as_node=START, thread_id=other)
        assert [len(note) for note in forked["notes"]] == [size, size]
        assert (await client.ainvoke(None, first.config))["data"] == "x" * size


async def test_a_large_question_and_a_large_answer(large: Stage) -> None:
    """While the thread waits, its record is given to the caller, and to whoever asks."""
    size = 5 * MEGABYTE

    def ask(state: State) -> dict[str, Any]:
        return {"notes": [interrupt(state["data"])]}

    graph = chain(load, ask)
    client, config = large.use(graph), large.thread()
    async with large.serving(graph):
        asked = await client.ainvoke({"size": size, "data": "", "notes": []}, config)
        assert asked["__interrupt__"][0].value == "x" * size
        assert (await client.aget_state(config)).values["data"] == "x" * size
        updated = await client.aupdate_state(config, {"notes": ["n" * size]}, as_node="human")
        assert (await client.aget_state(updated)).values["notes"] == ["n" * size]
        done = await client.ainvoke(Command(resume="a" * size), config)
        assert done["notes"] == ["n" * size, "a" * size]


async def test_a_large_state_is_handed_over(large: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the run that continues a long one; also when it is the bytes that have become many, not the steps."""
    monkeypatch.setenv("STEPGRAPH_CONTINUE_AS_NEW_BYTES", str(12 * MEGABYTE))
    size = 5 * MEGABYTE

    def again(state: State) -> dict[str, Any]:
        return {"data": state["data"][:-1] + str(len(state["notes"])), "notes": ["n"]}

    builder = StateGraph(State).add_node(load).add_node(again)
    builder.add_edge(START, "load").add_edge("load", "again")
    builder.add_conditional_edges("again", lambda state: END if len(state["notes"]) == 6 else "again")
    graph = builder.compile(name="large")
    client, config = large.use(graph), large.thread()
    async with large.serving(graph):
        done = await client.ainvoke({"size": size, "data": "", "notes": []}, config)
    assert (len(done["data"]), done["data"][-1], len(done["notes"])) == (size, "5", 6)
    assert len(await large.runs(config["configurable"]["thread_id"])) == 3


async def test_a_node_in_another_process_asks_for_a_large_state(large: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer comes from storage in one piece."""
    monkeypatch.setattr("stepgraph.execution.state_cache.StateCache.get", lambda *_: None)

    def measure(state: State) -> dict[str, Any]:
        return {"notes": [str(len(state["data"]))]}

    graph = chain(load, measure)
    client = large.use(graph)
    async with large.serving(graph):
        done = await client.ainvoke({"size": 5 * MEGABYTE, "data": "", "notes": []}, large.thread())
    assert done["notes"] == ["5000000"]


class Documents(TypedDict):
    documents: list[dict[str, Any]]


async def test_a_state_of_many_small_parts_takes_its_time(server: WorkflowEnvironment, tmp_path: Path) -> None:
    """Committing it takes longer than the 2 seconds after which the SDK believes in a deadlock."""
    part = {"id": 1, "title": "a title", "score": 0.5, "tags": ["a", "b"], "body": "lorem ipsum " * 3}
    count = 200_000  # 20 MB

    def read(state: Documents) -> dict[str, Any]:
        return {"documents": [part] * count}

    graph = StateGraph(Documents).add_node(read).add_edge(START, "read").add_edge("read", END).compile(name="parts")
    stage = Stage(storing(server.client, tmp_path))
    client = stage.use(graph)
    async with stage.serving(graph):
        done = await client.ainvoke({"documents": []}, stage.thread())
    assert done["documents"][-1] == part
    assert len(done["documents"]) == count
    assert await stage.replay() == 1


async def test_beyond_the_limit_the_error_says_so(large: Stage) -> None:
    """With storage there is one, too: for memory's sake."""
    graph = chain(load)
    client, config = large.use(graph), large.thread()
    async with large.serving(graph):
        with pytest.raises(NodeError, match="stepgraph takes 64,000,000 with external storage. Keep large values else"):
            await client.ainvoke({"size": 64 * MEGABYTE, "data": "", "notes": []}, config)


async def test_without_storage_the_error_names_the_setting(stage: Stage) -> None:
    """The thread keeps what it has, and goes on where the node is given storage."""
    graph = chain(load)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(NodeError, match="Set STEPGRAPH_STORAGE on every worker and client, for up to 64,000,000"):
            await client.ainvoke({"size": 5 * MEGABYTE, "data": "", "notes": ["kept"]}, config)
        with pytest.raises(PayloadTooLargeError, match="Set STEPGRAPH_STORAGE on every worker and client"):
            await client.ainvoke({"size": 1, "data": "x" * 5 * MEGABYTE, "notes": []}, stage.thread())
        state = await client.aget_state(config)
    assert (state.next, state.values["notes"]) == (("load",), ["kept"])


async def test_storage_given_later_lets_a_thread_go_on(stage: Stage, tmp_path: Path) -> None:
    """What failed for want of it is resumed."""
    graph = chain(load)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(PayloadTooLargeError):
            await client.ainvoke({"size": 5 * MEGABYTE, "data": "", "notes": ["kept"]}, config)
    stage.client = storing(stage.client, tmp_path)
    client = stage.use(graph)
    async with stage.serving(graph):
        assert len((await client.ainvoke(None, config))["data"]) == 5 * MEGABYTE


async def test_whoever_lacks_the_storage_is_told(
    large: Stage, server: WorkflowEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client at the call; a worker by tasks that fail, and that one with the setting takes over."""
    monkeypatch.setattr("stepgraph.client.run_starter.WORKFLOW_TASK_SECONDS", 5)
    graph = chain(load)
    client, config = large.use(graph), large.thread()
    bare = Stage(server.client)
    bare.task_queue = large.task_queue
    bare_client = bare.use(graph)
    async with bare.serving(graph):
        run = await client.astart({"size": 5 * MEGABYTE, "data": "y" * 2 * MEGABYTE, "notes": []}, config)
        told = f"Set STEPGRAPH_STORAGE={tmp_path.as_uri()} for every worker and client"
        assert told in await failed_task(bare, config)
    async with large.serving(graph):
        assert len((await run.result())["data"]) == 5 * MEGABYTE
    with pytest.raises(StorageError, match=told):
        await bare_client.aget_state(config)
    with pytest.raises(StorageError, match=told):
        await bare_client.ainvoke({"size": 1}, config)


async def failed_task(stage: Stage, config: dict[str, Any]) -> str:
    """What the first workflow task that failed said."""
    for _ in range(200):
        run = await latest_run(stage.client, config["configurable"]["thread_id"])
        assert run is not None
        for event in (await stage.history(run)).events:
            if event.HasField("workflow_task_failed_event_attributes"):
                return event.workflow_task_failed_event_attributes.failure.message
        await asyncio.sleep(0.1)
    return "none failed"


async def test_a_payload_that_was_deleted_is_told_and_may_be_restored(
    large: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With key and setting, to whoever reads or resumes the thread; an open run waits for the payload."""

    def ask(state: State) -> dict[str, Any]:
        return {"notes": [interrupt("?")]}

    graph = chain(load, ask)
    client, closed, waiting = large.use(graph), large.thread(), large.thread()
    gone = r"A payload is gone from file:///.* \(STEPGRAPH_STORAGE\): v0/.* Restore it, if there is a copy"
    given = {"size": 5 * MEGABYTE, "data": "", "notes": []}
    monkeypatch.setattr("stepgraph.client.run_starter.WORKFLOW_TASK_SECONDS", 5)
    async with large.serving(graph, max_cached_workflows=0):
        await client.ainvoke(given, closed)
        await client.ainvoke(Command(resume="a"), closed)
        await client.ainvoke(given, waiting)
        kept = {path: path.read_bytes() for path in payloads_in(tmp_path)}
        for path in kept:
            path.unlink()
        async with asyncio.timeout(20):
            with pytest.raises(StorageError, match=gone):
                await client.aget_state(closed)
            with pytest.raises(StorageError, match=gone):
                await client.ainvoke({"size": 1}, closed)
            with pytest.raises(StepgraphError, match=gone):
                await client.aget_state(waiting)
        answering = asyncio.ensure_future(client.ainvoke(Command(resume="a"), waiting))
        assert "A payload is gone" in await failed_task(large, waiting)
        for path, content in kept.items():
            path.write_bytes(content)
        assert (await answering)["notes"] == ["a"]
        assert (await client.ainvoke({"size": 1}, closed))["notes"] == ["a"]


async def test_a_storage_in_trouble_loses_nothing(
    server: WorkflowEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node whose result cannot be stored fails, once, and is resumed when the storage is mended."""
    monkeypatch.setattr(driver, "PAUSES", ())
    stage = Stage(storing(server.client, tmp_path / "storage"))
    calls: list[int] = []

    def counted(state: State) -> dict[str, Any]:
        calls.append(1)
        return load(state)

    graph = chain(counted)
    client, config = stage.use(graph), stage.thread()
    (tmp_path / "storage").write_text("no folder")
    async with stage.serving(graph):
        with pytest.raises(
            StorageError, match="could not be stored in .*Mend the storage, then resume the thread"
        ) as told:
            await client.ainvoke({"size": 5 * MEGABYTE, "data": "", "notes": ["kept"]}, config)
        assert isinstance(told.value, NodeError)
        assert calls == [1]
        (tmp_path / "storage").unlink()
        assert len((await client.ainvoke(None, config))["data"]) == 5 * MEGABYTE
    assert await stage.replay() == 2


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket on an S3 endpoint of this machine."""
    with s3_bucket(monkeypatch) as address:
        yield address


async def test_a_large_state_in_s3(server: WorkflowEnvironment, bucket: str) -> None:
    """Fails, resumes, is read and replayed as with a folder."""
    stage = Stage(storing(server.client, bucket))
    ready: list[int] = []

    def flaky(state: State) -> dict[str, Any]:
        if not ready:
            raise ConnectionError("not now")
        return {"notes": [state["data"][:MEGABYTE]]}

    graph = chain(load, flaky)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(ConnectionError):
            await client.ainvoke({"size": 50 * MEGABYTE, "data": "", "notes": []}, config)
        ready.append(1)
        done = await client.ainvoke(None, config)
    assert (len(done["data"]), len(done["notes"][0])) == (50 * MEGABYTE, MEGABYTE)
    assert len((await client.aget_state(config)).values["data"]) == 50 * MEGABYTE
    assert await stage.replay() == 2
    thread = config["configurable"]["thread_id"]
    assert all(key.startswith(f"some/prefix/v0/ns/default/wt/large/wi/{thread}/ri/") for key in objects())


async def test_an_open_run_outlasts_an_s3_that_is_away(
    server: WorkflowEnvironment, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tasks fail, and are tried again, until it is back."""
    monkeypatch.setattr(driver, "PAUSES", ())
    monkeypatch.setattr("stepgraph.client.run_starter.WORKFLOW_TASK_SECONDS", 5)
    stage = Stage(storing(server.client, bucket))

    def ask(state: State) -> dict[str, Any]:
        return {"notes": [interrupt("?")]}

    graph = chain(load, ask)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        await client.ainvoke({"size": 5 * MEGABYTE, "data": "", "notes": []}, config)
    endpoint = boto3.Session().client("s3").meta.endpoint_url
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    away = Stage(storing(server.client, bucket))
    away.task_queue, away.threads = stage.task_queue, stage.threads
    async with away.serving(graph):
        answering = asyncio.ensure_future(client.ainvoke(Command(resume="a"), config))
        assert "cannot be read from s3://threads/some/prefix" in await failed_task(away, config)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    async with stage.serving(graph):
        assert (await answering)["notes"] == ["a"]
    assert BUCKET in bucket
    assert await stage.replay() == 1


async def test_a_replay_without_the_storage_says_so(large: Stage, tmp_path: Path) -> None:
    """A replayer needs the storage, as a worker does."""
    graph = chain(load)
    client, config = large.use(graph), large.thread()
    async with large.serving(graph):
        await client.ainvoke({"size": 5 * MEGABYTE, "data": "", "notes": []}, config)
    [run] = await large.runs(config["configurable"]["thread_id"])
    with pytest.raises(RuntimeError, match=f"Set STEPGRAPH_STORAGE={tmp_path.as_uri()}"):
        await Replayer(workflows=[], plugins=[GraphPlugin([graph])]).replay_workflow(await large.history(run))


async def test_a_client_without_the_code_reads_large_states(large: Stage) -> None:
    """As plain JSON data."""
    graph = chain(load)
    client, config = large.use(graph), large.thread()
    async with large.serving(graph):
        await client.ainvoke({"size": 5 * MEGABYTE, "data": "", "notes": []}, config)
    assert len((await GraphClient(large.client, "large").aget_state(config)).values["data"]) == 5 * MEGABYTE
