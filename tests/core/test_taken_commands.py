"""A thread remembers the commands that it has taken: how many, for how long, and in its record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TypedDict

from stepgraph.engine.record import Record, record_of, thread_from
from stepgraph.engine.taken_commands import MAX_REMEMBERED, REMEMBERED_FOR, TakenCommand, TakenCommands
from tests.core.graphs import graph


class State(TypedDict):
    n: int


NOW = datetime(2026, 1, 1, tzinfo=UTC)


def taken(id: str, at: datetime) -> TakenCommand:
    """Return a command that was taken at a time."""
    return TakenCommand(id=id, run_id="run", checkpoint_id="run.000001", taken_at=at.isoformat())


def test_the_latest_commands_are_remembered() -> None:
    """Beyond the maximum, the oldest command is forgotten."""
    commands = TakenCommands()
    for number in range(MAX_REMEMBERED + 1):
        commands.add(taken(str(number), NOW))
    assert commands.find("0") is None
    assert [each.id for each in commands.all] == [str(number) for number in range(1, MAX_REMEMBERED + 1)]


def test_a_command_is_forgotten_after_its_time() -> None:
    """A further command drops those that are older than the limit."""
    commands = TakenCommands([taken("old", NOW - REMEMBERED_FOR), taken("older", NOW - 2 * REMEMBERED_FOR)])
    commands.add(taken("new", NOW))
    assert [each.id for each in commands.all] == ["old", "new"]
    commands.add(taken("newer", NOW + timedelta(seconds=1)))
    assert [each.id for each in commands.all] == ["new", "newer"]


def test_the_memory_crosses_from_run_to_run() -> None:
    """The record has it, and the thread that is restored from the record."""
    spec = graph(State, "START > a, a > END", a=lambda state: None).registry.spec
    thread = thread_from(None, spec, thread_id="t1", run_id="r1", clock=NOW.isoformat)
    thread.accept_input({})
    thread.remember_command("c1")
    record = record_of(thread)
    assert record is not None
    restored = Record.model_validate(record.to_json())
    next_run = thread_from(restored, spec, thread_id="t1", run_id="r2", clock=NOW.isoformat)
    found = next_run.taken_commands.find("c1")
    assert found is not None
    assert (found.run_id, found.checkpoint_id) == ("r1", thread.head_id)
