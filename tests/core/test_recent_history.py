"""Tests of the recent history: the latest checkpoints of a long run, kept in its record."""

from __future__ import annotations

from typing import Any

import pytest

from stepgraph.engine import recent_history
from stepgraph.engine.checkpoint import TaskFailure, TaskResult
from stepgraph.engine.recent_history import RECENT_BYTES, RECENT_STEPS, SHORT_RUN, with_recent_history
from stepgraph.engine.record import Record, record_of
from stepgraph.engine.thread import Thread
from stepgraph.protocol.snapshot import history_in_record, snapshot_data
from stepgraph.serde.plain_json import json_size
from tests.core.driving import commit, update
from tests.temporal.growing_state import growing

GRAPH = growing()


def thread_after(steps: int, *, text: str = "x") -> Thread:
    """Return a thread that ran so many super-steps, in which some values grew, some changed and some stayed."""
    channels = GRAPH.registry.schema.channels
    thread = Thread(GRAPH.registry.spec, thread_id="t", run_id="r", clock=lambda: "2026-01-01T00:00:00+00:00")
    thread.accept_input({"log": [], "large": "large", "turns": 0})
    assert thread.due() == ()
    thread.commit()
    for turn in range(steps):
        (task,) = thread.due()
        messages = [{"id": turn % 4, "text": text}, {"id": 100 + turn, "text": text}]
        writes: dict[str, Any] = {"log": [f"turn {turn}"], "messages": messages, "turns": turn + 1}
        thread.finish(task, TaskResult(writes=(writes, {"log": ["and more"]}) if turn % 2 else (), goto=("talk",)))
        commit(thread, channels)
    return thread


def record_with_recent_history(thread: Thread) -> Record:
    """Return the thread's record with its recent history, after a round trip through JSON."""
    record = with_recent_history(record_of(thread), thread)
    assert record is not None
    return Record.model_validate_json(record.model_dump_json())


def test_the_record_has_the_same_snapshots_as_the_run() -> None:
    """Values, tasks and writes are equal.

    A fork or a failure makes them harder to record: the next checkpoint has other tasks.
    """
    thread, channels = thread_after(60), GRAPH.registry.schema.channels
    update(thread, channels, thread.checkpoints[-5], source="fork")
    (task,) = thread.due()
    thread.fail(task, TaskFailure(error_type="builtins:ConnectionError", error_message="no route"))
    update(thread, channels, thread.checkpoints[-3], source="fork")
    (task,) = thread.due()
    thread.fail(task, TaskFailure(error_type="builtins:ConnectionError", error_message="no route"))
    snapshots = list(history_in_record(record_with_recent_history(thread)))
    assert snapshots == [snapshot_data(thread, checkpoint) for checkpoint in thread.newest_first()][: RECENT_STEPS + 1]
    assert [snapshot["tasks"][0]["error"] is not None for snapshot in snapshots[:3]] == [True, True, False]


def test_a_short_run_records_only_its_head() -> None:
    """Replaying a short run costs no more than reading its recent history would."""
    assert record_with_recent_history(thread_after(SHORT_RUN - 2)).recent == ()
    assert len(record_with_recent_history(thread_after(SHORT_RUN - 1)).recent) == RECENT_STEPS


def test_large_writes_shorten_the_recent_history() -> None:
    """The recent history has a limit in bytes as well as in super-steps."""
    record = record_with_recent_history(thread_after(60, text="x" * 3_000))
    assert 0 < len(record.recent) < RECENT_STEPS
    assert json_size(record) - json_size(record.model_copy(update={"recent": ()})) < RECENT_BYTES


def test_a_record_at_its_limit_has_no_recent_history(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a record has no room for both, it has the head and no recent history."""
    thread = thread_after(60)
    monkeypatch.setattr(recent_history, "RECORD_LIMIT", json_size(record_of(thread)))
    assert record_with_recent_history(thread).recent == ()
