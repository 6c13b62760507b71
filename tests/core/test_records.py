"""Tests of records: what a run leaves behind for the next run and for readers, and what a large record leaves out."""

from __future__ import annotations

from operator import add
from typing import Annotated, Any

from stepgraph.engine.checkpoint import CheckpointData, Task, TaskFailure, TaskResult, new_tasks
from stepgraph.engine.record import PENDING_LIMIT, RECORD_LIMIT, Record, record_of, thread_from
from stepgraph.engine.thread import Thread
from stepgraph.protocol.snapshot import head_in_record, snapshot_from
from stepgraph.serde.plain_json import json_size
from tests.core.graphs import graph, state_of


def make_record(**parts: Any) -> Record:
    """Return the record of a thread in which `a` has finished, `b` has failed and is due."""
    a, b = new_tasks("r.2", ("a", "b"))
    checkpoint = CheckpointData(id="r.2", step=2, source="loop", created_at="now", tasks=(a, b), writes={"z": None})
    defaults: dict[str, Any] = {
        "values": {"x": "1"},
        "next": ("b",),
        "checkpoint": checkpoint,
        "results": {a.id: {"writes": [{"x": "2"}], "goto": ["b"]}},
        "failures": {b.id: {"error_type": "builtins:ValueError", "error_message": "odd"}},
        "graph": "g",
        "spec_hash": "h",
        "thread_id": "t",
        "run_id": "r",
    }
    return Record.model_validate({**defaults, **parts})


def test_a_record_has_the_snapshot_of_the_head() -> None:
    """A record has the head's values, the nodes due and the outcome of each task, readable without a worker."""
    snapshot = snapshot_from(head_in_record(make_record()))
    assert (snapshot.values, snapshot.next, snapshot.checkpoint_id) == ({"x": "1"}, ("b",), "r.2")
    assert [(task.name, task.result, task.error) for task in snapshot.tasks] == [
        ("a", {"x": "2"}, None),
        ("b", None, "ValueError('odd')"),
    ]


def test_a_thread_without_checkpoints_leaves_no_record() -> None:
    """A thread without checkpoints has nothing that a next run could restore."""
    registry = graph(state_of({"x": str}), "START > n, n > END", n=lambda state: None).registry
    thread = Thread(registry.spec, thread_id="t", run_id="r", clock=lambda: "now")
    assert record_of(thread) is None
    assert thread.due() == ()


def task_result(write: dict[str, Any]) -> TaskResult:
    return TaskResult(writes=(write,))


def first_tasks(thread: Thread) -> tuple[Task, ...]:
    """Return the tasks that are due once the input has been written."""
    assert thread.due() == ()
    thread.commit()
    return thread.due()


def test_a_record_over_its_limit_leaves_out_what_can_be_recomputed() -> None:
    """A large record omits pending values first, then the writes for display, then results, whose tasks run again."""
    large = "x" * (RECORD_LIMIT // 2 - 1_000)
    registry = graph(
        state_of({"x": str, "y": str}), "START > a, START > b, a > END, b > END", a=lambda s: None, b=lambda s: None
    ).registry

    thread = Thread(registry.spec, thread_id="t", run_id="r", clock=lambda: "now")
    thread.accept_input({"x": large})
    a, b = first_tasks(thread)
    assert record_of(thread).omitted == ()  # type: ignore[union-attr]
    thread.finish(a, task_result({"y": "y" * 10_000}))
    without_writes = record_of(thread)
    assert without_writes is not None
    assert (without_writes.omitted, without_writes.checkpoint.writes, without_writes.next) == (
        ("pending_values", "writes"),
        None,
        ("b",),
    )
    assert set(without_writes.results) == {a.id}
    thread.finish(a, task_result({"y": large}))
    thread.finish(b, task_result({"y": "b" * 10_000}))
    without_results = record_of(thread)
    assert without_results is not None
    assert (without_results.omitted, set(without_results.results), without_results.next) == (
        ("writes", "results"),
        {a.id},
        ("b",),
    )
    assert without_results.values == {"x": large}


def test_a_record_has_pending_values_up_to_a_limit() -> None:
    """Pending values contain only the channels that change; the checkpoint's values stay as they are."""
    log = Annotated[list[str], add]
    registry = graph(
        state_of({"x": str, "log": log}), "START > a, START > b, a > END, b > END", a=lambda s: None, b=lambda s: None
    ).registry
    thread = Thread(registry.spec, thread_id="t", run_id="r", clock=lambda: "now")
    thread.accept_input({"x": "x", "log": ["in"]})
    a, _ = first_tasks(thread)
    thread.finish(a, task_result({"log": ["a"]}))
    small = record_of(thread)
    assert small is not None
    assert (small.values, small.pending_values) == ({"x": "x", "log": ["in"]}, {"log": ["in", "a"]})
    assert head_in_record(small)["values"] == {"x": "x", "log": ["in", "a"]} == thread.values_with_pending_writes
    thread.finish(a, task_result({"log": ["a" * PENDING_LIMIT]}))
    large = record_of(thread)
    assert large is not None
    assert (large.pending_values, large.omitted) == ({}, ("pending_values",))
    assert large.results.keys() == {a.id}


def test_a_record_of_thousands_of_failures_is_within_its_limit() -> None:
    """It has some of the failures; the other tasks are due like any that has not run."""
    names = [f"n{number}" for number in range(5_000)]
    edges = ", ".join(f"START > {name}, {name} > END" for name in names)
    nodes: dict[str, Any] = dict.fromkeys(names, lambda s: None)
    thread = Thread(
        graph(state_of({"x": str}), edges, **nodes).registry.spec, thread_id="t", run_id="r", clock=lambda: "now"
    )
    thread.accept_input({"x": "x" * 100_000})
    thread.due()
    thread.commit()
    for task in thread.due():
        thread.fail(task, TaskFailure(error_type="builtins:ValueError", error_message="x" * 1_000))
    record = record_of(thread)
    assert record is not None
    assert json_size(record) <= RECORD_LIMIT
    assert record.omitted == ("writes", "failures")
    assert 0 < len(record.failures) < 5_000
    assert len(record.next) == 5_000


def test_a_record_does_not_grow_from_run_to_run() -> None:
    """The stamps that all pending results share are in it once, also for results that were restored from a record."""
    spec = graph(
        state_of({"x": str}), "START > a, START > b, a > END, b > END", a=lambda s: None, b=lambda s: None
    ).registry.spec
    thread = Thread(spec, thread_id="t", run_id="r", clock=lambda: "now")
    thread.accept_input({"x": "x"})
    a, _ = first_tasks(thread)
    thread.finish(a, task_result({"x": "a"}))
    record = record_of(thread)
    assert record is not None
    stored = Record.model_validate(record.to_json())
    restored = thread_from(stored, spec, thread_id="t", run_id="r", clock=lambda: "now")
    assert restored.results[a.id].stamps == spec.stamps_of(["x"])
    again = record_of(restored)
    assert again is not None
    assert (again.results, again.result_stamps) == (stored.results, spec.stamps_of(["x"]))
