"""Tests of nodes that fail: the error the caller gets, what the thread keeps, and what a resume runs."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Callable
from operator import add
from typing import Annotated, Any

import pytest
from pydantic_core import from_json, to_json
from typing_extensions import TypedDict

from stepgraph import END, START, StateGraph
from stepgraph.engine.failures import TEXT_LIMIT, failure_from
from stepgraph.errors import EmptyInputError, NodeError, ReducerError, ThreadBusyError
from stepgraph.testing import MemoryRunner
from tests.core.graphs import THREAD, graph, state_of


class State(TypedDict, total=False):
    log: Annotated[list[str], add]


class Harness:
    """Nodes that count their runs, and fail as long as `failing` has an exception for them."""

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()
        self.failing: dict[str, BaseException] = {}

    def node(self, name: str) -> Callable[[State], dict[str, Any]]:
        def run(state: State) -> dict[str, Any]:
            self.runs[name] += 1
            if name in self.failing:
                raise self.failing[name]
            return {"log": [name]}

        return run

    def runner(self, edges: str, *names: str) -> MemoryRunner:
        return MemoryRunner(graph(State, edges, **{name: self.node(name) for name in names}))


PIPELINE = "START > gather, gather > analyze, analyze > report, report > END"


def test_the_caller_gets_a_node_error_of_the_nodes_exception_type() -> None:
    """`except ConnectionError` catches a node's `ConnectionError`, whose attributes say where the node failed."""
    harness = Harness()
    harness.failing["analyze"] = ConnectionError("no route")
    runner = harness.runner(PIPELINE, "gather", "analyze", "report")
    with pytest.raises(
        ConnectionError, match=r"^Node 'analyze' of graph 'g' failed in step 3 of thread 't1': "
    ) as caught:
        runner.invoke({}, THREAD)
    error = caught.value
    assert isinstance(error, NodeError)
    assert str(error).endswith("ConnectionError: no route.")
    assert {name: getattr(error, name) for name in ("graph", "node", "step", "thread_id", "attempts")} == {
        "graph": "g",
        "node": "analyze",
        "step": 3,
        "thread_id": "t1",
        "attempts": 1,
    }
    assert error.checkpoint_id == runner.get_state(THREAD).checkpoint_id
    assert (error.error_type, error.error_message) == ("builtins:ConnectionError", "no route")
    assert "raise self.failing[name]" in error.traceback


def test_a_resume_runs_only_the_unfinished_tasks() -> None:
    """A resume skips finished nodes. A failure makes no checkpoint; the head shows the error on the failed task."""
    harness = Harness()
    harness.failing["analyze"] = ConnectionError("no route")
    runner = harness.runner(PIPELINE, "gather", "analyze", "report")
    with pytest.raises(ConnectionError):
        runner.invoke({"log": ["in"]}, THREAD)
    head = runner.get_state(THREAD)
    assert (head.values, head.next) == ({"log": ["in", "gather"]}, ("analyze",))
    assert [(task.name, task.error, task.result) for task in head.tasks] == [
        ("analyze", "ConnectionError('no route')", None)
    ]
    harness.failing.clear()
    assert runner.invoke(None, THREAD) == {"log": ["in", "gather", "analyze", "report"]}
    assert harness.runs == {"gather": 1, "analyze": 2, "report": 1}


def test_siblings_of_a_failed_node_finish_and_are_kept() -> None:
    """Siblings of a failed node finish, and their results become pending writes. A resume runs only the failed node."""
    harness = Harness()
    harness.failing["b"] = ValueError("odd")
    runner = harness.runner("START > a, START > b, START > c, a+b+c > d, d > END", "a", "b", "c", "d")
    with pytest.raises(ValueError, match=r"ValueError: odd\. Finished, and not run again: 'a', 'c'\."):
        runner.invoke({}, THREAD)
    head = runner.get_state(THREAD)
    assert (head.values, head.next) == ({"log": ["a", "c"]}, ("b",))
    assert [(t.name, t.error, t.result) for t in head.tasks] == [
        ("a", None, {"log": ["a"]}),
        ("b", "ValueError('odd')", None),
        ("c", None, {"log": ["c"]}),
    ]
    at_checkpoint = runner.get_state(head.config)
    assert (at_checkpoint.values, at_checkpoint.next) == ({"log": []}, ("a", "b", "c"))
    for _ in range(2):
        with pytest.raises(ValueError, match="odd"):
            runner.invoke(None, THREAD)
    harness.failing.clear()
    assert runner.invoke(None, THREAD) == {"log": ["a", "b", "c", "d"]}
    assert harness.runs == {"a": 1, "b": 4, "c": 1, "d": 1}


@pytest.mark.parametrize("pauses", [(0.0, 0.01, 0.02), (0.02, 0.01, 0.0), (0.01, 0.02, 0.0)])
async def test_of_several_failures_the_first_by_node_name_is_raised(pauses: tuple[float, ...]) -> None:
    """If several nodes fail, the error of the first by name is raised and names the others."""

    def failing(name: str, pause: float) -> Callable[[State], Any]:
        async def run(state: State) -> None:
            await asyncio.sleep(pause)
            raise RuntimeError(name)

        return run

    nodes = {name: failing(name, pause) for name, pause in zip("abc", pauses, strict=True)}
    runner = MemoryRunner(graph(State, "START > a, START > b, START > c, a+b+c > END", **nodes))
    with pytest.raises(RuntimeError, match=r"Node 'a' of .*: RuntimeError: a\. Also failed: 'b', 'c'\.$"):
        await runner.ainvoke({}, THREAD)
    assert [task.error for task in runner.get_state(THREAD).tasks] == [f"RuntimeError('{name}')" for name in "abc"]


def test_a_new_input_discards_pending_results_and_failures() -> None:
    """A new input on a failed thread keeps the values of the last checkpoint and runs all nodes again."""
    harness = Harness()
    harness.failing["b"] = ValueError("odd")
    runner = harness.runner("START > a, START > b, a+b > c, c > END", "a", "b", "c")
    with pytest.raises(ValueError, match="odd"):
        runner.invoke({"log": ["one"]}, THREAD)
    harness.failing.clear()
    assert runner.invoke({"log": ["two"]}, THREAD) == {"log": ["one", "two", "a", "b", "c"]}
    assert harness.runs == {"a": 2, "b": 2, "c": 1}
    steps = [(s.metadata["step"], s.metadata["source"]) for s in runner.get_state_history(THREAD) if s.metadata]
    assert steps == [(5, "loop"), (4, "loop"), (3, "loop"), (2, "input"), (1, "loop"), (0, "input")]


def test_a_router_of_start_that_failed_runs_again_on_resume() -> None:
    """A resume after START's router failed applies the same input to the same state again."""
    failing = [True]

    def enter(state: State) -> str:
        if failing:
            raise ConnectionError("no route")
        return END if state["log"] == ["one", "two"] else "a"

    builder = StateGraph(State).add_node("a", lambda state: {"log": ["one"]}).add_edge("a", END)
    runner = MemoryRunner(builder.add_conditional_edges(START, enter).compile(name="g"))
    failing.clear()
    assert runner.invoke({}, THREAD) == {"log": ["one"]}
    failing.append(True)
    with pytest.raises(ConnectionError, match="Node '__start__' of graph 'g' failed in step 4"):
        runner.invoke({"log": ["two"]}, THREAD)
    head = runner.get_state(THREAD)
    assert (head.values, head.next) == ({"log": ["one"]}, ("__start__",))
    failing.clear()
    assert runner.invoke(None, THREAD) == {"log": ["one", "two"]}


def test_a_resume_of_a_finished_thread_returns_its_values() -> None:
    """Resuming a finished thread runs no node and makes no checkpoint."""
    harness = Harness()
    runner = harness.runner("START > a, a > END", "a")
    runner.invoke({}, THREAD)
    assert runner.invoke(None, THREAD) == {"log": ["a"]}
    assert harness.runs == {"a": 1}
    assert len(list(runner.get_state_history(THREAD))) == 3


def test_a_resume_of_an_unknown_thread_is_an_error() -> None:
    """Resuming an unknown thread raises an error that says that the thread does not exist."""
    with pytest.raises(EmptyInputError, match=r"Thread 't1' does not exist, so there is nothing to resume\."):
        Harness().runner("START > a, a > END", "a").invoke(None, THREAD)


async def test_a_running_thread_refuses_a_second_invoke() -> None:
    """`invoke` on a running thread raises `ThreadBusyError`, and works again once the thread has finished."""
    held, release = asyncio.Event(), asyncio.Event()

    async def hold(state: State) -> dict[str, Any]:
        held.set()
        await release.wait()
        return {"log": ["held"]}

    runner = MemoryRunner(graph(State, "START > hold, hold > END", hold=hold))
    running = asyncio.create_task(runner.ainvoke({}, THREAD))
    await held.wait()
    with pytest.raises(ThreadBusyError, match="Thread 't1' is running"):
        await runner.ainvoke({}, THREAD)
    release.set()
    assert await running == {"log": ["held"]}
    assert await runner.ainvoke({}, THREAD) == {"log": ["held", "held"]}


async def test_the_sync_runner_may_be_called_inside_a_running_event_loop() -> None:
    """`invoke` runs the graph on another thread and blocks its caller."""
    assert Harness().runner("START > a, a > END", "a").invoke({}, THREAD) == {"log": ["a"]}


UNUSUAL_FAILURES: dict[str, tuple[Callable[[State], Any], str]] = {
    "StopIteration": (lambda state: next(iter([])), "RuntimeError('raised StopIteration()')"),
    "sys.exit": (lambda state: sys.exit("enough"), "SystemExit('enough')"),
    "an exception whose str() fails": (
        lambda state: raise_(UnprintableError()),
        "UnprintableError()",
    ),
    "a name that JSON cannot carry": (lambda state: os.stat(b"/no/\xff"), "FileNotFoundError(2, "),
    "a text that JSON cannot carry": (lambda state: raise_(ValueError("\udcff")), r"ValueError('\udcff')"),
    "an exception without a text": (lambda state: raise_(ValueError()), "ValueError()"),
    "a text of several lines": (lambda state: raise_(ValueError("one\ntwo")), r"ValueError('one\ntwo')"),
}


class UnprintableError(Exception):
    """An exception whose `str()` raises."""

    def __str__(self) -> str:
        return str(1 // 0)


def raise_(error: BaseException) -> Any:
    raise error


@pytest.mark.parametrize(("node", "expected"), UNUSUAL_FAILURES.values(), ids=UNUSUAL_FAILURES.keys())
def test_every_kind_of_failure_is_recorded_in_the_thread(node: Callable[[State], Any], expected: str) -> None:
    """No exception of a node hangs the runner or ends the process, and every failure can be sent as JSON."""
    runner = MemoryRunner(graph(State, "START > n, n > END", n=node))
    with pytest.raises(NodeError) as caught:
        runner.invoke({}, THREAD)
    error = runner.get_state(THREAD).tasks[0].error
    assert error is not None
    assert error.startswith(expected)
    assert from_json(to_json(caught.value.to_wire())) == caught.value.to_wire()


class NestedError(Exception):
    class Inner(Exception):
        """An exception whose qualified name is longer than its name."""

    def __repr__(self) -> str:
        return str(1 // 0)


@pytest.mark.parametrize(
    ("error", "is_recorded"),
    [
        (ConnectionError("no route"), False),
        (ValueError(), False),
        (NestedError.Inner("it's"), False),
        (ValueError(3), True),
        (KeyError("k"), True),
        (FileNotFoundError(2, "none"), True),
        (ExceptionGroup("two", [ValueError("a"), ValueError("b")]), True),
    ],
    ids=repr,
)
def test_a_failure_has_the_repr_of_its_exception(error: Exception, is_recorded: bool) -> None:
    """It is recorded where type and message do not tell it already, so that most failures are no larger."""
    failure = failure_from(error, attempts=1)
    assert failure.representation == repr(error)
    assert (failure.error_repr is not None) == is_recorded


def test_an_exception_whose_repr_fails_is_shown_by_its_message() -> None:
    """Then the type and the message have to do."""
    assert failure_from(NestedError("odd"), attempts=1).representation == "NestedError('odd')"


def test_the_text_of_a_failure_is_limited() -> None:
    """A failure keeps a limited part of its message and traceback, because a record could not hold megabytes."""
    failure = failure_from(ValueError("x" * 1_000_000), attempts=3)
    assert (len(failure.error_message), len(failure.traceback)) == (TEXT_LIMIT, TEXT_LIMIT)
    assert failure.error_repr is None
    assert len(failure_from(ValueError("x" * 1_000_000, 1), attempts=3).error_repr or "") == TEXT_LIMIT
    assert failure.traceback.endswith("x\n")
    assert failure.attempts == 3


def test_a_reducer_that_raises_before_a_router_does_not_fail_the_node() -> None:
    """A router needs the reduced state, so it is asked after a mend. The node has finished, and does not run again."""
    broken, runs, routed = [True], Counter[str](), list[Any]()
    inputs: list[Any] = [{}, None]

    def merge(left: list[str], right: list[str]) -> list[str]:
        if broken:
            raise RuntimeError("no")
        return left + right

    def node(view: Any) -> dict[str, Any]:
        runs["n"] += 1
        return {"x": ["n"]}

    def route(view: Any) -> str:
        routed.append(view)
        return END

    builder = StateGraph(state_of({"x": Annotated[list[str], merge]})).add_node("n", node).add_edge(START, "n")
    runner = MemoryRunner(builder.add_conditional_edges("n", route).compile(name="g"))
    for input_data in inputs:
        with pytest.raises(ReducerError, match="The reducer of channel 'x' failed in step 2") as caught:
            runner.invoke(input_data, THREAD)
        assert not isinstance(caught.value, NodeError)
        head = runner.get_state(THREAD)
        assert (head.values, head.next) == ({"x": []}, ("n",))
        assert [(task.name, task.result, task.error) for task in head.tasks] == [("n", {"x": ["n"]}, None)]
    assert routed == []
    broken.clear()
    assert runner.invoke(None, THREAD) == {"x": ["n"]}
    assert (runs, routed) == ({"n": 1}, [{"x": ["n"]}])
