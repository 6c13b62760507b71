"""Bad input: every kind has a clear error, and the thread loses nothing."""

from __future__ import annotations

import uuid
from operator import add
from typing import Annotated, Any, TypedDict

import pytest

from stepgraph import END, START, GraphClient, StateGraph
from stepgraph.errors import (
    CheckpointExpiredError,
    CheckpointNotFoundError,
    EmptyInputError,
    GraphMismatchError,
    InvalidInputError,
    InvalidThreadError,
    InvalidUpdateError,
    NodeError,
    PayloadTooLargeError,
    SerializationError,
    UnknownGraphError,
)
from stepgraph.protocol.snapshot import config_for, empty_snapshot
from tests.conftest import Stage
from tests.temporal.graphs import chain


class State(TypedDict):
    query: str
    count: int
    notes: Annotated[list[str], add]


def node_returning(value: Any) -> Any:
    return lambda state: value


PLAIN = chain(State, {"one": node_returning({"notes": ["one"]})}, name="plain")


@pytest.mark.parametrize(
    ("input_data", "message"),
    [
        ({"query": 7}, "'query' is declared str, got int"),
        ({"count": "many"}, "'count' is declared int, got str"),
        ({"notes": "no list"}, r"'notes' is declared list\[str\], got str"),
        ({"notes": ["a", 1]}, r"'notes' is declared list\[str\], got list"),
        ({"qurey": "x"}, "key 'qurey' that its state does not declare. Did you mean 'query'?"),
        (["query"], "must be a mapping of its state's keys .* got list"),
    ],
)
async def test_an_input_that_does_not_fit_is_refused_at_the_call(stage: Stage, input_data: Any, message: str) -> None:
    """The error of an input that does not fit the state names the key, and no run is started."""
    client, config = stage.use(PLAIN), stage.thread()
    with pytest.raises(InvalidInputError, match=message):
        await client.ainvoke(input_data, config)
    assert await client.aget_run(config) is None


async def test_an_input_from_a_client_without_the_schema_is_refused_by_the_worker(stage: Stage) -> None:
    """A client that knows only the graph's name sends any JSON. The error names the key, and the state is kept."""
    stage.use(PLAIN)
    client, config = GraphClient(stage.client, "plain", task_queue=stage.task_queue), stage.thread()
    async with stage.serving(PLAIN):
        before = await client.ainvoke({"query": "x"}, config)
        with pytest.raises(InvalidInputError, match="'count' is declared int, got str"):
            await client.ainvoke({"count": "many"}, config)
        state = await client.aget_state(config)
        assert (state.values, state.next) == (before, ())
        assert await client.ainvoke({"count": 2}, config) == {"query": "x", "count": 2, "notes": ["one", "one"]}


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        ({"quary": "x"}, InvalidUpdateError, "Node 'bad' wrote 'quary'.* Did you mean 'query'?"),
        ({"count": "3"}, SerializationError, "Channel 'count' is declared int and cannot take this str"),
        ({"query": None}, SerializationError, "Channel 'query' is declared str and cannot take this NoneType"),
        ({"notes": [object()]}, SerializationError, "Channel 'notes' is declared"),
        ("text", InvalidUpdateError, "Node 'bad' returned str. Return a mapping"),
        ({"query": "x" * 2_000_000}, PayloadTooLargeError, "channel 'query' has 2,000,002; Temporal carries 1,900,000"),
    ],
)
async def test_a_node_that_returns_something_invalid_fails_without_a_retry(
    stage: Stage, returned: Any, error: type[Exception], message: str
) -> None:
    """The error of an invalid result names node and channel. The thread can be resumed once the node is fixed."""
    runs: list[Any] = []

    def bad(state: State) -> Any:
        runs.append(returned)
        return returned if len(runs) == 1 else {"count": 1}

    graph = chain(State, {"good": node_returning({"notes": ["good"]}), "bad": bad}, name="bad")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(error, match=message) as caught:
            await client.ainvoke({"query": "q"}, config)
        assert isinstance(caught.value, NodeError)
        assert len(runs) == 1
        assert (await client.aget_state(config)).next == ("bad",)
        assert await client.ainvoke(None, config) == {"query": "q", "count": 1, "notes": ["good"]}


async def test_a_state_that_grows_too_large_fails_the_run_and_keeps_the_last_checkpoint(stage: Stage) -> None:
    """No single write is too large, but their sum is: the run fails, not its workflow task."""
    graph = chain(
        State,
        {"one": node_returning({"notes": ["a" * 1_200_000]}), "two": node_returning({"notes": ["b" * 1_200_000]})},
        name="growing",
    )
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(PayloadTooLargeError, match="The state of .* has 2,400,010 bytes, of which channel 'notes'"):
            await client.ainvoke({"query": "q"}, config)
        state = await client.aget_state(config)
        assert (len(state.values["notes"][0]), state.next) == (1_200_000, ("two",))
        history = [s async for s in client.aget_state_history(config)]
        assert [s.metadata["step"] for s in history if s.metadata] == [2, 1, 0]


async def test_an_input_that_is_too_large_is_refused_at_the_call(stage: Stage) -> None:
    """The error of an input that is too large names its largest key."""
    with pytest.raises(PayloadTooLargeError, match="The input of graph 'plain' .* channel 'query' has 2,000,002"):
        await stage.use(PLAIN).ainvoke({"query": "x" * 2_000_000, "count": 1}, stage.thread())


@pytest.mark.parametrize("thread_id", ["", "  ", None, True, 1.5, "x" * 1001, "a\nb"])
async def test_an_invalid_thread_id_is_refused(stage: Stage, thread_id: Any) -> None:
    """Every call refuses an invalid thread id before it sends a request."""
    client = stage.use(PLAIN)
    config = {"configurable": {"thread_id": thread_id}}
    for call in (client.ainvoke({"query": "x"}, config), client.aget_state(config), client.aget_run(config)):
        with pytest.raises(InvalidThreadError, match="thread id"):
            await call


@pytest.mark.parametrize(
    "make", [lambda: 0, uuid.uuid4, lambda: uuid.uuid4().int, lambda: f'it\'s "{uuid.uuid4()}" %_\\ ü']
)
async def test_a_thread_id_may_be_of_several_types(stage: Stage, make: Any) -> None:
    """A thread id is a string of printable characters, an integer or a UUID, and always leads to the same thread."""
    thread_id = make()
    config = {"configurable": {"thread_id": thread_id}}
    stage.threads.append(str(thread_id))
    client = stage.use(PLAIN)
    async with stage.serving(PLAIN):
        await client.ainvoke({"query": "x"}, config)
        assert (await client.aget_state(config)).values["notes"] == ["one"]


async def test_an_unknown_thread_is_empty_and_cannot_be_resumed(stage: Stage) -> None:
    """Reading an unknown thread is no error, but resuming it is; neither starts a run."""
    client, config = stage.use(PLAIN), stage.thread()
    state = await client.aget_state(config)
    assert (state.values, state.next, state.tasks, state.metadata) == ({}, (), (), None)
    assert [s async for s in client.aget_state_history(config)] == []
    with pytest.raises(EmptyInputError, match="nothing to resume"):
        await client.ainvoke(None, config)


async def test_an_unknown_checkpoint_is_an_error(stage: Stage) -> None:
    """An invented id, or one of a run that retention has removed, never makes the thread begin again."""
    client, config = stage.use(PLAIN), stage.thread()
    thread_id = config["configurable"]["thread_id"]
    async with stage.serving(PLAIN):
        await client.ainvoke({"query": "x"}, config)
        head = (await client.aget_state(config)).checkpoint_id
        assert head is not None
        for unknown in ("nonsense", f"{uuid.uuid4()}.000001", head[:-1] + "9"):
            with pytest.raises(CheckpointNotFoundError):
                await client.aget_state(config_for(thread_id, unknown))
        with pytest.raises(CheckpointExpiredError, match="retention has removed run"):
            await client.aget_state(config_for(thread_id, "01890000-0000-7000-8000-000000000000.000001"))
        with pytest.raises(CheckpointNotFoundError):
            await client.ainvoke(None, config_for(thread_id, "nonsense"))


async def test_an_unknown_graph_is_refused_at_once(stage: Stage) -> None:
    """If no worker polls a graph's task queue, its name is wrong or its worker is not running."""
    with pytest.raises(UnknownGraphError, match=r"No worker serves graph 'reserch': .* 'stepgraph.reserch'"):
        await GraphClient(stage.client, "reserch").ainvoke({"query": "x"}, stage.thread())


async def test_a_thread_belongs_to_one_graph(stage: Stage) -> None:
    """The error of another graph names both graphs, and the thread does not change."""
    other = chain(State, {"two": node_returning(None)}, name="other")
    client, config = stage.use(PLAIN), stage.thread()
    async with stage.serving(PLAIN, other):
        await client.ainvoke({"query": "x"}, config)
        for call in (stage.use(other).ainvoke({"query": "y"}, config), stage.use(other).aget_state(config)):
            with pytest.raises(GraphMismatchError, match="belongs to graph 'plain', not to 'other'"):
                await call
        assert (await client.aget_state(config)).values["query"] == "x"


async def test_a_thread_that_no_worker_has_begun_is_empty(stage: Stage) -> None:
    """A started thread that no worker has taken up has no checkpoint yet; reading it says so at once."""
    client, config = stage.use(PLAIN), stage.thread()
    async with stage.serving(PLAIN):
        await client.ainvoke({"query": "x"}, config)
    assert (await client.aget_state(config)).values["query"] == "x"
    stuck = stage.thread()
    fresh = Stage(stage.client)  # a task queue that no worker has polled for minutes
    unchecked = GraphClient(stage.client, PLAIN.name, task_queue=fresh.task_queue, check_workers=False)
    run = await unchecked.astart({"query": "x"}, stuck)
    assert await unchecked.aget_state(stuck) == empty_snapshot(run.thread_id)
    assert [snapshot async for snapshot in unchecked.aget_state_history(stuck)] == []
    await stage.client.get_workflow_handle(run.thread_id).terminate()
    stage.threads.remove(run.thread_id)


def test_a_graph_with_a_broken_edge_is_refused_at_compile() -> None:
    """The error of an edge without a destination names the node that does not exist."""
    builder = StateGraph(State)
    builder.add_node("one", node_returning(None))
    builder.add_edge(START, "one").add_edge("one", "tow")
    with pytest.raises(ValueError, match="'tow' that does not exist"):
        builder.compile(name="typo")
    assert END == "__end__"
