"""States larger than Temporal's limits, with external storage, on a real server."""

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
from tests.patience import PATIENCE, eventually
from tests.storing import BUCKET, client_with_storage, object_keys, payloads_in, s3_bucket

MEGABYTE = 1_000_000

SHORT_TASK_SECONDS = 5
"""Instead of 60. The SDK reports only a workflow task's first failure; the server waits that long for the second."""


class State(TypedDict):
    size: int
    data: str
    notes: Annotated[list[str], add]


@pytest.fixture
async def large(server: WorkflowEnvironment, tmp_path: Path) -> AsyncIterator[Stage]:
    """A stage whose clients and workers keep large payloads in a folder."""
    stage = Stage(client_with_storage(server.client, tmp_path))
    yield stage
    await stage.replay()


def load(state: State) -> dict[str, Any]:
    """Make the state large."""
    return {"data": "x" * state["size"]}


def chain(*nodes: Callable[[State], Any], name: str = "large") -> CompiledGraph:
    """Return a graph of nodes that run one after the other."""
    builder = StateGraph(State)
    for node in nodes:
        builder.add_node(node)
    names = [START, *(node.__name__ for node in nodes), END]
    for source, destination in pairwise(names):
        builder.add_edge(source, destination)
    return builder.compile(name=name)


def history_bytes(history: WorkflowHistory) -> int:
    """Return the size of a run's events at the server."""
    return sum(event.ByteSize() for event in history.events)


@pytest.mark.parametrize("megabytes", [5, 50])
async def test_a_large_state_fails_resumes_and_is_read(large: Stage, tmp_path: Path, megabytes: int) -> None:
    """A thread with a large state keeps the results beside a failed task, and every checkpoint can be read."""
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
        assert attempts == [1, 2]  # the finished task did not run again
        sizes = [len(each.values.get("data", "")) async for each in client.aget_state_history(config)]
        assert sizes == [size, size, 0, 0]
    runs = await large.runs(config["configurable"]["thread_id"])
    assert len(runs) == 2
    for run in runs:
        assert history_bytes(await large.history(run)) < 20_000
    assert max(path.stat().st_size for path in payloads_in(tmp_path)) > size


async def test_a_large_record_is_kept_in_external_storage(large: Stage, stage: Stage, tmp_path: Path) -> None:
    """The values of a large record are in the history already, as writes. A small record is plain JSON."""
    graph = StateGraph(State).add_node(load).add_edge(START, "load").add_edge("load", END).compile(name="repeats")
    for size, place, payloads in ((20_000, large, 0), (150_000, large, 1), (150_000, stage, 1)):
        client, config = place.use(graph), place.thread()
        async with place.serving(graph):
            await client.ainvoke({"size": size, "data": "", "notes": []}, config)
        (run,) = await place.runs(config["configurable"]["thread_id"])
        result = (await place.history(run)).events[-1].workflow_execution_completed_event_attributes.result.payloads[0]
        assert len(payloads_in(tmp_path)) == payloads
        assert (len(result.data) < 1000) == (place is large and payloads == 1)
        if place is stage or not payloads:
            assert dict(result.metadata) == {"encoding": b"json/plain"}
        assert len((await client.aget_state(config)).values["data"]) == size  # without a worker


async def test_a_large_thread_is_updated_forked_and_replayed(large: Stage) -> None:
    """The input, the update and the state of the fork have 5 MB each."""
    size = 5 * MEGABYTE
    graph = chain(load)
    client, config = large.use(graph), large.thread()
    async with large.serving(graph):
        await client.ainvoke({"size": size, "data": "y" * size, "notes": ["z" * size]}, config)
        updated = await client.aupdate_state(config, {"data": "u" * size}, as_node="load")
        assert (await client.aget_state(updated)).values["data"] == "u" * size
        first = [snapshot async for snapshot in client.aget_state_history(config)][-2]
        assert first.values["data"] == "y" * size
        other = large.thread()["configurable"]["thread_id"]
        forked = await client.afork(first.config, {"notes": ["f" * size]}, as_node=START, thread_id=other)
        assert [len(note) for note in forked["notes"]] == [size, size]
        assert (await client.ainvoke(None, first.config))["data"] == "x" * size


async def test_a_large_interrupt_and_a_large_answer(large: Stage) -> None:
    """While the thread waits, its state goes to the caller and to every client that reads it."""
    size = 5 * MEGABYTE

    def ask(state: State) -> dict[str, Any]:
        return {"notes": [interrupt(state["data"])]}

    graph = chain(load, ask)
    client, config = large.use(graph), large.thread()
    async with large.serving(graph):
        waiting = await client.ainvoke({"size": size, "data": "", "notes": []}, config)
        assert waiting["__interrupt__"][0].value == "x" * size
        assert (await client.aget_state(config)).values["data"] == "x" * size
        updated = await client.aupdate_state(config, {"notes": ["n" * size]}, as_node="human")
        assert (await client.aget_state(updated)).values["notes"] == ["n" * size]
        done = await client.ainvoke(Command(resume="a" * size), config)
        assert done["notes"] == ["n" * size, "a" * size]


async def test_a_run_with_large_states_continues_as_new(large: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run continues as new after many bytes, not only after many steps; the next run restores the large state."""
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


async def test_a_node_in_another_process_queries_a_large_state(large: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer to a query for a large state comes from external storage in one piece."""
    monkeypatch.setattr("stepgraph.temporal.state_cache.StateCache.get", lambda *_: None)

    def measure(state: State) -> dict[str, Any]:
        return {"notes": [str(len(state["data"]))]}

    graph = chain(load, measure)
    client = large.use(graph)
    async with large.serving(graph):
        done = await client.ainvoke({"size": 5 * MEGABYTE, "data": "", "notes": []}, large.thread())
    assert done["notes"] == ["5000000"]


class Documents(TypedDict):
    documents: list[dict[str, Any]]


async def test_a_state_of_many_small_parts_is_not_taken_for_a_deadlock(
    server: WorkflowEnvironment, tmp_path: Path
) -> None:
    """Committing many small parts takes longer than the 2 seconds after which the SDK reports a deadlock by default."""
    part = {"id": 1, "title": "a title", "score": 0.5, "tags": ["a", "b"], "body": "lorem ipsum " * 3}
    count = 200_000  # 20 MB

    def read(state: Documents) -> dict[str, Any]:
        return {"documents": [part] * count}

    graph = StateGraph(Documents).add_node(read).add_edge(START, "read").add_edge("read", END).compile(name="parts")
    stage = Stage(client_with_storage(server.client, tmp_path))
    client = stage.use(graph)
    async with stage.serving(graph):
        done = await client.ainvoke({"documents": []}, stage.thread())
    assert done["documents"][-1] == part
    assert len(done["documents"]) == count
    assert await stage.replay() == 1


async def test_a_write_beyond_the_limit_of_external_storage_is_refused(large: Stage) -> None:
    """External storage has a limit, too, because a state has to fit in memory. The error names it."""
    graph = chain(load)
    client, config = large.use(graph), large.thread()
    async with large.serving(graph):
        with pytest.raises(NodeError, match="stepgraph takes 64,000,000 with external storage. Keep large values else"):
            await client.ainvoke({"size": 64 * MEGABYTE, "data": "", "notes": []}, config)


async def test_without_external_storage_the_error_names_the_setting(stage: Stage) -> None:
    """A thread whose state is too large keeps the last checkpoint, from which it goes on once storage is configured."""
    graph = chain(load)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(NodeError, match="Set STEPGRAPH_STORAGE on every worker and client, for up to 64,000,000"):
            await client.ainvoke({"size": 5 * MEGABYTE, "data": "", "notes": ["kept"]}, config)
        with pytest.raises(PayloadTooLargeError, match="Set STEPGRAPH_STORAGE on every worker and client"):
            await client.ainvoke({"size": 1, "data": "x" * 5 * MEGABYTE, "notes": []}, stage.thread())
        state = await client.aget_state(config)
    assert (state.next, state.values["notes"]) == (("load",), ["kept"])


async def test_a_thread_that_failed_without_storage_is_resumed_with_it(stage: Stage, tmp_path: Path) -> None:
    """After storage has been configured, the node whose result was too large runs again."""
    graph = chain(load)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(PayloadTooLargeError):
            await client.ainvoke({"size": 5 * MEGABYTE, "data": "", "notes": ["kept"]}, config)
    stage.client = client_with_storage(stage.client, tmp_path)
    client = stage.use(graph)
    async with stage.serving(graph):
        assert len((await client.ainvoke(None, config))["data"]) == 5 * MEGABYTE


async def test_clients_and_workers_without_the_storage_report_the_missing_setting(
    large: Stage, server: WorkflowEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client's call raises; a worker's workflow tasks fail until a worker with the setting takes the run over."""
    monkeypatch.setattr("stepgraph.client.run_starter.WORKFLOW_TASK_SECONDS", SHORT_TASK_SECONDS)
    graph = chain(load)
    client, config = large.use(graph), large.thread()
    bare = Stage(server.client)
    bare.task_queue = large.task_queue
    bare_client = bare.use(graph)
    async with bare.serving(graph):
        run = await client.astart({"size": 5 * MEGABYTE, "data": "y" * 2 * MEGABYTE, "notes": []}, config)
        message = f"Set STEPGRAPH_STORAGE={tmp_path.as_uri()} for every worker and client"
        assert message in await task_failure(bare, config)
    async with large.serving(graph):
        assert len((await run.result())["data"]) == 5 * MEGABYTE
    with pytest.raises(StorageError, match=message):
        await bare_client.aget_state(config)
    with pytest.raises(StorageError, match=message):
        await bare_client.ainvoke({"size": 1}, config)


async def task_failure(stage: Stage, config: dict[str, Any]) -> str:
    """Wait until a workflow task of the thread's latest run has failed, and return the message of its failure."""

    async def message() -> str:
        run = await latest_run(stage.client, config["configurable"]["thread_id"])
        assert run is not None
        for event in (await stage.history(run)).events:
            if event.HasField("workflow_task_failed_event_attributes"):
                return event.workflow_task_failed_event_attributes.failure.message
        return ""

    return await eventually(message)


async def test_a_deleted_payload_is_reported_and_can_be_restored(
    large: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading or resuming the thread is an error with the payload's key; an open run waits for the payload."""

    def ask(state: State) -> dict[str, Any]:
        return {"notes": [interrupt("?")]}

    graph = chain(load, ask)
    client, closed, waiting = large.use(graph), large.thread(), large.thread()
    message = r"A payload is gone from file:///.* \(STEPGRAPH_STORAGE\): v0/.* Restore it, if there is a copy"
    input_data = {"size": 5 * MEGABYTE, "data": "", "notes": []}
    monkeypatch.setattr("stepgraph.client.run_starter.WORKFLOW_TASK_SECONDS", SHORT_TASK_SECONDS)
    async with large.serving(graph, max_cached_workflows=0):
        await client.ainvoke(input_data, closed)
        await client.ainvoke(Command(resume="a"), closed)
        await client.ainvoke(input_data, waiting)
        copies = {path: path.read_bytes() for path in payloads_in(tmp_path)}
        for path in copies:
            path.unlink()
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(StorageError, match=message):
                await client.aget_state(closed)
            with pytest.raises(StorageError, match=message):
                await client.ainvoke({"size": 1}, closed)
            with pytest.raises(StepgraphError, match=message):
                await client.aget_state(waiting)
        answering = asyncio.ensure_future(client.ainvoke(Command(resume="a"), waiting))
        assert "A payload is gone" in await task_failure(large, waiting)
        for path, content in copies.items():
            path.write_bytes(content)
        assert (await answering)["notes"] == ["a"]
        assert (await client.ainvoke({"size": 1}, closed))["notes"] == ["a"]


async def test_a_failing_storage_fails_the_node_and_not_the_thread(
    server: WorkflowEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node whose result cannot be stored fails without a retry, and runs again once the storage works."""
    monkeypatch.setattr(driver, "RETRY_DELAYS_SECONDS", ())
    stage = Stage(client_with_storage(server.client, tmp_path / "storage"))
    calls: list[int] = []

    def counted(state: State) -> dict[str, Any]:
        calls.append(1)
        return load(state)

    graph = chain(counted)
    client, config = stage.use(graph), stage.thread()
    (tmp_path / "storage").write_text("no folder")
    async with stage.serving(graph):
        with pytest.raises(
            StorageError, match="could not be stored in .*Fix the storage, then resume the thread"
        ) as caught:
            await client.ainvoke({"size": 5 * MEGABYTE, "data": "", "notes": ["kept"]}, config)
        assert isinstance(caught.value, NodeError)
        assert calls == [1]
        (tmp_path / "storage").unlink()
        assert len((await client.ainvoke(None, config))["data"]) == 5 * MEGABYTE
    assert await stage.replay() == 2


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a bucket on an S3 server of this machine."""
    with s3_bucket(monkeypatch) as address:
        yield address


async def test_a_large_state_is_kept_in_s3(server: WorkflowEnvironment, bucket: str) -> None:
    """A thread fails, is resumed, read and replayed as with a folder."""
    stage = Stage(client_with_storage(server.client, bucket))
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
    assert all(key.startswith(f"some/prefix/v0/ns/default/wt/large/wi/{thread}/ri/") for key in object_keys())


async def test_an_open_run_survives_an_outage_of_s3(
    server: WorkflowEnvironment, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workflow tasks of an open run fail while S3 does not answer, and are retried until it does."""
    monkeypatch.setattr(driver, "RETRY_DELAYS_SECONDS", ())
    monkeypatch.setattr("stepgraph.client.run_starter.WORKFLOW_TASK_SECONDS", SHORT_TASK_SECONDS)
    stage = Stage(client_with_storage(server.client, bucket))

    def ask(state: State) -> dict[str, Any]:
        return {"notes": [interrupt("?")]}

    graph = chain(load, ask)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        await client.ainvoke({"size": 5 * MEGABYTE, "data": "", "notes": []}, config)
    endpoint = boto3.Session().client("s3").meta.endpoint_url
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    without_s3 = Stage(client_with_storage(server.client, bucket))
    without_s3.task_queue, without_s3.threads = stage.task_queue, stage.threads
    async with without_s3.serving(graph):
        answering = asyncio.ensure_future(client.ainvoke(Command(resume="a"), config))
        assert "cannot be read from s3://threads/some/prefix" in await task_failure(without_s3, config)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    async with stage.serving(graph):
        assert (await answering)["notes"] == ["a"]
    assert BUCKET in bucket
    assert await stage.replay() == 1


async def test_a_replayer_without_the_storage_names_the_setting(large: Stage, tmp_path: Path) -> None:
    """A replayer needs the storage as a worker does."""
    graph = chain(load)
    client, config = large.use(graph), large.thread()
    async with large.serving(graph):
        await client.ainvoke({"size": 5 * MEGABYTE, "data": "", "notes": []}, config)
    [run] = await large.runs(config["configurable"]["thread_id"])
    with pytest.raises(RuntimeError, match=f"Set STEPGRAPH_STORAGE={tmp_path.as_uri()}"):
        await Replayer(workflows=[], plugins=[GraphPlugin([graph])]).replay_workflow(await large.history(run))


async def test_a_client_without_the_code_reads_large_states(large: Stage) -> None:
    """A client without the schema gets large values as plain JSON data."""
    graph = chain(load)
    client, config = large.use(graph), large.thread()
    async with large.serving(graph):
        await client.ainvoke({"size": 5 * MEGABYTE, "data": "", "notes": []}, config)
    assert len((await GraphClient(large.client, "large").aget_state(config)).values["data"]) == 5 * MEGABYTE
