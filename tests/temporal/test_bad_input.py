"""Bad input: a clear error each, and nothing lost."""

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
    NoWorkerError,
    PayloadTooLargeError,
    SerializationError,
    UnknownGraphError,
)
from stepgraph.protocol.snapshot import config_for
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
    ("given", "said"),
    [
        ({"query": 7}, "'query' is declared str, got int"),
        ({"count": "many"}, "'count' is declared int, got str"),
        ({"notes": "no list"}, r"'notes' is declared list\[str\], got str"),
        ({"notes": ["a", 1]}, r"'notes' is declared list\[str\], got list"),
        ({"qurey": "x"}, "key 'qurey' that its state does not declare. Did you mean 'query'?"),
        (["query"], "must be a mapping of its state's keys .* got list"),
    ],
)
async def test_an_input_that_does_not_fit_is_refused_at_the_call(stage: Stage, given: Any, said: str) -> None:
    """The key is named, and no run is started."""
    client, config = stage.use(PLAIN), stage.thread()
    with pytest.raises(InvalidInputError, match=said):
        await client.ainvoke(given, config)
    assert await client.aget_run(config) is None


async def test_without_the_code_the_run_refuses_it_and_the_thread_is_as_it_was(stage: Stage) -> None:
    """A client that knows only the graph's name sends JSON; the worker names the key, and the state is kept."""
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
    ("returned", "error", "said"),
    [
        ({"quary": "x"}, InvalidUpdateError, "Node 'bad' wrote 'quary'.* Did you mean 'query'?"),
        ({"count": "3"}, SerializationError, "Channel 'count' is declared int and cannot take this str"),
        ({"query": None}, SerializationError, "Channel 'query' is declared str and cannot take this NoneType"),
        ({"notes": [object()]}, SerializationError, "Channel 'notes' is declared"),
        ("text", InvalidUpdateError, "Node 'bad' returned str. Return a mapping"),
        ({"query": "x" * 2_000_000}, PayloadTooLargeError, "channel 'query' has 2,000,002; Temporal carries 1,900,000"),
    ],
)
async def test_what_a_node_must_not_return_fails_it_once(
    stage: Stage, returned: Any, error: type[Exception], said: str
) -> None:
    """The error names node and channel, is not retried, and the thread can be resumed once the node is mended."""
    runs: list[Any] = []

    def bad(state: State) -> Any:
        runs.append(returned)
        return returned if len(runs) == 1 else {"count": 1}

    graph = chain(State, {"good": node_returning({"notes": ["good"]}), "bad": bad}, name="bad")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(error, match=said) as caught:
            await client.ainvoke({"query": "q"}, config)
        assert isinstance(caught.value, NodeError)
        assert len(runs) == 1
        assert (await client.aget_state(config)).next == ("bad",)
        assert await client.ainvoke(None, config) == {"query": "q", "count": 1, "notes": ["good"]}


async def test_a_state_that_grows_too_large_is_refused_and_what_there_was_is_kept(stage: Stage) -> None:
    """No single write is too large, their sum is: the run fails, never its workflow task."""
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
    """Its largest key is named."""
    with pytest.raises(PayloadTooLargeError, match="The input of graph 'plain' .* channel 'query' has 2,000,002"):
        await stage.use(PLAIN).ainvoke({"query": "x" * 2_000_000, "count": 1}, stage.thread())


@pytest.mark.parametrize("thread_id", ["", "  ", None, True, 1.5, "x" * 1001, "a\nb"])
async def test_a_thread_id_that_cannot_be_one_is_refused(stage: Stage, thread_id: Any) -> None:
    """At every call, before anything is sent."""
    client = stage.use(PLAIN)
    config = {"configurable": {"thread_id": thread_id}}
    for call in (client.ainvoke({"query": "x"}, config), client.aget_state(config), client.aget_run(config)):
        with pytest.raises(InvalidThreadError, match="thread id"):
            await call


@pytest.mark.parametrize(
    "make", [lambda: 0, uuid.uuid4, lambda: uuid.uuid4().int, lambda: f'it\'s "{uuid.uuid4()}" %_\\ ü']
)
async def test_a_thread_id_may_be_of_several_types(stage: Stage, make: Any) -> None:
    """A string with whatever prints, an integer or a UUID; the same thread is found by it again, also by hand."""
    thread_id = make()
    config = {"configurable": {"thread_id": thread_id}}
    stage.threads.append(str(thread_id))
    client = stage.use(PLAIN)
    async with stage.serving(PLAIN):
        await client.ainvoke({"query": "x"}, config)
        assert (await client.aget_state(config)).values["notes"] == ["one"]


async def test_an_unknown_thread_is_empty_and_cannot_be_resumed(stage: Stage) -> None:
    """Reading it is no error, resuming it is; nothing is started."""
    client, config = stage.use(PLAIN), stage.thread()
    state = await client.aget_state(config)
    assert (state.values, state.next, state.tasks, state.metadata) == ({}, (), (), None)
    assert [s async for s in client.aget_state_history(config)] == []
    with pytest.raises(EmptyInputError, match="nothing to resume"):
        await client.ainvoke(None, config)


async def test_a_checkpoint_that_is_not_there_is_an_error(stage: Stage) -> None:
    """Never a second root: neither for a made-up id nor for one of a run that retention has removed."""
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
    """Nobody polls its task queue, so the name is wrong or its worker is not running."""
    with pytest.raises(UnknownGraphError, match=r"No worker serves graph 'reserch': .* 'stepgraph.reserch'"):
        await GraphClient(stage.client, "reserch").ainvoke({"query": "x"}, stage.thread())


async def test_a_thread_belongs_to_one_graph(stage: Stage) -> None:
    """Using it with another names both, and changes nothing."""
    other = chain(State, {"two": node_returning(None)}, name="other")
    client, config = stage.use(PLAIN), stage.thread()
    async with stage.serving(PLAIN, other):
        await client.ainvoke({"query": "x"}, config)
        for call in (stage.use(other).ainvoke({"query": "y"}, config), stage.use(other).aget_state(config)):
            with pytest.raises(GraphMismatchError, match="belongs to graph 'plain', not to 'other'"):
                await call
        assert (await client.aget_state(config)).values["query"] == "x"


async def test_an_open_thread_without_a_worker_says_so_soon(stage: Stage) -> None:
    """Rather than hanging: the task queue is named, and how to start a worker; a closed thread is read without one."""
    client, config = stage.use(PLAIN), stage.thread()
    async with stage.serving(PLAIN):
        await client.ainvoke({"query": "x"}, config)
    assert (await client.aget_state(config)).values["query"] == "x"
    stuck = stage.thread()
    fresh = Stage(stage.client)  # a task queue that no worker has polled for minutes
    opened = GraphClient(stage.client, PLAIN.name, task_queue=fresh.task_queue, check_workers=False)
    run = await opened.astart({"query": "x"}, stuck)
    with pytest.raises(NoWorkerError, match=f"nobody polls task queue '{fresh.task_queue}'"):
        await opened.aget_state(stuck)
    await stage.client.get_workflow_handle(run.thread_id).terminate()
    stage.threads.remove(run.thread_id)


def test_a_graph_that_cannot_work_is_refused_at_compile() -> None:
    """Before anything runs: the culprit and the mend are named."""
    builder = StateGraph(State)
    builder.add_node("one", node_returning(None))
    builder.add_edge(START, "one").add_edge("one", "tow")
    with pytest.raises(ValueError, match="'tow' that does not exist"):
        builder.compile(name="typo")
    assert END == "__end__"
