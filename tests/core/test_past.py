"""A long run's record shows its latest checkpoints just as the run itself would."""

from __future__ import annotations

from typing import Any

import pytest

from stepgraph.engine import recent_history as past
from stepgraph.engine.checkpoint import TaskFailure, TaskResult
from stepgraph.engine.recent_history import RECENT_BYTES, RECENT_STEPS, SHORT_RUN, with_recent_history
from stepgraph.engine.record import Record, record_of
from stepgraph.engine.thread import Thread
from stepgraph.protocol.snapshot import history_in_record, view
from stepgraph.serde.plain_json import json_size
from tests.temporal.travelling import travelling

GRAPH = travelling()


def thread_after(steps: int, *, text: str = "x") -> Thread:
    """A run that took so many super-steps, in which values grew, were replaced and stayed."""
    channels = GRAPH.registry.schema.channels
    thread = Thread(GRAPH.registry.spec, channels, thread_id="t", run_id="r", clock=lambda: "2026-01-01T00:00:00+00:00")
    thread.accept_input({"log": [], "large": "large", "turns": 0})
    for turn in range(steps):
        (task,) = thread.due()
        messages = [{"id": turn % 4, "text": text}, {"id": 100 + turn, "text": text}]
        writes: dict[str, Any] = {"log": [f"turn {turn}"], "messages": messages, "turns": turn + 1}
        thread.finish(task, TaskResult(writes=(writes, {"log": ["and more"]}) if turn % 2 else (), goto=("talk",)))
        thread.commit()
    return thread


def record_with_past(thread: Thread) -> Record:
    record = with_recent_history(record_of(thread), thread)
    assert record is not None
    return Record.model_validate_json(record.model_dump_json())


def test_the_record_tells_the_same_story_as_the_run() -> None:
    """Values, tasks and writes; also after a fork and a failure, whose tasks are not what the next checkpoint has."""
    thread = thread_after(60)
    thread.update(thread.checkpoints[-5], (), source="fork")
    (task,) = thread.due()
    thread.fail(task, TaskFailure(error_type="builtins:ConnectionError", error_message="no route"))
    thread.update(thread.checkpoints[-3], (), source="fork")
    (task,) = thread.due()
    thread.fail(task, TaskFailure(error_type="builtins:ConnectionError", error_message="no route"))
    told = list(history_in_record(record_with_past(thread)))
    assert told == [view(thread, checkpoint) for checkpoint in thread.newest_first()][: RECENT_STEPS + 1]
    assert [each["tasks"][0]["error"] is not None for each in told[:3]] == [True, True, False]


def test_a_short_run_leaves_its_head_alone() -> None:
    """Its replay costs no more than reading would."""
    assert record_with_past(thread_after(SHORT_RUN - 2)).recent == ()
    assert len(record_with_past(thread_after(SHORT_RUN - 1)).recent) == RECENT_STEPS


def test_large_writes_shorten_what_is_kept() -> None:
    """Beside a record there is only so much room."""
    record = record_with_past(thread_after(60, text="x" * 3_000))
    assert 0 < len(record.recent) < RECENT_STEPS
    assert json_size(record) - json_size(record.model_copy(update={"past": ()})) < RECENT_BYTES


def test_a_record_that_is_full_has_no_past(monkeypatch: pytest.MonkeyPatch) -> None:
    """The head comes first."""
    thread = thread_after(60)
    monkeypatch.setattr(past, "RECORD_LIMIT", json_size(record_of(thread)))
    assert record_with_past(thread).recent == ()
