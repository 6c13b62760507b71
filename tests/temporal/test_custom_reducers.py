"""Tests of reducers that only the graph's code has, on a real server: they run in activities, and never in a replay."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import CancelledError

from stepgraph import END, START, GraphClient, Overwrite, StateGraph
from stepgraph.engine.record import Record
from stepgraph.errors import InvalidInputError, InvalidUpdateError, ReducerError
from stepgraph.graph.compiled import CompiledGraph
from tests.conftest import Stage
from tests.patience import eventually


@dataclass
class Reducer:
    """A reducer that a test makes slow, or has fail."""

    fails: bool = False
    blocks: threading.Event | None = None
    seconds: float = 0
    error: BaseException | None = None
    swallows: bool = False
    """Whether it goes on when it is cancelled."""
    cancelled: bool = False
    begun: threading.Event = field(default_factory=threading.Event)
    calls: int = 0

    def __call__(self, left: list[str], right: list[str]) -> list[str]:
        self.calls += 1
        self.begun.set()
        time.sleep(self.seconds)
        while self.blocks is not None and not self._waited():
            pass
        if self.error is not None:
            raise self.error
        if self.fails:
            raise ValueError("cannot fold")
        return sorted({*left, *right})

    def _waited(self) -> bool:
        try:
            return self.blocks is None or self.blocks.wait(0.05)
        except asyncio.CancelledError:
            self.cancelled = True
            if not self.swallows:
                raise
            return False


def graph_with(reducer: Reducer, *, size: int = 1, ran: list[str] | None = None) -> CompiledGraph:
    """Return a graph of two nodes that write one channel side by side, and of a router after one of them."""
    state: Any = TypedDict("State", {"words": Annotated[list[str], reducer], "total": int})  # type: ignore[misc]

    def node(name: str) -> Any:
        def write(view: dict[str, Any]) -> dict[str, Any]:
            (ran if ran is not None else []).append(name)
            return {"words": [name * size]}

        return write

    builder = StateGraph(state)
    for name in ("left", "right", "after"):
        builder.add_node(name, node(name))
    builder.add_edge(START, "left").add_edge(START, "right").add_edge("left", END).add_edge("after", END)
    builder.add_conditional_edges("right", lambda view: "after" if view["words"] else END, ["after", END])
    return builder.compile(name="reducing")


async def event_types(stage: Stage, config: dict[str, Any]) -> list[int]:
    """Return the types of all events of a thread's runs."""
    runs = await stage.runs(config["configurable"]["thread_id"])
    return [event.event_type for run in runs for event in (await stage.history(run)).events]


@pytest.mark.parametrize("size", [1, 5000], ids=["inline", "writes that the activity queries"])
async def test_a_reducer_that_raises_is_mended_without_running_nodes_again(stage: Stage, size: int) -> None:
    """The error names the channel; the results stay. After the mend, a resume folds them and asks the routers."""
    reducer, ran = Reducer(fails=True), list[str]()
    graph = graph_with(reducer, size=size, ran=ran)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(ReducerError, match="The reducer of channel 'words' failed in step 2 on what 'left' wrote"):
            await client.ainvoke({"total": 1}, config)
        head = await client.aget_state(config)
        assert [task.result for task in head.tasks] == [{"words": ["left" * size]}, {"words": ["right" * size]}]
        reducer.fails = False
        assert await client.ainvoke(None, config) == {
            "words": sorted(name * size for name in ("left", "right", "after")),
            "total": 1,
        }
    assert sorted(ran) == ["after", "left", "right"]
    assert EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED not in await event_types(stage, config)


async def test_a_replay_calls_no_reducer(stage: Stage) -> None:
    """Replays, queries and reads work on what the history records."""
    reducer = Reducer()
    graph = graph_with(reducer)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph, max_cached_workflows=0):  # so that each workflow task replays
        await client.ainvoke({"words": ["in"], "total": 1}, config)
        calls = reducer.calls
        history = [snapshot.values for snapshot in [each async for each in client.aget_state_history(config)]]
    await stage.replay()
    assert [values.get("words") for values in history] == [
        ["after", "in", "left", "right"],
        ["in", "left", "right"],
        ["in"],
        None,
    ]
    assert reducer.calls == calls


async def test_a_slow_reducer_does_not_trip_the_deadlock_detector(stage: Stage) -> None:
    """A workflow task may compute for 2 seconds. A reducer may take its time, because it runs in an activity."""
    reducer = Reducer(seconds=3)
    graph = graph_with(reducer)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        assert (await client.ainvoke({"words": ["in"], "total": 1}, config))["words"] == [
            "after",
            "in",
            "left",
            "right",
        ]
    assert EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED not in await event_types(stage, config)


async def test_a_run_is_cancelled_while_writes_are_applied(stage: Stage) -> None:
    """Temporal's cancel ends the run although a reducer is at work; the thread goes on with what it had."""
    reducer = Reducer()
    graph = graph_with(reducer)
    client, config = stage.use(graph), stage.thread()
    handle = stage.client.get_workflow_handle(config["configurable"]["thread_id"])
    async with stage.serving(graph):
        await client.ainvoke({"words": ["in"], "total": 1}, config)
        reducer.blocks, reducer.begun = threading.Event(), threading.Event()
        update = asyncio.ensure_future(client.aupdate_state(config, {"words": ["by hand"]}, as_node="human"))
        await eventually(reducer.begun.is_set)
        await handle.cancel()
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
        assert isinstance(caught.value.cause, CancelledError)
        reducer.blocks = None
        update.cancel()
        await asyncio.gather(update, return_exceptions=True)
        assert (await client.aget_state(config)).values["words"] == ["after", "in", "left", "right"]
        await client.aupdate_state(config, {"words": ["by hand"]}, as_node="human")
        assert (await client.aget_state(config)).values["words"] == ["after", "by hand", "in", "left", "right"]


async def test_an_input_started_by_hand_is_coerced_by_the_graphs_code(stage: Stage) -> None:
    """`temporal workflow start` brings plain JSON: what the declared types take is converted, the rest is refused."""
    graph = graph_with(Reducer())
    stage.use(graph)
    client = GraphClient(stage.client, graph.name, task_queue=stage.task_queue)
    started, wrong = stage.thread(), stage.thread()
    async with stage.serving(graph):
        for config, total in ((started, "7"), (wrong, "many")):
            await stage.client.start_workflow(
                graph.name,
                {"words": ["in"], "total": total},
                id=config["configurable"]["thread_id"],
                task_queue=stage.task_queue,
            )
        run, refused = await client.aget_run(started), await client.aget_run(wrong)
        assert run is not None
        assert refused is not None
        assert (await run.result())["total"] == 7
        with pytest.raises(InvalidInputError, match="'total' is declared int, got str"):
            await refused.result()
        assert (await client.aget_state(wrong)).values == {}


async def test_an_update_that_does_not_fit_changes_nothing(stage: Stage) -> None:
    """The caller gets the error of the graph's code: of a type, of a reducer; the checkpoints stay as they were."""
    reducer = Reducer()
    graph = graph_with(reducer)
    client, config = stage.use(graph), stage.thread()
    plain = GraphClient(stage.client, graph.name, task_queue=stage.task_queue)
    async with stage.serving(graph):
        await client.ainvoke({"words": ["in"], "total": 1}, config)
        before = [each async for each in client.aget_state_history(config)]
        with pytest.raises(InvalidUpdateError, match="'total' is declared int"):
            await plain.aupdate_state(config, {"total": "many"}, as_node="human")
        reducer.fails = True
        with pytest.raises(ReducerError, match="cannot fold"):
            await client.aupdate_state(config, {"words": ["x"]}, as_node="human")
        assert [each async for each in client.aget_state_history(config)] == before
        await client.aupdate_state(config, {"words": Overwrite(["anew"])}, as_node="human")
        assert (await client.aget_state(config)).values["words"] == ["anew"]


async def test_a_record_holds_what_the_next_run_folds_on(stage: Stage) -> None:
    """The versions of channels with a custom reducer cross from run to run, so an old change is never taken again."""
    reducer = Reducer()
    graph = graph_with(reducer)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        run = await client.astart({"words": ["in"], "total": 1}, config)
        record = await run.record()
        assert record.checkpoint.versions == {"words": record.checkpoint.id}
        assert Record.model_validate(record.to_json()) == record
        assert (await client.ainvoke({"words": ["more"]}, config))["words"] == ["after", "in", "left", "more", "right"]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()])
async def test_a_reducer_that_raises_no_ordinary_exception_fails_like_others(
    stage: Stage, error: BaseException
) -> None:
    """It ends neither its worker nor the node that wrote; after the mend, nothing runs again."""
    reducer, ran = Reducer(), list[str]()
    reducer.error = error
    graph = graph_with(reducer, ran=ran)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(ReducerError, match=type(error).__name__):
            await client.ainvoke({"total": 1}, config)
        reducer.error = None
        assert (await client.ainvoke(None, config))["words"] == ["after", "left", "right"]
    assert sorted(ran) == ["after", "left", "right"]


async def test_a_cancel_counts_although_a_reducer_goes_on(stage: Stage) -> None:
    """A reducer that finishes in spite of the cancel does not undo it: no further node runs."""
    ran = list[str]()
    reducer = Reducer(blocks=threading.Event(), swallows=True)
    graph = graph_with(reducer, ran=ran)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        run = await client.astart({"words": ["in"], "total": 1}, config)
        await eventually(reducer.begun.is_set)
        handle = stage.client.get_workflow_handle(run.thread_id)
        await handle.cancel()
        await eventually(lambda: reducer.cancelled)
        assert reducer.blocks is not None
        reducer.blocks.set()
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
        assert isinstance(caught.value.cause, CancelledError)
    assert ran == []
