"""Durability ``"async"`` on a real server: fused super-steps, what clients see of them, and what interrupts them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from operator import add
from typing import Annotated, Any

import pytest
from temporalio import activity
from temporalio.api.enums.v1 import EventType
from typing_extensions import TypedDict

from stepgraph import END, START, Command, RetryPolicy, StateGraph, interrupt
from stepgraph.errors import GraphRecursionError, NodeError, ReducerError, ThreadBusyError
from stepgraph.execution.fused_steps import FusedSteps
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.protocol.config import parse_config
from stepgraph.protocol.fused_run import FusedStepsResult
from stepgraph.protocol.interrupts import Interrupt
from stepgraph.protocol.snapshot import StateSnapshot
from stepgraph.temporal.state_cache import process_cache
from stepgraph.testing import MemoryRunner
from tests.conftest import Stage
from tests.patience import PATIENCE, eventually


class State(TypedDict, total=False):
    n: Annotated[int, add]
    log: Annotated[list[str], add]
    top: int


def picky(left: int, right: int) -> int:
    if left + right == 4:
        raise ValueError("not four")
    return left + right


class Picky(TypedDict):
    n: Annotated[int, picky]
    top: int


def one(state: State) -> dict[str, Any]:
    return {"n": 1}


def until_top(state: State) -> str:
    return END if state["n"] >= state["top"] else "one"


def loop(node: Any = one, *, name: str = "loop", **options: Any) -> CompiledGraph:
    """Return a graph whose node runs until ``n`` is ``top``."""
    builder = StateGraph(State)
    builder.add_node("one", node, **options).add_edge(START, "one").add_conditional_edges("one", until_top)
    return builder.compile(name=name, durability="async")


@pytest.fixture
def _no_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many super-steps are fused depends on their number alone, not on the time that they take."""
    monkeypatch.setenv("STEPGRAPH_FUSED_SECONDS", "3600")


async def activities(stage: Stage, config: dict[str, Any]) -> list[tuple[str, str]]:
    """Return type and summary of the activities of a thread's runs, oldest first."""
    scheduled = []
    for run in reversed(await stage.runs(parse_config(config).thread_id)):
        for event in (await stage.history(run)).events:
            if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                summary = event.user_metadata.summary.data.decode().strip('"')
                scheduled.append((event.activity_task_scheduled_event_attributes.activity_type.name, summary))
    return scheduled


def comparable(snapshots: list[StateSnapshot]) -> list[Any]:
    """Return the content of snapshots without ids and times."""
    return [(s.values, s.next, s.metadata, [(t.name, t.result, t.interrupts) for t in s.tasks]) for s in snapshots]


@pytest.mark.usefixtures("_no_time_limit")
async def test_a_long_loop_is_a_few_activities(stage: Stage) -> None:
    """The history of fused super-steps has each of them, with its own time, and equals the history made in memory."""
    graph = loop()
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        assert await client.ainvoke({"n": 0, "top": 300}, config) == {"n": 300, "log": [], "top": 300}
        history = [s async for s in client.aget_state_history(config)]
    runner = MemoryRunner(graph)
    runner.invoke({"n": 0, "top": 300}, config)
    assert comparable(history) == comparable(list(runner.get_state_history(config)))
    assert len({s.created_at for s in history}) > 250
    ran = await activities(stage, config)
    assert ran[0] == ("loop.steps", "steps from 2")
    assert len(ran) < 20


@pytest.mark.usefixtures("_no_time_limit")
async def test_settings_limit_fused_steps_and_the_length_of_a_run(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings limit the super-steps of an activity and of a run, for which a fused super-step counts a quarter."""
    monkeypatch.setenv("STEPGRAPH_FUSED_STEPS", "10")
    monkeypatch.setenv("STEPGRAPH_CONTINUE_AS_NEW_STEPS", "15")
    graph = loop()
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        await client.ainvoke({"n": 0, "top": 100}, config)
        history = [s async for s in client.aget_state_history(config)]
    assert [s.metadata["step"] for s in history if s.metadata] == list(range(101, -1, -1))
    assert [summary for _, summary in await activities(stage, config)][:3] == [
        "steps from 2",
        "steps from 12",
        "steps from 22",
    ]
    assert 2 <= len(await stage.runs(parse_config(config).thread_id)) <= 4


@pytest.mark.usefixtures("_no_time_limit")
async def test_a_node_may_have_another_durability_than_its_graph(stage: Stage) -> None:
    """A sync node has its own activity between fused super-steps; so has an async node in a graph that is sync."""
    builder = StateGraph(State)
    for name, durability in (("a", None), ("b", "async"), ("c", None), ("pay", "sync"), ("d", None)):
        builder.add_node(name, lambda state, name=name: {"log": [name]}, durability=durability)  # type: ignore[misc,arg-type]
    for source, target in ((START, "a"), ("a", "b"), ("b", "c"), ("c", "pay"), ("pay", "d"), ("d", END)):
        builder.add_edge(source, target)
    for default, expected in (
        ("async", ["mixed-async.steps", "mixed-async.pay", "mixed-async.steps"]),
        ("sync", ["mixed-sync.a", "mixed-sync.steps", "mixed-sync.c", "mixed-sync.pay", "mixed-sync.d"]),
    ):
        graph = builder.compile(name=f"mixed-{default}", durability=default)  # type: ignore[arg-type]
        client, config = stage.use(graph), stage.thread()
        async with stage.serving(graph):
            assert (await client.ainvoke({}, config))["log"] == ["a", "b", "c", "pay", "d"]
        assert [kind for kind, _ in await activities(stage, config)] == expected


async def test_a_failure_in_fused_steps_names_its_node_and_step(stage: Stage) -> None:
    """The super-steps before a failed node are kept, and a resume goes on from there."""
    broken = True
    ran: list[str] = []

    def shaky(state: State) -> dict[str, Any]:
        ran.append("shaky")
        if broken and state["n"] == 3:
            raise ConnectionError("no route")
        return {"n": 1}

    async def beside(state: State) -> dict[str, Any]:
        ran.append("beside")
        return {"log": [str(state["n"])]}

    builder = StateGraph(State)
    builder.add_node("one", shaky).add_node("beside", beside)
    builder.add_edge(START, "one").add_conditional_edges("one", until_top).add_conditional_edges(
        "one", lambda state: "beside" if state["n"] == 3 else END
    )
    builder.add_edge("beside", END)
    graph = builder.compile(name="shaky", durability="async")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(ConnectionError) as caught:
            await client.ainvoke({"n": 0, "top": 6}, config)
        assert isinstance(caught.value, NodeError)
        assert (caught.value.parts["node"], caught.value.parts["step"]) == ("one", 5)
        state = await client.aget_state(config)
        assert (state.next, state.values["n"]) == (("one",), 3)
        broken = False
        ran.clear()
        assert await client.ainvoke(None, config) == {"n": 6, "log": ["3"], "top": 6}
        assert ran == ["shaky"] * 3


@pytest.mark.usefixtures("_no_time_limit")
async def test_a_node_is_retried_within_fused_steps(stage: Stage) -> None:
    """The retry policy of a node applies, and a retry needs no further activity."""
    attempts: list[int] = []

    def node(state: State, config: Any) -> dict[str, Any]:
        attempts.append(config["metadata"]["attempt"])
        if len(attempts) == 2:
            raise ConnectionError("no route")
        return {"n": 1}

    graph = loop(node, retry_policy=RetryPolicy(initial_interval=0.0))
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        assert (await client.ainvoke({"n": 0, "top": 3}, config))["n"] == 3
    assert attempts == [1, 1, 2, 1]
    assert len(await activities(stage, config)) == 1


async def test_fused_steps_stop_at_interrupts_and_breakpoints(stage: Stage) -> None:
    """An interrupt keeps its deadline; a breakpoint holds the thread before every node that it names."""

    def node(state: State) -> dict[str, Any]:
        if state["n"] == 4:
            answer = interrupt("go on?", timeout=3600, default="no")
            return {"n": 1, "log": [answer]}
        return {"n": 1}

    graph = loop(node)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        waiting = await client.ainvoke({"n": 0, "top": 8}, config)
        (pending,) = waiting["__interrupt__"]
        assert isinstance(pending, Interrupt)
        assert (waiting["n"], pending.value, pending.deadline is not None) == (4, "go on?", True)
        assert await client.ainvoke(Command(resume="yes"), config) == {"n": 8, "log": ["yes"], "top": 8}
        other = stage.thread()
        await client.ainvoke({"n": 5, "top": 8}, other, interrupt_before=["one"])
        assert (await client.aget_state(other)).values["n"] == 5
        await client.ainvoke(None, other, interrupt_before=["one"])
        assert (await client.aget_state(other)).values["n"] == 6


async def test_the_recursion_limit_and_reducer_errors_end_fused_steps(stage: Stage) -> None:
    """A run that ends at the recursion limit or with a reducer's error leaves its record, so it can be resumed."""
    graph = loop()
    client, config = stage.use(graph), stage.thread(recursion_limit=7)
    async with stage.serving(graph):
        with pytest.raises(GraphRecursionError, match="took the 7 super-steps"):
            await client.ainvoke({"n": 0, "top": 9}, config)
        assert (await client.aget_state(config)).values["n"] == 7
        assert (await client.ainvoke(None, config))["n"] == 9

    builder = StateGraph(Picky)
    builder.add_node("one", lambda state: {"n": 1}).add_node("two", lambda state: {"n": 1})
    builder.add_edge(START, "one").add_edge("one", "two").add_edge("two", END)
    summing = builder.compile(name="picky", durability="async")
    client, config = stage.use(summing), stage.thread()
    async with stage.serving(summing):
        with pytest.raises(ReducerError, match="'n' failed in step 3"):
            await client.ainvoke({"n": 2, "top": 9}, config)
        state = await client.aget_state(config)
        assert (state.values["n"], state.tasks[0].result) == (3, {"n": 1})


async def test_a_thread_takes_queries_and_updates_while_fused_steps_run(stage: Stage) -> None:
    """A query is answered at once, an update and a signal at the next boundary; a second writer is refused."""

    async def slowly(state: State) -> dict[str, Any]:
        await asyncio.sleep(0.01)
        return {"n": 1}

    graph = loop(slowly)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        run = await client.astart({"n": 0, "top": 100_000}, config)

        async def has_run_twice() -> bool:
            return bool((await client.aget_state(config)).values.get("n", 0) >= 2)

        await eventually(has_run_twice)
        with pytest.raises(ThreadBusyError):
            await client.ainvoke({"n": 0}, config)
        handle = stage.client.get_workflow_handle(run.thread_id)
        await handle.signal("update_state", {"values": {"log": ["signalled"]}, "as_node": "human"})
        updated = await client.aupdate_state(config, {"log": ["updated"], "top": 0}, as_node="human")
        assert (await client.aget_state(updated)).values["log"] == ["signalled", "updated"]
        assert (await run.result())["log"] == ["signalled", "updated"]
        history = [s async for s in client.aget_state_history(config)]
        by_hand = [s.metadata["step"] for s in history if s.metadata and s.metadata["source"] == "update"]
        assert len(by_hand) == 2
        assert 3 < by_hand[0] < len(history) - 1


@pytest.mark.usefixtures("frequent_heartbeats")
async def test_cancelled_fused_steps_keep_what_has_finished(stage: Stage) -> None:
    """After ``on_busy="cancel"``, the super-steps that had finished are in the history, and do not run again."""
    ran: list[int] = []
    go_on = asyncio.Event()

    async def node(state: State) -> dict[str, Any]:
        if state["n"] == 5:
            await go_on.wait()
        ran.append(state["n"])
        return {"n": 1}

    graph = loop(node)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        run = await client.astart({"n": 0, "top": 8}, config)
        await eventually(lambda: ran[-1:] == [4])
        stopping = asyncio.create_task(client.ainvoke({"n": 100}, config, on_busy="cancel"))
        await run.result()
        go_on.set()
        assert (await stopping)["n"] == 106
        history = [s async for s in client.aget_state_history(config)]
    assert ran == [0, 1, 2, 3, 4, 105]
    assert [s.values.get("n") for s in reversed(history)] == [None, 0, 1, 2, 3, 4, 5, 5, 105, 106]


async def test_another_worker_goes_on_with_the_fused_steps_of_one_that_stops(stage: Stage) -> None:
    """A worker that is told to stop ends its fused super-steps after the current one, so no node runs twice."""
    ran: list[int] = []

    async def node(state: State) -> dict[str, Any]:
        ran.append(state["n"])
        while state["n"] == 20 and not activity.is_worker_shutdown():
            await asyncio.sleep(0.01)
        return {"n": 1}

    graph = loop(node)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph, graceful_shutdown_timeout=timedelta(seconds=PATIENCE)):
        run = await client.astart({"n": 0, "top": 120}, config)
        await eventually(lambda: len(ran) > 20)
    assert ran == list(range(21))
    async with stage.serving(graph):
        assert (await run.result())["n"] == 120
    assert ran == list(range(120))


async def test_a_worker_with_another_spec_runs_each_task_as_an_activity(stage: Stage) -> None:
    """A thread keeps the spec that it was started with, and a worker with another spec cannot fuse its super-steps."""
    gate = asyncio.Event()

    async def waits(state: State) -> dict[str, Any]:
        await gate.wait()
        return {"n": 1}

    builder = StateGraph(State)
    builder.add_node("one", waits).add_edge(START, "one").add_conditional_edges("one", until_top)
    old = builder.compile(name="changes", durability="async")
    builder.add_node("two", one).add_edge("one", "two").add_edge("two", END)
    new = builder.compile(name="changes", durability="async")
    client, config = stage.use(old), stage.thread()
    async with stage.serving(old, graceful_shutdown_timeout=timedelta(0)):
        run = await client.astart({"n": 0, "top": 3}, config)
        await eventually(lambda: activities(stage, config))
    gate.set()
    stage.use(new)
    async with stage.serving(new):
        assert await run.result() == {"n": 3, "log": [], "top": 3}
    assert [kind for kind, _ in await activities(stage, config)] == ["changes.steps", *["changes.one"] * 3]


@pytest.mark.parametrize(
    ("part", "ran"),
    [
        ("__init__", ["loop.steps", "loop.one"] * 2),
        ("restore_progress", ["loop.steps", "loop.one"] * 2),
        ("_commit", ["loop.steps"] * 2),
    ],
)
async def test_after_a_fault_in_fused_steps_the_workflow_runs_tasks_individually(
    stage: Stage, part: str, ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another attempt would meet the same fault. What has run is kept; the rest runs as an activity for each task."""

    def faulty(*_: Any, **__: Any) -> None:
        raise ValueError("a fault in fused steps")

    monkeypatch.setattr(FusedSteps, part, faulty)
    monkeypatch.setattr("stepgraph_activities.fused_activity.reported_progress", lambda model, info: FusedStepsResult())
    graph = loop()
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        assert (await client.ainvoke({"n": 0, "top": 2}, config))["n"] == 2
    assert [kind for kind, _ in await activities(stage, config)] == ran


@pytest.mark.usefixtures("_no_time_limit")
async def test_fused_steps_end_before_their_results_grow_too_large(stage: Stage) -> None:
    """Results that grow too large end the fused super-steps. The next activity queries the state if no cache has it."""

    def node(state: State) -> dict[str, Any]:
        return {"n": 1, "log": ["x" * 100_000]}

    graph = loop(node)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        process_cache.max_bytes, before = 0, process_cache.max_bytes
        try:
            assert len((await client.ainvoke({"n": 0, "top": 15}, config))["log"]) == 15
        finally:
            process_cache.max_bytes = before
    assert 4 <= len(await activities(stage, config)) <= 8
