"""Tests of a node that is due several times in one super-step, each time with an input of its own."""

from __future__ import annotations

import json
import re
from operator import add
from typing import Annotated, Any

import pytest
from typing_extensions import TypedDict

from stepgraph import END, START, StateGraph
from stepgraph.engine.checkpoint import Checkpoint, InterruptRequest, SentTask, TaskFailure, TaskResult
from stepgraph.engine.failures import node_error
from stepgraph.engine.ids import task_id
from stepgraph.engine.recent_history import RECENT_STEPS, with_recent_history
from stepgraph.engine.record import Record, record_of, thread_from
from stepgraph.engine.state_update import Update
from stepgraph.engine.thread import Thread
from stepgraph.errors import InvalidUpdateError
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.protocol.snapshot import StateSnapshot, head_in_record, history_in_record, snapshot_data, snapshot_from
from tests.core.driving import commit, update, write_input


class State(TypedDict, total=False):
    log: Annotated[list[str], add]
    words: Annotated[list[str], lambda left, right: left + right]
    note: str


def nothing(state: Any) -> None:
    return None


def compiled(work: Any = nothing) -> CompiledGraph:
    """Return a graph whose node `fan` is to send `work`. The node `aside` runs beside it, `done` after all of them."""
    builder = StateGraph(State).add_node("fan", nothing).add_node("work", work)
    builder.add_node("aside", nothing).add_node("done", nothing)
    builder.add_edge(START, "fan").add_edge("fan", "aside").add_edge("aside", END)
    builder.add_conditional_edges("fan", lambda state: END, ["work", END])
    return builder.add_edge("work", "done").add_edge("done", END).compile(name="g")


GRAPH = compiled()
CHANNELS = GRAPH.registry.schema.channels
TWO, ONE = {"value": {"n": 2}}, {"value": {"n": 1}}
SENDS = (SentTask(node="work", input=TWO), SentTask(node="work", input=ONE), SentTask(node="work", input=ONE))


def fanned_out(graph: CompiledGraph = GRAPH) -> Thread:
    """Return a thread at whose head `work` is due three times, and `aside` once."""
    thread = Thread(graph.registry.spec, thread_id="t1", run_id="r", clock=lambda: "2026-01-01T00:00:00+00:00")
    write_input(thread, CHANNELS, {})
    (fan,) = thread.due()
    thread.finish(fan, TaskResult(sends=SENDS))
    thread.commit()
    return thread


def head_of(thread: Thread) -> Checkpoint:
    assert thread.head is not None
    return thread.head


def wrote(*log: str) -> TaskResult:
    return TaskResult(writes=({"log": list(log)},))


def restored(thread: Thread) -> Thread:
    """Return the thread as its next run restores it, from the JSON text of its record."""
    record = record_of(thread)
    assert record is not None
    again = Record.model_validate(json.loads(record.to_json_text()))
    assert again == record
    assert head_in_record(again) == snapshot_data(thread, head_of(thread), as_head=True)
    return thread_from(again, thread.spec, thread_id="t1", run_id="next", clock=lambda: "2026-01-02T00:00:00+00:00")


def head_snapshot(thread: Thread) -> StateSnapshot:
    return snapshot_from(snapshot_data(thread, head_of(thread), as_head=True), CHANNELS)


def test_each_sent_task_has_an_id_and_an_input_of_its_own() -> None:
    """Equal inputs make tasks of their own, too. An id says nothing, so it holds no separator of a namespace."""
    thread = fanned_out()
    tasks = thread.due()
    assert [(task.node, task.sent, task.input) for task in tasks] == [
        ("aside", False, None),
        ("work", True, TWO),
        ("work", True, ONE),
        ("work", True, ONE),
    ]
    assert len({task.id for task in tasks}) == 4
    assert all(re.fullmatch(r"[0-9a-f]{16}", task.id) for task in tasks)
    assert {task.checkpoint_id for task in tasks} == {head_of(thread).id}
    assert [task.id for task in fanned_out().due()] == [task.id for task in tasks]
    assert head_snapshot(thread).next == ("work", "work", "work", "aside")


def test_an_id_tells_apart_checkpoint_node_path_and_namespace() -> None:
    """No two of them can be confused, whatever a node is called."""
    ids = [
        task_id("r.1", "a"),
        task_id("r.2", "a"),
        task_id("r.1", "b"),
        task_id("r.1", "a", path="0"),
        task_id("r.1", "a", path="1"),
        task_id("r.1", "a", namespace="b:0"),
        task_id("r.1", "a", path="0", namespace="b:0"),
        task_id("r.1", "0", path="a"),
        task_id("r.1", "a:b|c"),
    ]
    assert len(set(ids)) == len(ids)
    assert not any(":" in id or "|" in id for id in ids)


def test_writes_are_applied_in_the_order_in_which_the_tasks_were_sent() -> None:
    """Triggered tasks come first, then sent ones, whoever finished first. What the node triggers runs once."""
    thread = fanned_out()
    aside, first, second, third = thread.due()
    for task, result in ((aside, wrote("a")), (third, wrote("3")), (first, wrote("1", "1")), (second, TaskResult())):
        thread.finish(task, result)
    checkpoint = thread.commit()
    assert checkpoint.values["log"] == ["a", "1", "1", "3"]
    assert checkpoint.writes == {"aside": {"log": ["a"]}, "work": [{"log": ["1", "1"]}, None, {"log": ["3"]}]}
    assert [task.node for task in thread.due()] == ["done"]
    metadata = head_snapshot(thread).metadata
    assert metadata is not None
    assert metadata["writes"] == checkpoint.writes


def test_several_senders_send_in_the_order_of_their_tasks() -> None:
    """Tasks that were sent may send in turn; a node that was sent and triggered runs for both."""
    thread = fanned_out()
    aside, first, second, third = thread.due()
    again = {second.id: 10, first.id: 20, aside.id: 30}
    for task in (aside, third, second, first):
        sends = (SentTask(node="done", input=again[task.id]), SentTask(node="work")) if task.id in again else ()
        thread.finish(task, TaskResult(sends=sends))
    thread.commit()
    assert [(task.node, task.input, task.sent) for task in thread.due()] == [
        ("done", None, False),
        ("done", 30, True),
        ("work", None, True),
        ("done", 20, True),
        ("work", None, True),
        ("done", 10, True),
        ("work", None, True),
    ]


def test_outcomes_belong_to_tasks_not_to_nodes() -> None:
    """One task finishes, its twin fails, and the third waits for an answer; the record has all of it."""
    thread = fanned_out()
    aside, first, second, third = thread.due()
    thread.finish(first, wrote("1"))
    thread.fail(second, TaskFailure(error_type="builtins:ValueError", error_message="odd"))
    thread.finish(third, TaskResult(interrupt=InterruptRequest(id="0" * 16, value="?")))
    original, thread = thread, restored(thread)
    for each in (original, thread):
        assert (set(each.results), set(each.failures), set(each.interrupts)) == ({first.id}, {second.id}, {third.id})
        snapshot = head_snapshot(each)
        assert [(task.id, task.name, task.result, task.error, len(task.interrupts)) for task in snapshot.tasks] == [
            (first.id, "work", {"log": ["1"]}, None, 0),
            (second.id, "work", None, "ValueError('odd')", 0),
            (third.id, "work", None, None, 1),
            (aside.id, "aside", None, None, 0),
        ]
        assert (snapshot.next, snapshot.values["log"]) == (("work", "work", "aside"), ["1"])
        error = node_error(each)
        assert (error.node, error.message.partition(" Finished")[2]) == ("work", ", and not run again: 'work'.")
    assert thread.due() == (aside, second)
    thread.answer({"0" * 16: "yes"})
    assert thread.due() == (aside, second, third)
    assert thread.answers(third) == ("yes",)
    for task in (third, aside, second):
        thread.start(task)
        thread.finish(task, wrote(task.id))
    assert commit(thread, CHANNELS).values["log"] == [aside.id, "1", second.id, third.id]


def test_an_update_says_which_task_it_replaces() -> None:
    """With the task's id. Without it, the error lists the ids that are possible; finished tasks are not among them."""
    thread = fanned_out()
    aside, first, second, third = thread.due()
    thread.finish(first, wrote("1"))
    expected = f"Node 'work' is due 2 times at this checkpoint. Say which task is meant: task_id='{second.id}' or "
    with pytest.raises(InvalidUpdateError, match=re.escape(f"{expected}'{third.id}'.")) as caught:
        update(thread, CHANNELS, thread.head, [Update("work", wrote("by hand"))])
    assert caught.value.nodes == ["work"]
    for wrong in (first.id, aside.id, "nonsense"):
        with pytest.raises(InvalidUpdateError, match=f"Node 'work' has no unfinished task '{wrong}'"):
            update(thread, CHANNELS, thread.head, [Update("work", wrote("by hand"), wrong)])
    assert update(thread, CHANNELS, thread.head, [Update("work", wrote("3"), third.id)]) is thread.head
    assert set(thread.results) == {first.id, third.id}
    update(thread, CHANNELS, thread.head, [Update("work", wrote("2"))])  # the only one that is left
    assert set(thread.results) == {first.id, second.id, third.id}
    assert update(thread, CHANNELS, thread.head, [Update("aside", wrote("a"))]).values["log"] == ["a", "1", "2", "3"]


def test_updates_made_together_may_replace_several_tasks_of_one_node() -> None:
    """Each names its task, in any order; the writes are applied in the order of the tasks."""
    thread = fanned_out()
    _, first, second, third = thread.due()
    together = [Update("work", wrote(name), task.id) for name, task in (("3", third), ("1", first), ("2", second))]
    with pytest.raises(InvalidUpdateError, match=f"no unfinished task '{first.id}'"):
        update(thread, CHANNELS, thread.head, [together[1], together[1]])
    assert thread.results == {}
    after = update(thread, CHANNELS, thread.head, [*together, Update("aside", wrote("a"))])
    assert (after.source, after.values["log"]) == ("update", ["a", "1", "2", "3"])
    assert after.writes == {"work": [{"log": ["1"]}, {"log": ["2"]}, {"log": ["3"]}], "aside": {"log": ["a"]}}


def test_tasks_keep_their_ids_when_an_update_carries_them_over() -> None:
    """After a virtual author's update at the head, finished tasks are finished, and the others the same tasks."""
    thread = fanned_out()
    tasks, planned_at = thread.due(), head_of(thread).id
    thread.finish(tasks[2], wrote("2"))
    thread.fail(tasks[3], TaskFailure(error_type="builtins:ValueError", error_message="odd"))
    for _ in range(2):
        thread = restored(thread)
        after = update(thread, CHANNELS, thread.head, [Update("human", TaskResult(writes=({"note": "x"},)))])
        assert after.tasks == tasks
        assert {task.checkpoint_id for task in after.tasks} == {planned_at}
        assert (set(thread.results), set(thread.failures)) == ({tasks[2].id}, {tasks[3].id})
    assert [task.id for task in thread.due()] == [tasks[0].id, tasks[1].id, tasks[3].id]


def test_another_run_of_the_tasks_has_other_ids() -> None:
    """A replay, and a branch off an earlier checkpoint: the first run may have had effects elsewhere."""
    thread = fanned_out()
    target, tasks = head_of(thread), thread.due()
    thread.finish(tasks[2], wrote("2"))
    replay = update(thread, CHANNELS, target, source="fork")
    assert thread.results == {}
    branch = update(thread, CHANNELS, target, [Update("human", TaskResult(writes=({"note": "x"},)))])
    assert [thread.results.get(task.id) for task in branch.tasks] == [None, None, wrote("2"), None]
    by_hand = update(thread, CHANNELS, target, [Update("work", wrote("3"), tasks[3].id)])
    assert [thread.results.get(task.id) for task in by_hand.tasks] == [None, None, wrote("2"), wrote("3")]
    assert len({task.id for each in (target, replay, branch, by_hand) for task in each.tasks}) == 16
    for each in (replay, branch, by_hand):
        assert [(task.node, task.input) for task in each.tasks] == [(task.node, task.input) for task in tasks]
        assert {task.checkpoint_id for task in each.tasks} == {each.id}


def test_the_recent_history_of_a_run_tells_the_tasks_of_a_node_apart() -> None:
    """Where results are read from a checkpoint's writes, each task gets its own, also one that wrote nothing."""
    thread = fanned_out()
    for _ in range(60):
        for number, task in enumerate(thread.due()):
            writes = ({"log": [f"{number}"]},) * (number % 3)
            thread.finish(task, TaskResult(writes=writes, sends=SENDS if number == 0 else ()))
        thread.commit()
    record = with_recent_history(record_of(thread), thread)
    assert record is not None
    assert len(record.recent) == RECENT_STEPS
    assert all(recent.committed for recent in record.recent)
    snapshots = list(history_in_record(Record.model_validate_json(record.to_json_text())))
    assert snapshots == [snapshot_data(thread, each) for each in thread.newest_first()][: RECENT_STEPS + 1]
    first_sent, *_, triggered = snapshots[1]["tasks"]
    assert (triggered["result"], first_sent["result"]) == ({}, {"log": ["1"]})
