"""Super-steps in a row give the checkpoints that super-steps of their own give: any graph, any mix, any crash."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Mapping
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
from stepgraph.errors import GraphDefinitionError, GraphRecursionError, InvalidUpdateError
from stepgraph.execution.fused_steps import FusedSteps
from stepgraph.execution.run_node import run_task
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.protocol.fused_run import FusedStepsRequest, FusedStepsResult
from stepgraph.protocol.snapshot import view
from stepgraph.protocol.task_request import task_request
from stepgraph_workflows.fused_dispatch import can_fuse, commit_fused

NODES = ("a", "b", "c", "d")
LAST = 12
"""Nodes run after which every road leads to the end."""


class State(TypedDict, total=False):
    words: Annotated[list[str], add]
    total: Annotated[int, add]
    single: str


@st.composite
def graphs(draw: st.DrawFn) -> Callable[[bool], CompiledGraph]:
    """A graph, to be had as drawn, or with every node on its own."""
    nodes = NODES[: draw(st.integers(2, len(NODES)))]
    kinds = {node: draw(st.sampled_from([None, "sync", "async"])) for node in nodes}
    kind = draw(st.sampled_from(["sync", "async"]))
    trouble = {node: draw(st.sampled_from(["none"] * 6 + ["fails", "asks", "clashes"])) for node in nodes}
    when = draw(st.integers(0, LAST))
    roads = {
        node: draw(st.lists(st.lists(st.sampled_from((*nodes, END)), min_size=1, max_size=2), min_size=1, max_size=4))
        for node in (START, *nodes)
    }
    joins = draw(st.lists(st.lists(st.sampled_from(nodes), min_size=1, max_size=3, unique=True), max_size=2))
    targets = [draw(st.sampled_from(nodes)) for _ in joins]
    breaks = draw(st.sampled_from([(), (), (nodes[0],)]))

    def build(alone: bool) -> CompiledGraph:
        builder = StateGraph(State)
        for node in nodes:
            function = _node(node, trouble[node], when)
            builder.add_node(node, function, durability="sync" if alone else kinds[node])
        for source, table in roads.items():
            builder.add_conditional_edges(source, _router(table))
        for sources, target in zip(joins, targets, strict=True):
            builder.add_edge(sources, target)
        return builder.compile(name="g", durability="sync" if alone else kind, interrupt_after=breaks)

    return build


def _node(name: str, trouble: str, when: int) -> Any:
    def node(state: State) -> dict[str, Any]:
        if state["total"] >= when:
            if trouble == "fails":
                raise ConnectionError(name)
            if trouble == "asks":
                interrupt(name)
        update = {"words": [name], "total": 1}
        return {**update, "single": name} if trouble == "clashes" else update

    return node


def _router(table: list[list[str]]) -> Any:
    return lambda state: [END] if state["total"] > LAST else table[state["total"] % len(table)]


class Play:
    """A thread as a workflow has it, whose tasks are run right here."""

    def __init__(self, graph: CompiledGraph) -> None:
        self.registry = graph.registry
        self.ticks = itertools.count()
        channels = graph.registry.schema.channels
        self.thread = Thread(graph.registry.spec, channels, thread_id="t", run_id="r", clock=self.clock)
        self.rows = 0
        self.error: Exception | None = None

    def clock(self) -> str:
        return f"tick {next(self.ticks)}"

    def request(self, **bounds: Any) -> FusedStepsRequest:
        thread = self.thread
        assert thread.head is not None
        given = FusedStepsRequest(
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
        return FusedStepsRequest.model_validate_json(given.model_dump_json(exclude_defaults=True))  # as it travels

    def row(self, request: FusedStepsRequest) -> FusedSteps:
        assert request.state is not None
        return FusedSteps(self.registry, request, request.state, run_sync=asyncio.to_thread, clock=self.clock)

    async def in_a_row(self, cuts: Callable[[], int], **bounds: Any) -> FusedStepsResult:
        """One activity, whose worker is lost as often as ``cuts`` says, each time after so many super-steps."""
        request, told = self.request(**bounds), FusedStepsResult()
        while True:
            row = self.row(request)
            row.go_on_after(told)
            cut = cuts()
            await row.run(should_stop=lambda row=row, cut=cut: len(row.answer.steps) >= cut)  # type: ignore[misc]
            told = FusedStepsResult.model_validate_json(row.answer.model_dump_json(exclude_defaults=True))
            if len(told.steps) < cut or cut > 50:
                return told

    async def alone(self, task: Task) -> None:
        request = task_request(self.thread, task, {})
        try:
            result = await run_task(self.registry, request, self.thread.state, run_sync=asyncio.to_thread)
        except Exception as error:
            self.thread.fail(task, failure_from(error, attempts=1))
        else:
            self.thread.finish(task, result)

    async def go_on(self, cuts: Callable[[], int], **bounds: Any) -> None:
        thread, alone = self.thread, None
        try:
            while tasks := thread.due():
                if can_fuse(thread, tasks) and thread.head_id != alone:
                    answer = await self.in_a_row(cuts, **bounds)
                    commit_fused(thread, answer)
                    self.rows += 1
                    alone = thread.head_id if answer.run_individually else None
                else:
                    for task in tasks:
                        thread.start(task)
                        await self.alone(task)
                if thread.failures:
                    return
                if thread.complete:
                    thread.commit()
        except (InvalidUpdateError, GraphRecursionError) as error:
            self.error = error

    def told(self) -> Mapping[str, Any]:
        """All there is to see of the thread, but for the times."""
        made = [replace(checkpoint, created_at="") for checkpoint in self.thread.checkpoints]
        shown = [{**view(self.thread, each), "created_at": ""} for each in self.thread.checkpoints]
        failures = {task: (why.error_type, why.error_message) for task, why in self.thread.failures.items()}
        for each in shown:
            for task in each["tasks"]:
                task["error"] = bool(task["error"])  # its traceback says through whom it came
        return {
            "made": made,
            "shown": shown,
            "failures": failures,
            "results": self.thread.results,
            "asked": self.thread.waiting_interrupts,
            "paused": self.thread.paused,
            "left": self.thread.steps_left,
            "error": str(self.error),
        }


@settings(max_examples=150, deadline=None)
@given(build=graphs(), data=st.data())
def test_a_row_gives_the_checkpoints_of_super_steps_of_their_own(
    build: Callable[[bool], CompiledGraph], data: st.DataObject
) -> None:
    """Ids, values, triggers, joins, writes; what failed or is asked; whatever the bounds, wherever workers are lost."""
    limit = data.draw(st.integers(1, 30))
    bounds = {"max_steps": data.draw(st.integers(1, 8)), "max_bytes": data.draw(st.sampled_from([1, 200, 1_000_000]))}
    plays = []
    for alone in (True, False):
        play = Play(build(alone))
        play.thread.limit_steps(limit)
        play.thread.accept_input({"total": 0})
        asyncio.run(play.go_on(lambda: data.draw(st.integers(1, 4) | st.just(99)), **bounds))
        if play.thread.paused:
            play.thread.pass_breakpoint()
            asyncio.run(play.go_on(lambda: 99, **bounds))
        plays.append(play)
    assert plays[0].rows == 0
    assert plays[0].told() == plays[1].told()


def looping(node: Any, **options: Any) -> CompiledGraph:
    """A node that runs until ``total`` is 20."""
    builder = StateGraph(State)
    builder.add_node("a", node, **options).add_edge(START, "a")
    builder.add_conditional_edges("a", lambda state: END if state["total"] >= 20 else "a")
    return builder.compile(name="g", durability="async")


def begun(graph: CompiledGraph) -> Play:
    play = Play(graph)
    play.thread.accept_input({"total": 0})
    play.thread.due()
    return play


def one(state: State) -> dict[str, Any]:
    return {"total": 1}


async def test_a_bound_ends_a_row_at_a_boundary() -> None:
    """In super-steps, seconds and bytes; at least one super-step is run, whatever they are."""
    play = begun(looping(one))
    for bounds, steps in (
        ({"max_steps": 7}, 7),
        ({"max_seconds": 0.0}, 1),
        ({"max_bytes": 1}, 1),
        ({}, 20),
    ):
        row = play.row(play.request(**bounds))
        await row.run()
        assert len(row.answer.steps) == steps
    row = play.row(play.request())
    await row.run(should_stop=lambda: True)
    assert row.answer.ran == "step 2"


async def test_what_is_run_is_told_in_words() -> None:
    """For whoever looks at an activity's result, or at its progress."""
    play = begun(looping(one))
    row = play.row(play.request(max_steps=3))
    assert row.answer.ran == ""
    await row.run()
    assert row.answer.ran == "steps 2 to 4"


async def test_a_failure_is_tried_again_as_its_policy_says() -> None:
    """In the same process; the attempts are counted, and told to the node."""
    attempts: list[int] = []

    def node(state: State, config: Any) -> dict[str, Any]:
        attempts.append(config["metadata"]["attempt"])
        if len(attempts) % 3:
            raise ConnectionError("no route")
        return {"total": 10}

    play = begun(looping(node, retry_policy=RetryPolicy(initial_interval=0.001, max_attempts=3)))
    row = play.row(play.request())
    await row.run()
    assert attempts == [1, 2, 3, 1, 2, 3]
    assert len(row.answer.steps) == 2
    attempts.clear()
    play = begun(looping(node, retry_policy=RetryPolicy(initial_interval=0.001, max_attempts=2)))
    row = play.row(play.request())
    await row.run()
    assert row.answer.failures["a"].attempts == 2
    assert row.answer.failures["a"].error_message == "no route"


async def test_a_node_that_takes_too_long_is_left_to_temporal() -> None:
    """Which can start it elsewhere; its finished sibling's result is kept."""
    release = threading.Event()
    builder = StateGraph(State)
    builder.add_node("slow", lambda state: release.wait(20) and None, timeout=0.05)
    builder.add_node("quick", lambda state: {"words": ["quick"]})
    builder.add_edge(START, "slow").add_edge(START, "quick").add_edge("slow", END).add_edge("quick", END)
    play = begun(builder.compile(name="g", durability="async"))
    row = play.row(play.request())
    await row.run()
    release.set()
    assert row.answer.run_individually
    assert list(row.answer.results) == ["quick"]
    assert not row.answer.failures


async def test_a_row_that_is_cancelled_tells_what_it_did() -> None:
    """Whole super-steps, and the siblings that had finished."""
    stuck = asyncio.Event()
    builder = StateGraph(State)

    async def slow(state: State) -> dict[str, Any]:
        if state["total"] > 1:
            await stuck.wait()
        return {"total": 1}

    builder.add_node("slow", slow).add_node("quick", lambda state: {"words": ["quick"]})
    builder.add_edge(START, "slow").add_edge(START, "quick").add_edge("slow", "quick").add_edge("quick", "slow")
    play = begun(builder.compile(name="g", durability="async"))
    row = play.row(play.request())
    running = asyncio.create_task(row.run())
    while len(row.answer.steps) < 2 or "quick" not in row.answer.results:
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert row.answer.ran == "steps 2 to 3"
    assert list(row.answer.results) == ["quick"]
    commit_fused(play.thread, row.answer)
    assert [task.node for task in play.thread.due()] == ["slow"]


async def test_results_too_large_to_travel_together_are_run_again_alone() -> None:
    """Rather than lost, or refused by the server."""

    def node(state: State) -> dict[str, Any]:
        return {"total": 1, "single": "x" * 1_000_000}

    play = begun(looping(node))
    row = play.row(play.request(max_bytes=10_000_000, max_steps=2))
    await row.run()
    assert (row.answer.ran, row.answer.run_individually) == ("step 2", True)


@pytest.mark.parametrize(
    ("node", "graph", "says"),
    [
        ({}, {"durability": "exit"}, "Graph 'g': durability must be 'sync' or 'async', got 'exit'"),
        ({"durability": True}, {}, "Node 'a': durability must be 'sync' or 'async', got True"),
        ({"durability": "async", "task_queue": "gpu"}, {}, "cannot have durability='async' and a task_queue"),
    ],
)
def test_a_durability_that_cannot_be_is_refused(node: dict[str, Any], graph: dict[str, Any], says: str) -> None:
    """By name."""
    with pytest.raises(GraphDefinitionError, match=says):
        StateGraph(State).add_node("a", one, **node).add_edge(START, "a").compile(name="g", **graph)


def test_a_node_with_a_task_queue_of_its_own_is_on_its_own() -> None:
    """Also in a graph that is async; and a node's word counts more than its graph's."""
    builder = StateGraph(State)
    builder.add_node("here", one).add_node("there", one, task_queue="gpu").add_node("careful", one, durability="sync")
    builder.add_edge(START, "here").add_edge("here", "there").add_edge("there", "careful").add_edge("careful", END)
    spec = builder.compile(name="g", durability="async").registry.spec
    assert [spec.fuses(node) for node in (START, "here", "there", "careful")] == [True, True, False, False]
