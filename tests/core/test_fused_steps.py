"""Tests of fused super-steps: for any graph, bounds and crashes, fusing changes neither checkpoints nor results."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from operator import add
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import TypedDict

from stepgraph import END, START, RetryPolicy, StateGraph, interrupt
from stepgraph.engine.checkpoint import Task
from stepgraph.engine.failures import failure_from
from stepgraph.engine.thread import Thread
from stepgraph.errors import GraphDefinitionError, GraphRecursionError, InvalidUpdateError, ReducerError
from stepgraph.execution.fused_steps import FusedSteps
from stepgraph.execution.run_code import RunCode
from stepgraph.execution.run_node import run_task
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.protocol.commands import InvokeCommand
from stepgraph.protocol.fused_run import FusedStepsRequest, FusedStepsResult
from stepgraph.protocol.opening import ReadRequest
from stepgraph.protocol.snapshot import snapshot_data
from stepgraph.protocol.task_request import task_request
from stepgraph.testing.memory_run import MemoryRun
from stepgraph_workflows.fused_dispatch import can_fuse, commit_fused
from tests.core.driving import commit, write_input
from tests.core.graphs import state_of

NODES = ("a", "b", "c", "d")
LOOP_LIMIT = 12
"""The number of node runs after which every router leads to END."""


def count_words(left: dict[str, int], right: list[str]) -> dict[str, int]:
    """A reducer that only the graph's code has."""
    return {**left, **{word: left.get(word, 0) + right.count(word) for word in right}}


class State(TypedDict, total=False):
    words: Annotated[list[str], add]
    total: Annotated[int, add]
    counts: Annotated[dict[str, int], count_words]
    single: str


@st.composite
def graphs(draw: st.DrawFn) -> Callable[[bool], CompiledGraph]:
    """Draws a graph.

    The function returned compiles it, with its drawn durabilities or with ``"sync"`` for every node.
    """
    nodes = NODES[: draw(st.integers(2, len(NODES)))]
    durabilities: dict[str, Any] = {node: draw(st.sampled_from([None, "sync", "async"])) for node in nodes}
    graph_durability: Any = draw(st.sampled_from(["sync", "async"]))
    faults = {node: draw(st.sampled_from(["none"] * 6 + ["fails", "interrupts", "clashes"])) for node in nodes}
    threshold = draw(st.integers(0, LOOP_LIMIT))
    routes = {
        node: draw(st.lists(st.lists(st.sampled_from((*nodes, END)), min_size=1, max_size=2), min_size=1, max_size=4))
        for node in (START, *nodes)
    }
    joins = draw(st.lists(st.lists(st.sampled_from(nodes), min_size=1, max_size=3, unique=True), max_size=2))
    join_targets = [draw(st.sampled_from(nodes)) for _ in joins]
    breaks = draw(st.sampled_from([(), (), (nodes[0],)]))

    def build(all_sync: bool) -> CompiledGraph:
        builder = StateGraph(State)
        for node in nodes:
            function = _node(node, faults[node], threshold)
            builder.add_node(node, function, durability="sync" if all_sync else durabilities[node])
        for source, table in routes.items():
            builder.add_conditional_edges(source, _router(table))
        for sources, target in zip(joins, join_targets, strict=True):
            builder.add_edge(sources, target)
        return builder.compile(name="g", durability="sync" if all_sync else graph_durability, interrupt_after=breaks)

    return build


def _node(name: str, fault: str, threshold: int) -> Any:
    def node(state: State) -> dict[str, Any]:
        if state["total"] >= threshold:
            if fault == "fails":
                raise ConnectionError(name)
            if fault == "interrupts":
                interrupt(name)
        update = {"words": [name], "total": 1, "counts": [name] * (state["total"] % 3)}
        return {**update, "single": name} if fault == "clashes" else update

    return node


def _router(table: list[list[str]]) -> Any:
    return lambda state: [END] if state["total"] > LOOP_LIMIT else table[state["total"] % len(table)]


class LocalThread:
    """A thread driven as a workflow would drive it, with its tasks and fused super-steps run in this process."""

    def __init__(self, graph: CompiledGraph) -> None:
        self.registry = graph.registry
        self.ticks = itertools.count()
        self.channels = graph.registry.schema.channels
        self.thread = Thread(graph.registry.spec, thread_id="t", run_id="r", clock=self.clock)
        self.fused_runs = 0
        self.reported: list[FusedStepsResult] = []
        """The progress that was stored before a retry."""
        self.error: Exception | None = None

    def clock(self) -> str:
        return f"tick {next(self.ticks)}"

    def request(self, **bounds: Any) -> FusedStepsRequest:
        """Return the activity's request at the head, after a round trip through JSON."""
        thread = self.thread
        assert thread.head is not None
        request = FusedStepsRequest(
            graph="g",
            thread_id="t",
            run_id="r",
            spec_hash=thread.spec.hash,
            head=thread.head.to_data(),
            state=thread.state,
            checkpoints_made=len(thread.checkpoints),
            steps_left=thread.steps_left,
            breaks=thread.breaks,
            passes_breakpoint=thread.passes_breakpoint,
            **{"max_steps": 100, "max_seconds": 60.0, "max_bytes": 1_000_000, **bounds},
        )
        return FusedStepsRequest.model_validate_json(request.model_dump_json(exclude_defaults=True))

    def fused_steps(self, request: FusedStepsRequest) -> FusedSteps:
        assert request.state is not None

        async def report() -> None:
            self.reported.append(steps.result)

        steps = FusedSteps(
            self.registry, request, request.state, run_sync=asyncio.to_thread, clock=self.clock, report=report
        )
        return steps

    async def run_fused(self, steps_until_crash: Callable[[], int], **bounds: Any) -> FusedStepsResult:
        """Run one activity whose worker crashes repeatedly.

        Args:
            steps_until_crash: called for each attempt. Its worker is lost when the result has so many super-steps.
            bounds: the request's limits.
        """
        request, progress = self.request(**bounds), FusedStepsResult()
        while True:
            fused = self.fused_steps(request)
            fused.restore_progress(progress)
            limit = steps_until_crash()
            await fused.run(should_stop=lambda fused=fused, limit=limit: len(fused.result.steps) >= limit)  # type: ignore[misc]
            progress = FusedStepsResult.model_validate_json(fused.result.model_dump_json(exclude_defaults=True))
            if len(progress.steps) < limit or limit > 50:
                return progress

    async def run_task(self, task: Task) -> None:
        """Run one task as an activity of its own."""
        request = task_request(self.thread, task, {})
        try:
            code = RunCode(self.registry, self.thread.spec)
            result = await run_task(code, request, self.thread.state, run_sync=asyncio.to_thread)
        except Exception as error:
            self.thread.fail(task, failure_from(error, attempts=1))
        else:
            self.thread.finish(task, result)

    async def run(self, steps_until_crash: Callable[[], int], **bounds: Any) -> None:
        """Run the thread until it is idle, fails or waits."""
        thread, head_to_run_individually = self.thread, None
        try:
            while (tasks := thread.due()) or thread.complete:
                if tasks and can_fuse(thread, tasks) and thread.head_id != head_to_run_individually:
                    result = await self.run_fused(steps_until_crash, **bounds)
                    commit_fused(thread, result)
                    self.fused_runs += 1
                    head_to_run_individually = thread.head_id if result.run_individually else None
                else:
                    for task in tasks:
                        thread.start(task)
                        await self.run_task(task)
                if thread.failures:
                    return
                if thread.complete:
                    commit(thread, self.channels)
        except (InvalidUpdateError, GraphRecursionError) as error:
            self.error = error

    def observed(self) -> Mapping[str, Any]:
        """Return everything that can be observed of the thread, except for times."""
        checkpoints = [replace(checkpoint, created_at="") for checkpoint in self.thread.checkpoints]
        snapshots = [{**snapshot_data(self.thread, each), "created_at": ""} for each in self.thread.checkpoints]
        failures = {task: (failure.error_type, failure.error_message) for task, failure in self.thread.failures.items()}
        for snapshot in snapshots:
            for task in snapshot["tasks"]:
                task["error"] = bool(task["error"])  # the traceback differs: it names the code that called the node
        return {
            "checkpoints": checkpoints,
            "snapshots": snapshots,
            "failures": failures,
            "results": self.thread.results,
            "interrupts": self.thread.waiting_interrupts,
            "paused": self.thread.paused,
            "steps_left": self.thread.steps_left,
            "error": str(self.error),
        }


@settings(max_examples=150, deadline=None)
@given(build=graphs(), data=st.data())
def test_fused_super_steps_give_the_same_checkpoints_as_separate_ones(
    build: Callable[[bool], CompiledGraph], data: st.DataObject
) -> None:
    """Checkpoints, results, failures and interrupts are equal, whatever the bounds and wherever workers crash."""
    limit = data.draw(st.integers(1, 30))
    bounds = {"max_steps": data.draw(st.integers(1, 8)), "max_bytes": data.draw(st.sampled_from([1, 200, 1_000_000]))}
    threads = []
    for all_sync in (True, False):
        local = LocalThread(build(all_sync))
        local.thread.limit_steps(limit)
        local.thread.accept_input({"total": 0})
        asyncio.run(local.run(lambda: data.draw(st.integers(1, 4) | st.just(99)), **bounds))
        if local.thread.paused:
            local.thread.pass_breakpoint()
            asyncio.run(local.run(lambda: 99, **bounds))
        threads.append(local)
    sync_thread, fused_thread = threads
    assert sync_thread.fused_runs == 0
    assert sync_thread.observed() == fused_thread.observed()


def looping(node: Any, **options: Any) -> CompiledGraph:
    """Return a graph whose only node runs until ``total`` is 20."""
    builder = StateGraph(State)
    builder.add_node("a", node, **options).add_edge(START, "a")
    builder.add_conditional_edges("a", lambda state: END if state["total"] >= 20 else "a")
    return builder.compile(name="g", durability="async")


def started(graph: CompiledGraph) -> LocalThread:
    local = LocalThread(graph)
    write_input(local.thread, local.channels, {"total": 0})
    return local


def nodes_of(thread: Thread, task_ids: Iterable[str]) -> list[str]:
    """Return the nodes of some tasks at the head."""
    assert thread.head is not None
    nodes = {task.id: task.node for task in thread.head.tasks}
    return [nodes[id] for id in task_ids]


def one(state: State) -> dict[str, Any]:
    return {"total": 1}


async def test_each_bound_ends_fused_super_steps_after_a_whole_super_step() -> None:
    """Fused super-steps end when a bound on steps, seconds or bytes is reached, but not before the first super-step."""
    local = started(looping(one))
    for bounds, steps in (
        ({"max_steps": 7}, 7),
        ({"max_seconds": 0.0}, 1),
        ({"max_bytes": 1}, 1),
        ({}, 20),
    ):
        fused = local.fused_steps(local.request(**bounds))
        await fused.run()
        assert len(fused.result.steps) == steps
    fused = local.fused_steps(local.request())
    await fused.run(should_stop=lambda: True)
    assert fused.result.ran == "step 2"


async def test_the_result_describes_the_super_steps_that_ran() -> None:
    """`ran` is a text for people who read an activity's result or its progress."""
    local = started(looping(one))
    fused = local.fused_steps(local.request(max_steps=3))
    assert fused.result.ran == ""
    await fused.run()
    assert fused.result.ran == "steps 2 to 4"


async def test_a_failed_node_is_retried_as_its_retry_policy_says() -> None:
    """A node's retries happen in the same activity, and its config and its recorded failure have the attempt number."""
    attempts: list[int] = []

    def node(state: State, config: Any) -> dict[str, Any]:
        attempts.append(config["metadata"]["attempt"])
        if len(attempts) % 3:
            raise ConnectionError("no route")
        return {"total": 10}

    local = started(looping(node, retry_policy=RetryPolicy(initial_interval=0.0, max_attempts=3)))
    fused = local.fused_steps(local.request())
    await fused.run()
    assert attempts == [1, 2, 3, 1, 2, 3]
    assert len(fused.result.steps) == 2
    attempts.clear()
    local = started(looping(node, retry_policy=RetryPolicy(initial_interval=0.0, max_attempts=2)))
    fused = local.fused_steps(local.request())
    await fused.run()
    (failure,) = fused.result.failures.values()
    assert (failure.attempts, failure.error_message) == (2, "no route")


async def test_a_node_that_exceeds_its_timeout_is_left_to_temporal() -> None:
    """After a timeout the unfinished tasks run individually, so that Temporal can start them elsewhere.

    Finished siblings are kept.
    """
    release = threading.Event()
    builder = StateGraph(State)
    builder.add_node("slow", lambda state: release.wait(20) and None, timeout=0.05)
    builder.add_node("quick", lambda state: {"words": ["quick"]})
    builder.add_edge(START, "slow").add_edge(START, "quick").add_edge("slow", END).add_edge("quick", END)
    local = started(builder.compile(name="g", durability="async"))
    fused = local.fused_steps(local.request())
    await fused.run()
    release.set()
    assert fused.result.run_individually
    assert nodes_of(local.thread, fused.result.results) == ["quick"]
    assert not fused.result.failures


async def test_cancelled_fused_super_steps_keep_what_they_finished() -> None:
    """The result of a cancelled activity has its whole super-steps and the results of siblings that had finished."""
    stuck = asyncio.Event()
    builder = StateGraph(State)

    async def slow(state: State) -> dict[str, Any]:
        if state["total"] > 1:
            await stuck.wait()
        return {"total": 1}

    builder.add_node("slow", slow).add_node("quick", lambda state: {"words": ["quick"]})
    builder.add_edge(START, "slow").add_edge(START, "quick").add_edge("slow", "quick").add_edge("quick", "slow")
    local = started(builder.compile(name="g", durability="async"))
    fused = local.fused_steps(local.request())
    running = asyncio.create_task(fused.run())
    while len(fused.result.steps) < 2 or not fused.result.results:
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert fused.result.ran == "steps 2 to 3"
    commit_fused(local.thread, fused.result)
    assert nodes_of(local.thread, fused.result.results) == ["quick"]
    assert [task.node for task in local.thread.due()] == ["slow"]


async def test_a_reducer_that_fails_is_left_to_the_workflow() -> None:
    """The activity keeps the tasks' results. The workflow meets the error at the commit, and no node runs again."""
    mended: list[bool] = []
    runs: list[int] = []

    def at_most_one(left: list[str], right: list[str]) -> list[str]:
        if left and not mended:
            raise ValueError("full")
        return left + right

    def node(state: Any) -> dict[str, Any]:
        runs.append(state["total"])
        return {"total": 1, "texts": ["x"]}

    builder = StateGraph(state_of({"total": Annotated[int, add], "texts": Annotated[list[str], at_most_one]}))
    builder.add_node("a", node).add_edge(START, "a")
    builder.add_conditional_edges("a", lambda state: END if state["total"] >= 4 else "a")
    local = started(builder.compile(name="g", durability="async"))
    fused = local.fused_steps(local.request())
    await fused.run()
    commit_fused(local.thread, fused.result)
    assert (fused.result.ran, runs, local.thread.failures) == ("step 2", [0, 1], {})
    assert local.thread.complete
    assert [result.unrouted for result in local.thread.results.values()] == [True]

    async def read(request: ReadRequest) -> Any:
        raise AssertionError("the thread has one run")

    workflow = MemoryRun(local.registry, local.thread, {}, read=read)
    with pytest.raises(ReducerError, match="on what 'a' wrote: ValueError: full"):
        await workflow.command("invoke", InvokeCommand())
    mended.append(True)
    await workflow.command("invoke", InvokeCommand())
    assert (runs, local.thread.state["texts"], local.thread.finished) == ([0, 1, 2, 3], ["x"] * 4, True)


async def test_results_too_large_for_one_activity_result_are_run_individually() -> None:
    """A super-step whose results do not fit into one activity result is run again as separate activities."""

    def node(state: State) -> dict[str, Any]:
        return {"total": 1, "single": "x" * 1_000_000}

    local = started(looping(node))
    fused = local.fused_steps(local.request(max_bytes=10_000_000, max_steps=2))
    await fused.run()
    assert (fused.result.ran, fused.result.run_individually) == ("step 2", True)


@pytest.mark.parametrize(
    ("node", "graph", "message"),
    [
        ({}, {"durability": "x"}, "Graph 'g': durability must be 'sync' or 'async' or 'exit', got 'x'"),
        ({"durability": "exit"}, {}, "Node 'a': durability must be 'sync' or 'async', got 'exit'"),
        ({"durability": True}, {}, "Node 'a': durability must be 'sync' or 'async', got True"),
        ({"durability": "async", "task_queue": "gpu"}, {}, "cannot have durability='async' and a task_queue"),
    ],
)
def test_an_invalid_durability_is_refused(node: dict[str, Any], graph: dict[str, Any], message: str) -> None:
    """The message about an invalid durability names the graph or the node."""
    with pytest.raises(GraphDefinitionError, match=message):
        StateGraph(State).add_node("a", one, **node).add_edge(START, "a").compile(name="g", **graph)


def test_a_node_with_its_own_task_queue_is_never_fused() -> None:
    """A node with its own task queue is not fused in an async graph. A node's durability overrides its graph's."""
    builder = StateGraph(State)
    builder.add_node("first", one).add_node("gpu", one, task_queue="gpu").add_node("careful", one, durability="sync")
    builder.add_edge(START, "first").add_edge("first", "gpu").add_edge("gpu", "careful").add_edge("careful", END)
    spec = builder.compile(name="g", durability="async").registry.spec
    assert [spec.fuses(node) for node in (START, "first", "gpu", "careful")] == [True, True, False, False]
