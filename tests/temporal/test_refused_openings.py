"""A run that refuses what it was started for says so wherever the thread is shown."""

from __future__ import annotations

import asyncio
from operator import add
from typing import Annotated, Any, TypedDict

import pytest

from stepgraph import END, START, GraphClient, StateGraph
from stepgraph.cli.thread_list import list_threads
from stepgraph.errors import EmptyInputError, GraphRecursionError, InvalidInputError, StepgraphError
from tests.conftest import Stage
from tests.patience import eventually
from tests.temporal.graphs import chain


class State(TypedDict):
    query: str
    lines: Annotated[list[str], add]


async def status(stage: Stage, config: dict[str, Any]) -> str:
    """Return the search attribute of the thread's latest run."""
    handle = stage.client.get_workflow_handle(config["configurable"]["thread_id"])
    attributes = (await handle.describe()).typed_search_attributes
    return next(str(pair.value) for pair in attributes if pair.key.name == "StepgraphStatus")


async def start_by_hand(stage: Stage, graph: str, config: dict[str, Any], *args: Any) -> Any:
    """Start a run as `temporal workflow start` does, and wait until it has failed."""
    handle = await stage.client.start_workflow(
        graph, args=list(args), id=config["configurable"]["thread_id"], task_queue=stage.task_queue
    )
    with pytest.raises(Exception, match="failed"):
        await handle.result()


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (({"qurey": "x"},), "key 'qurey' that its state does not declare"),
        (({"query": 7},), "'query' is declared str, got int"),
        ((["query"],), "must be a JSON object"),
        (({"query": "x"}, {"recursion_limit": "many"}), "A run takes an input"),
        ((None,), "has nothing to resume"),
    ],
    ids=["key", "type", "list", "options", "nothing"],
)
async def test_an_input_refused_on_opening_is_shown(stage: Stage, args: tuple[Any, ...], reason: str) -> None:
    """The snapshot, the error of a resume and the list of threads say that the run was refused, and why."""
    graph = chain(State, {"node": lambda state: {"lines": ["ran"]}}, name="refusing")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        await start_by_hand(stage, graph.name, config, *args)
        assert await status(stage, config) == "refused"
        state = await client.aget_state(config)
        assert state.values == {}
        assert reason in "".join(state.errors)
        assert state.errors[0].startswith("The latest run was refused: ")
        with pytest.raises(EmptyInputError, match="nothing to resume") as caught:
            await client.ainvoke(None, config)
        assert reason in str(caught.value)
        assert len(await stage.runs(config["configurable"]["thread_id"])) == 1

        async def listed() -> str | None:
            threads = await list_threads(stage.client, graph=graph.name, limit=100)
            own = [each["status"] for each in threads if each["thread_id"] == config["configurable"]["thread_id"]]
            return own[0] if own and own[0] != "running" else None

        assert await eventually(listed) == "refused"
        assert await client.ainvoke({"query": "x"}, config) == {"query": "x", "lines": ["ran"]}
        assert (await client.aget_state(config)).errors == ()
        assert await status(stage, config) == "complete"


async def test_a_queued_input_refused_on_opening_is_shown(stage: Stage) -> None:
    """The thread keeps what it has; its caller gets the error, and the snapshot says why the latest run did nothing."""
    go_on = asyncio.Event()

    async def wait(state: State) -> dict[str, Any]:
        await go_on.wait()
        return {"lines": ["ran"]}

    graph = chain(State, {"wait": wait}, name="queueing")
    client, config = stage.use(graph), stage.thread()
    plain = GraphClient(stage.client, graph.name, task_queue=stage.task_queue)
    async with stage.serving(graph):
        await client.astart({"query": "x"}, config)
        queued = await plain.astart({"query": 7}, config, on_busy="enqueue")
        go_on.set()
        with pytest.raises(InvalidInputError, match="got int"):
            await queued.result()
        state = await client.aget_state(config)
        assert state.values == {"query": "x", "lines": ["ran"]}
        assert ["got int" in error for error in state.errors] == [True]
        assert await status(stage, config) == "refused"


@pytest.mark.parametrize("expected", ["complete", "failed", "waiting"])
async def test_a_refused_command_leaves_a_closed_thread_its_status(stage: Stage, expected: str) -> None:
    """The run of a refused update ends, so the thread does not run; a fork that is refused makes no thread."""

    def node(state: State) -> dict[str, Any]:
        if expected == "failed":
            raise ConnectionError("no")
        return {"lines": ["ran"]}

    graph = chain(State, {"node": node, "last": lambda state: {}}, name="closed")
    client, config, fork = stage.use(graph), stage.thread(), stage.thread()
    plain = GraphClient(stage.client, graph.name, task_queue=stage.task_queue)
    async with stage.serving(graph):
        await asyncio.gather(client.ainvoke({"query": "x"}, config), return_exceptions=True)
        if expected == "waiting":
            await client.aupdate_state(config, {"query": "y"}, as_node="node")
        assert await status(stage, config) == expected
        runs = await stage.runs(config["configurable"]["thread_id"])
        with pytest.raises(StepgraphError, match="got int"):
            await plain.aupdate_state(config, {"query": 7}, as_node="human")
        assert len(await stage.runs(config["configurable"]["thread_id"])) == len(runs) + 1
        assert await status(stage, config) == expected
        with pytest.raises(StepgraphError, match="got int"):
            await plain.afork(config, {"query": 7}, as_node="human", thread_id=fork["configurable"]["thread_id"])
        assert await status(stage, fork) == "refused"


async def test_a_run_that_reaches_its_limit_has_failed(stage: Stage) -> None:
    """The search attribute says so, though no task has failed, and the snapshot says why."""
    builder = StateGraph(State)
    builder.add_node("again", lambda state: {"lines": ["ran"]})
    builder.add_edge(START, "again")
    builder.add_conditional_edges("again", lambda state: "again" if len(state["lines"]) < 9 else END, ["again", END])
    graph = builder.compile(name="limited")
    client, config = stage.use(graph), stage.thread(recursion_limit=2)
    async with stage.serving(graph):
        with pytest.raises(GraphRecursionError):
            await client.ainvoke({"query": "x"}, config)
        assert await status(stage, config) == "failed"
        (error,) = (await client.aget_state(config)).errors
        assert error.startswith("The latest run failed: ")
        await client.ainvoke(None, {"configurable": config["configurable"]})
        assert (await client.aget_state(config)).errors == ()


async def test_a_run_of_another_graph_is_refused(stage: Stage) -> None:
    """A run that fails before it has restored the thread has a status, too, and the thread goes on with its graph."""
    graphs = [chain(State, {"node": lambda state: {"lines": ["ran"]}}, name=name) for name in ("own", "foreign")]
    client, config = stage.use(graphs[0]), stage.thread()
    async with stage.serving(*graphs):
        await client.ainvoke({"query": "x"}, config)
        await start_by_hand(stage, "foreign", config, {"query": "y"})
        assert await status(stage, config) == "refused"
        state = await client.aget_state(config)
        assert state.values == {"query": "x", "lines": ["ran"]}
        assert "belongs to graph 'own'" in "".join(state.errors)
        with pytest.raises(StepgraphError, match="belongs to graph 'own'"):
            await stage.use(graphs[1]).ainvoke({"query": "z"}, config)
        assert (await client.ainvoke({"query": "z"}, config))["lines"] == ["ran", "ran"]
