"""Tests of ``defer=True``: a node that, when it is due, waits until nothing else is due."""

from __future__ import annotations

from operator import add
from typing import Annotated, Any

import pytest
from typing_extensions import TypedDict

from stepgraph import END, START, Command, Send, StateGraph
from stepgraph.engine.checkpoint import TaskResult
from stepgraph.engine.record import Record, record_of, thread_from
from stepgraph.engine.state_update import Update
from stepgraph.engine.thread import Thread
from stepgraph.testing import MemoryRunner
from tests.core.driving import update, write_input

THREAD = {"configurable": {"thread_id": "t"}}


class State(TypedDict, total=False):
    log: Annotated[list[str], add]


def says(name: str) -> Any:
    return lambda state: {"log": [name]}


def builder(edges: str, *deferred: str, **nodes: Any) -> StateGraph:
    """Return a graph with edges such as ``"START a, a b+c"``; nodes without a function log their names."""
    pairs = [edge.split() for edge in edges.split(", ")]
    names = dict.fromkeys(name for pair in pairs for part in pair for name in part.split("+") if name != "START")
    graph = StateGraph(State)
    for name in names | dict.fromkeys(nodes):
        graph.add_node(name, nodes.get(name, says(name)), defer=name in deferred)
    for source, target in pairs:
        sources = [START if name == "START" else name for name in source.split("+")]
        graph.add_edge(sources if len(sources) > 1 else sources[0], target)
    return graph


def log_of(graph: StateGraph) -> list[str]:
    log: list[str] = MemoryRunner(graph.compile(name="g")).invoke({}, THREAD)["log"]
    return log


def test_a_deferred_node_waits_for_longer_branches() -> None:
    """Without `defer` it would run twice, once for each of its edges."""
    edges = "START a, START b, b b2, b2 b3, a z, b3 z"
    assert log_of(builder(edges, "z")) == ["a", "b", "b2", "b3", "z"]
    assert log_of(builder(edges)) == ["a", "b", "b2", "z", "b3", "z"]


def test_deferred_nodes_run_together_and_may_lead_on() -> None:
    """Those that wait are due at once. A deferred node that one of them leads to waits again."""
    assert log_of(builder("START a, a y, START b, b c, c x, y last, x more, more w", "x", "y", "last")) == [
        *("a", "b", "c"),
        *("x", "y"),
        *("more", "w", "last"),
    ]


def test_a_deferred_target_of_a_join_waits_too() -> None:
    """Its sources have finished, and other nodes still run."""
    assert log_of(builder("START a, START b, a+b z, START c, c c2, c2 c3", "z")) == ["a", "b", "c", "c2", "c3", "z"]


def test_sent_tasks_keep_no_deferred_node_waiting() -> None:
    """As in LangGraph: only what edges, routers, commands and joins lead to does."""

    def fan(state: State) -> Command:
        return Command(goto=[Send("work", {}), "z"])

    graph = builder("START fan, work after", "z", fan=fan, z=says("z"))
    with pytest.warns(match="'after', 'work', 'z'"):
        assert log_of(graph) == ["z", "work", "after"]


def test_a_loop_defers_a_node_until_its_last_round() -> None:
    """Each round leads to it; it runs once."""

    def turn(state: State) -> Command:
        rounds = len(state["log"])
        return Command(update={"log": [f"{rounds}"]}, goto=["turn", "z"] if rounds < 3 else [])

    graph = builder("START turn", "z", turn=turn, z=says("z"))
    with pytest.warns(match="'z'"):
        assert log_of(graph) == ["0", "1", "2", "3", "z"]


def thread_at(graph: StateGraph, *finished: str) -> Thread:
    """Return a thread of the graph after super-steps in which all tasks finish, up to these nodes."""
    spec = graph.compile(name="g").registry.spec
    thread = Thread(spec, thread_id="t", run_id="r", clock=lambda: "2026-01-01T00:00:00+00:00")
    write_input(thread, graph.schema.channels, {})
    ran: set[str] = set()
    while not ran.issuperset(finished):
        for task in thread.due():
            thread.finish(task, TaskResult())
            ran.add(task.node)
        thread.commit()
    return thread


def nodes_due(thread: Thread) -> tuple[str, ...]:
    assert thread.head is not None
    return thread.head.nodes


def test_what_waits_goes_into_the_next_run_with_the_checkpoint() -> None:
    """A record has it, and so does a checkpoint that a virtual author's update makes."""
    graph = builder("START a, START b, b b2, b2 b3, a+b y, a z, b3 z", "y", "z")
    thread = thread_at(graph, "b")
    for _ in range(2):
        assert nodes_due(thread) == ("b2",)
        update(thread, graph.schema.channels, thread.head, [Update("human", TaskResult(writes=({"log": ["x"]},)))])
        record = record_of(thread)
        assert record is not None
        again = Record.model_validate_json(record.to_json_text())
        thread = thread_from(
            again, thread.spec, thread_id="t", run_id="next", clock=lambda: "2026-01-02T00:00:00+00:00"
        )
    for expected in (("b3",), ("y", "z"), ()):
        for task in thread.due():
            thread.finish(task, TaskResult())
        thread.commit()
        assert nodes_due(thread) == expected


def test_a_new_input_leaves_deferred_nodes_waiting() -> None:
    """Their time comes when nothing else is due, as in LangGraph. An update as END drops them."""
    runner = MemoryRunner(builder("START a, a z, a b, b c", "z").compile(name="g"))
    assert runner.invoke({}, THREAD, interrupt_before=["b"])["log"] == ["a"]
    assert runner.invoke({}, THREAD, interrupt_before=["b"])["log"] == ["a", "a"]
    assert runner.get_state(THREAD).next == ("b",)
    assert runner.invoke(None, THREAD)["log"] == ["a", "a", "b", "c", "z"]
    runner.invoke({}, THREAD, interrupt_before=["b"])
    runner.update_state(THREAD, None, as_node=END)
    assert runner.get_state(THREAD).next == ()
    assert runner.invoke(None, THREAD)["log"][5:] == ["a"]
