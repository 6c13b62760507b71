"""Tests of a thread's history: which checkpoints a run makes, and what each snapshot contains."""

from __future__ import annotations

import re
from operator import add
from typing import Annotated, Any

import pytest
from typing_extensions import TypedDict

from stepgraph import StateSnapshot
from stepgraph.errors import CheckpointNotFoundError, NodeError, ThreadError
from stepgraph.testing import MemoryRunner
from tests.core.graphs import THREAD, graph


class State(TypedDict, total=False):
    query: str
    log: Annotated[list[str], add]


def a(state: State) -> dict[str, Any]:
    return {"log": ["a"]}


def b(state: State) -> dict[str, Any]:
    return {"log": ["b"]}


def two_steps() -> MemoryRunner:
    return MemoryRunner(graph(State, "START > a, a > b, b > END", a=a, b=b), clock=lambda: "2025-01-01T00:00:00+00:00")


def history_rows(runner: MemoryRunner, **options: Any) -> list[tuple[Any, ...]]:
    """Return step, source, writes, next and values of each checkpoint, newest first."""
    return [
        (s.metadata["step"], s.metadata["source"], s.metadata["writes"], s.next, s.values)
        for s in runner.get_state_history(THREAD, **options)
        if s.metadata is not None
    ]


def test_two_nodes_on_a_new_thread_make_four_checkpoints() -> None:
    """The history of `a > b` has the input, the state after the input, and one checkpoint for each super-step."""
    runner = two_steps()
    assert runner.invoke({"query": "q", "log": ["in"]}, THREAD) == {"query": "q", "log": ["in", "a", "b"]}
    assert history_rows(runner) == [
        (3, "loop", {"b": {"log": ["b"]}}, (), {"query": "q", "log": ["in", "a", "b"]}),
        (2, "loop", {"a": {"log": ["a"]}}, ("b",), {"query": "q", "log": ["in", "a"]}),
        (1, "loop", {"__start__": {"query": "q", "log": ["in"]}}, ("a",), {"query": "q", "log": ["in"]}),
        (0, "input", None, ("__start__",), {}),
    ]


def test_a_snapshot_has_its_own_config_and_its_parents() -> None:
    """Checkpoint ids sort by time. Each snapshot's config reads that same checkpoint again."""
    runner = two_steps()
    runner.invoke({"query": "q"}, THREAD)
    history = list(runner.get_state_history(THREAD))
    ids = [snapshot.checkpoint_id for snapshot in history]
    assert ids == sorted(ids, key=str, reverse=True)
    assert len(set(ids)) == 4
    assert [snapshot.parent_config for snapshot in history] == [*(s.config for s in history[1:]), None]
    assert all(runner.get_state(snapshot.config) == snapshot for snapshot in history)
    assert {snapshot.created_at for snapshot in history} == {"2025-01-01T00:00:00+00:00"}
    assert runner.get_state(THREAD) == history[0]


def test_a_snapshot_shows_its_tasks_and_their_results() -> None:
    """Each task of an earlier checkpoint has what it wrote as its result, and an id of its own, which says nothing."""
    runner = two_steps()
    runner.invoke({"query": "q"}, THREAD)
    history = list(runner.get_state_history(THREAD))
    assert [[(t.name, t.result, t.error) for t in s.tasks] for s in history] == [
        [],
        [("b", {"log": ["b"]}, None)],
        [("a", {"log": ["a"]}, None)],
        [("__start__", {"query": "q"}, None)],
    ]
    ids = [task.id for snapshot in history for task in snapshot.tasks]
    assert len(set(ids)) == 3
    assert all(re.fullmatch("[0-9a-f]{16}", id) for id in ids)


def test_a_second_input_continues_from_the_current_values() -> None:
    """A second input makes a checkpoint with the current values, then one with the input applied by the reducers."""
    runner = two_steps()
    runner.invoke({"query": "one"}, THREAD)
    assert runner.invoke({"query": "two", "log": ["in"]}, THREAD) == {
        "query": "two",
        "log": ["a", "b", "in", "a", "b"],
    }
    assert history_rows(runner, limit=4)[2:] == [
        (
            5,
            "loop",
            {"__start__": {"query": "two", "log": ["in"]}},
            ("a",),
            {"query": "two", "log": ["a", "b", "in"]},
        ),
        (4, "input", None, ("__start__",), {"query": "one", "log": ["a", "b"]}),
    ]
    assert [step for step, *_ in history_rows(runner)] == [7, 6, 5, 4, 3, 2, 1, 0]


def test_an_input_may_be_empty() -> None:
    """With an empty input, channels with a reducer start at their zero and the others are absent."""
    assert two_steps().invoke({}, THREAD) == {"log": ["a", "b"]}


def test_parallel_nodes_share_a_checkpoint() -> None:
    """A checkpoint's writes have a key for each node of the super-step, also for a node that wrote nothing."""
    compiled = graph(
        State, "START > b, START > a, START > quiet, a > END, b > END, quiet > END", a=a, b=b, quiet=lambda state: None
    )
    runner = MemoryRunner(compiled)
    runner.invoke({}, THREAD)
    assert history_rows(runner, limit=2) == [
        (2, "loop", {"a": {"log": ["a"]}, "b": {"log": ["b"]}, "quiet": None}, (), {"log": ["a", "b"]}),
        (1, "loop", {"__start__": {}}, ("a", "b", "quiet"), {"log": []}),
    ]


def test_an_unknown_thread_has_an_empty_snapshot() -> None:
    """Reading a thread that does not exist returns an empty snapshot and an empty history, not an error."""
    runner = two_steps()
    assert runner.get_state(THREAD) == StateSnapshot({}, (), THREAD)
    assert list(runner.get_state_history(THREAD)) == []


@pytest.mark.parametrize("checkpoint_id", ["run-0001.000009", "run-0002.000001", "", "nonsense"])
def test_an_unknown_checkpoint_is_an_error(checkpoint_id: str) -> None:
    """The error for an unknown checkpoint names the thread and the checkpoint id."""
    runner = two_steps()
    runner.invoke({}, THREAD)
    with pytest.raises(CheckpointNotFoundError, match=rf"Thread 't1' has no checkpoint '{checkpoint_id}'"):
        runner.get_state({"configurable": {"thread_id": "t1", "checkpoint_id": checkpoint_id}})


def test_threads_are_independent_of_each_other() -> None:
    """An integer thread id and its decimal text name the same thread; other ids name separate threads."""
    runner = two_steps()
    runner.invoke({"query": "one"}, {"configurable": {"thread_id": 1}})
    runner.invoke({"query": "two"}, {"configurable": {"thread_id": "2"}})
    assert runner.get_state({"configurable": {"thread_id": "1"}}).values["query"] == "one"
    assert runner.get_state({"configurable": {"thread_id": 2}}).values["query"] == "two"


def test_a_history_can_be_filtered() -> None:
    """History takes a metadata filter, a limit, a checkpoint to list before, or a single checkpoint's config."""
    runner = two_steps()
    runner.invoke({}, THREAD)
    runner.invoke({}, THREAD)
    every = list(runner.get_state_history(THREAD))
    assert [s.metadata["step"] for s in every if s.metadata] == [7, 6, 5, 4, 3, 2, 1, 0]

    def steps(config: Any = THREAD, **options: Any) -> list[int]:
        return [s.metadata["step"] for s in runner.get_state_history(config, **options) if s.metadata]

    assert steps(filter={"source": "input"}) == [4, 0]
    assert steps(filter={"source": "loop", "step": 5}) == [5]
    assert steps(filter={"source": "loop"}, limit=2) == [7, 6]
    assert steps(limit=0) == []
    assert steps(before=every[4].config) == [2, 1, 0]
    assert steps(before=every[3].config, filter={"source": "input"}) == [0]
    assert steps(before=every[-1].config) == []
    assert steps(every[2].config) == [5]
    with pytest.raises(CheckpointNotFoundError):
        steps(before={"configurable": {"checkpoint_id": "nonsense"}})
    with pytest.raises(ThreadError, match="'before' must name a checkpoint"):
        steps(before=THREAD)
    with pytest.raises(ThreadError, match="limit must be 0 or more; got -1"):
        steps(limit=-1)


def test_history_spans_all_runs_of_a_thread() -> None:
    """A failure and its resume are two runs. The checkpoint that both share is listed once."""
    failing = [True]

    def shaky(state: State) -> dict[str, Any]:
        if failing:
            raise ConnectionError("no route")
        return {"log": ["shaky"]}

    runner = MemoryRunner(graph(State, "START > a, a > shaky, shaky > END", a=a, shaky=shaky))
    with pytest.raises(NodeError):
        runner.invoke({}, THREAD)
    failing.clear()
    runner.invoke(None, THREAD)
    assert [(step, source, writes) for step, source, writes, *_ in history_rows(runner)] == [
        (3, "loop", {"shaky": {"log": ["shaky"]}}),
        (2, "loop", {"a": {"log": ["a"]}}),
        (1, "loop", {"__start__": {}}),
        (0, "input", None),
    ]
    assert len({snapshot.checkpoint_id for snapshot in runner.get_state_history(THREAD)}) == 4


def test_changing_a_snapshot_does_not_change_the_thread() -> None:
    """Snapshots contain copies of values, writes and results."""
    runner = two_steps()
    values = runner.invoke({"query": "q"}, THREAD)
    before = list(runner.get_state_history(THREAD))
    values["log"].append("mine")
    for snapshot in runner.get_state_history(THREAD):
        snapshot.values.setdefault("log", []).append("mine")
        assert snapshot.metadata is not None
        for written in (snapshot.metadata["writes"] or {}).values():
            written.setdefault("log", []).append("mine")
        for task in snapshot.tasks:
            task.result.setdefault("log", []).append("mine")
    assert list(runner.get_state_history(THREAD)) == before
    assert runner.invoke(None, THREAD) == {"query": "q", "log": ["a", "b"]}
