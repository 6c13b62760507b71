"""Property tests of the engine, over random graphs, random task results and random orders in which tasks finish."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepgraph import END, START, StateGraph
from stepgraph.engine.checkpoint import Checkpoint, InterruptRequest, SentTask, Task, TaskFailure, TaskResult
from stepgraph.engine.commit import commit as next_checkpoint
from stepgraph.engine.commit import unfolded_at, values_before
from stepgraph.engine.folding import Entry
from stepgraph.engine.joins import JoinSpec
from stepgraph.engine.plan import joins_after, plan
from stepgraph.engine.record import record_of
from stepgraph.engine.spec import GraphSpec
from stepgraph.engine.thread import Thread
from stepgraph.errors import InvalidUpdateError
from stepgraph.protocol.snapshot import head_in_record, snapshot_data
from tests.core.driving import commit, folded, update, with_changes
from tests.core.random_threads import (
    CHANNELS,
    NODES,
    State,
    WritesByTask,
    due,
    expected_values,
    full_history,
    graphs,
    new_thread,
    restored_from_record,
    results,
    run_super_steps,
    signed_updates,
    updates,
)


def existing_head(thread: Thread) -> Checkpoint:
    assert thread.head is not None
    return thread.head


@settings(max_examples=60, deadline=None)
@given(spec=graphs(), data=st.data())
def test_checkpoints_do_not_depend_on_the_order_in_which_tasks_finish(spec: GraphSpec, data: st.DataObject) -> None:
    """Ids, times, values, tasks, joins, writes and the record's JSON are equal."""
    input_data = data.draw(updates(START))
    first, second = new_thread(spec), new_thread(spec)
    first.accept_input(input_data)
    second.accept_input(input_data)
    for results_by_task in run_super_steps(first, data, 5):
        tasks = due(second)
        assert [task.id for task in tasks] == list(results_by_task)
        for task in data.draw(st.permutations(tasks)):
            second.finish(task, results_by_task[task.id])
        assert record_of(first) == record_of(second)
        assert record_of(first).model_dump_json() == record_of(second).model_dump_json()  # type: ignore[union-attr]
        commit(second, CHANNELS)
    assert full_history(first) == full_history(second)


@settings(max_examples=60, deadline=None)
@given(spec=graphs(), data=st.data())
def test_a_change_that_a_task_carries_equals_the_fold_at_the_commit(spec: GraphSpec, data: st.DataObject) -> None:
    """Checkpoints are equal, whether activities or the commit had the reducers run."""
    input_data = data.draw(updates(START))
    first, second = new_thread(spec), new_thread(spec)
    first.accept_input(input_data)
    second.accept_input(input_data)
    for results_by_task in run_super_steps(first, data, 4):
        for task in due(second):
            second.finish(task, results_by_task[task.id].model_copy(update={"changes": {}}))
        commit(second, CHANNELS)
    assert full_history(first) == full_history(second)


@settings(max_examples=60, deadline=None)
@given(spec=graphs(), data=st.data())
def test_a_commit_depends_only_on_the_checkpoint_and_the_results(spec: GraphSpec, data: st.DataObject) -> None:
    """Repeating a commit, with the results in any order, gives the same commit and changes neither of its inputs."""
    thread = new_thread(spec)
    thread.accept_input(data.draw(updates(START)))
    for _ in run_super_steps(thread, data, 3):
        head, finished = existing_head(thread), thread.results
        before = (repr(head), repr(finished))
        shuffled = dict(data.draw(st.permutations(list(finished.items()))))
        commits = [
            next_checkpoint(
                spec, head, results, folded(CHANNELS, unfolded_at(spec, head, results)), id="x", created_at="now"
            )
            for results in (finished, shuffled, finished)
        ]
        assert commits[0] == commits[1] == commits[2]
        assert (repr(head), repr(finished)) == before


@settings(max_examples=100, deadline=None)
@given(
    sources=st.lists(st.sampled_from(NODES), min_size=1, max_size=4, unique=True),
    arrivals=st.lists(st.sets(st.sampled_from(NODES)), max_size=12),
)
def test_a_join_fires_exactly_once_per_full_set_of_sources(sources: list[str], arrivals: list[set[str]]) -> None:
    """For any pattern of arrivals, a join fires at the moments that a separate count of missing sources gives."""
    spec = GraphSpec(name="g", channels=(), nodes=(), joins=(JoinSpec(sources=tuple(sources), target="z"),))
    joins: Any = {}
    missing = set(sources)
    for arrived in arrivals:
        after = plan(spec, joins, [Entry(node, node, TaskResult()) for node in sorted(arrived)], checkpoint_id="x")
        missing -= arrived
        assert [task.node for task in after.tasks] == ([] if missing else ["z"])
        assert {name for names in after.joins.values() for name in names} == set(sources) - missing
        joins = joins_after(after.joins, [task.node for task in after.tasks])  # the target runs in the next super-step
        missing = missing or set(sources)
        assert {name for names in joins.values() for name in names} == set(sources) - missing


@settings(max_examples=60, deadline=None)
@given(spec=graphs(), data=st.data())
def test_values_at_any_checkpoint_are_the_fold_of_the_writes_on_its_lineage(
    spec: GraphSpec, data: st.DataObject
) -> None:
    """Each checkpoint's values equal its lineage's writes folded without the engine, also after further inputs."""
    thread = new_thread(spec)
    log = WriteLog(thread)
    for _ in range(2):
        input_data = data.draw(updates(START))
        assert thread.accept_input(input_data).input == input_data
        due(thread)
        log.writes[existing_head(thread).id] = [(input_data,)]
        for results_by_task in run_super_steps(thread, data, 4):
            next_id = f"run.{len(thread.checkpoints) + 1:06d}"
            log.writes[next_id] = [result.writes for result in results_by_task.values()]
    log.check_all_checkpoints()


class WriteLog:
    """By checkpoint, the writes that made it. Writes by hand are passed in; the others are read from the thread."""

    def __init__(self, thread: Thread) -> None:
        self.thread = thread
        self.writes: dict[str, WritesByTask] = {}

    def record_new(self, by_hand: dict[str, WritesByTask] | None = None) -> None:
        """Records the checkpoints made since the last call."""
        by_id = {checkpoint.id: checkpoint for checkpoint in self.thread.checkpoints}
        for checkpoint in self.thread.checkpoints:
            if checkpoint.id in self.writes or checkpoint.source == "input":
                continue
            if by_hand is not None and checkpoint.id in by_hand:
                self.writes[checkpoint.id] = by_hand[checkpoint.id]
                continue
            assert checkpoint.parent_id is not None
            outcomes = self.thread.task_outcomes(by_id[checkpoint.parent_id])
            self.writes[checkpoint.id] = [result.writes for _, result, _ in outcomes if result is not None]

    def check_all_checkpoints(self) -> None:
        """Check that the values of each checkpoint are the fold of the writes on its lineage."""
        by_id = {checkpoint.id: checkpoint for checkpoint in self.thread.checkpoints}
        assert len(by_id) == len(self.thread.checkpoints)
        for checkpoint in self.thread.checkpoints:
            lineage = [checkpoint]
            while lineage[0].parent_id is not None:
                lineage.insert(0, by_id[lineage[0].parent_id])
            values: dict[str, Any] = {}
            for each in lineage:
                if each.source not in ("input", "fork"):  # a fork without updates keeps the values
                    values = expected_values(values, self.writes[each.id])
            assert CHANNELS.decode(checkpoint.values) == values
            assert [each.step for each in lineage] == list(range(checkpoint.step + 1))
        assert self.thread.state.to_data() == dict(existing_head(self.thread).values)


def described(tasks: tuple[Task, ...]) -> list[tuple[Any, ...]]:
    """Return what tasks are, apart from their ids."""
    return [(task.node, task.sent, task.input) for task in tasks]


@settings(max_examples=60, deadline=None)
@given(spec=graphs(), data=st.data())
def test_values_are_the_fold_of_their_lineage_with_updates_and_forks_in_it(
    spec: GraphSpec, data: st.DataObject
) -> None:
    """Updates and forks at any checkpoint, by any author, fold like other writes and never change another branch."""
    thread = new_thread(spec)
    log = WriteLog(thread)
    thread.accept_input(data.draw(updates(START)))
    for _ in range(data.draw(st.integers(1, 8))):
        checkpoints_before = list(thread.checkpoints)
        match data.draw(st.sampled_from(["super-step", "one task", "update", "update", "replay", "input"])):
            case "super-step":
                for _ in run_super_steps(thread, data, 1):
                    pass
            case "one task":
                for task in due(thread)[:1]:
                    thread.finish(task, data.draw(results(spec, task.node, thread.state)))
            case "input":
                thread.accept_input(data.draw(updates(START)))
            case "replay":
                target = data.draw(st.sampled_from(thread.checkpoints))
                after = update(thread, CHANNELS, target, source="fork")
                assert (after.values, after.parent_id) == (target.values, target.id)
                assert described(after.tasks) == described(target.tasks)
                assert not {task.id for task in after.tasks} & {task.id for task in target.tasks}
                assert thread.results == {}
                log.record_new({after.id: []})
            case "update":
                check_update(thread, log, data)
        log.record_new()
        assert thread.checkpoints[: len(checkpoints_before)] == checkpoints_before
    log.check_all_checkpoints()
    restored_from_record(thread)


def check_update(thread: Thread, log: WriteLog, data: st.DataObject) -> None:
    """Make a drawn update at a drawn checkpoint, and check what became of the tasks there."""
    spec, head = thread.spec, thread.head
    target, drawn = data.draw(st.sampled_from(thread.checkpoints)), data.draw(signed_updates(spec))
    if data.draw(st.booleans()):
        values = values_before(spec, target)
        drawn = replace(drawn, result=with_changes(spec, CHANNELS, values, drawn.author, drawn.result))
    outcomes = thread.uncommitted_outcomes(target)
    candidates = [task for task in target.tasks if task.node == drawn.author and task.id not in outcomes.results]
    replaces_tasks = target is head or bool(outcomes.results)  # off other checkpoints, a plain branch grows
    if replaces_tasks and len(candidates) > 1:
        with pytest.raises(InvalidUpdateError, match=f"is due {len(candidates)} times"):
            update(thread, CHANNELS, target, [drawn])
        drawn = replace(drawn, task_id=data.draw(st.sampled_from(candidates)).id)
    is_task_result = bool(candidates) and replaces_tasks
    after = update(thread, CHANNELS, target, [drawn])
    assert after.parent_id == target.id or after is target
    assert after is not target or is_task_result
    if is_task_result and target is not head:
        replaced = drawn.task_id or candidates[0].id
        results_then = {**outcomes.results, replaced: drawn.result}
        complete = all(task.id in results_then for task in target.tasks)
        log.record_new({after.id: [results_then[task.id].writes for task in target.tasks] if complete else []})
        assert complete or described(after.tasks) == described(target.tasks)
    if not is_task_result:
        log.record_new({after.id: [drawn.result.writes]})
        assert drawn.author != "human" or described(after.tasks) == described(target.tasks)
        assert drawn.author != "human" or (after.tasks == target.tasks) == (target is head or not target.tasks)
        assert drawn.author != END or not after.tasks


@settings(max_examples=60, deadline=None)
@given(spec=graphs(), data=st.data())
def test_a_roll_back_restores_the_thread_exactly(spec: GraphSpec, data: st.DataObject) -> None:
    """After a roll back, checkpoints, state, results and interrupts are as they were at the savepoint."""
    thread = new_thread(spec)
    thread.accept_input(data.draw(updates(START)))
    for _ in run_super_steps(thread, data, data.draw(st.integers(0, 2))):
        pass
    for task in due(thread):
        match data.draw(st.sampled_from(["finish", "fail", "interrupt", "wait"])):
            case "finish":
                thread.finish(task, data.draw(results(spec, task.node, thread.state)))
            case "fail":
                thread.fail(task, TaskFailure(error_type="builtins:ValueError", error_message="odd"))
            case "interrupt":
                thread.interrupt(task, InterruptRequest(id="0" * 16, value="?"))
    before = (full_history(thread), record_of(thread), thread.waiting_interrupts, thread.steps_left)
    mark = thread.savepoint()
    log = WriteLog(thread)
    for _ in range(data.draw(st.integers(1, 3))):
        check_update(thread, log, data)
    thread.roll_back(mark)
    assert (full_history(thread), record_of(thread), thread.waiting_interrupts, thread.steps_left) == before


@settings(max_examples=60, deadline=None)
@given(spec=graphs(), data=st.data())
def test_pending_values_are_the_fold_of_the_pending_writes(spec: GraphSpec, data: st.DataObject) -> None:
    """A channel is left out only if the writes do not change it, or if only the graph's code can tell its value."""
    thread = new_thread(spec)
    thread.accept_input(data.draw(updates(START)))
    for _ in run_super_steps(thread, data, data.draw(st.integers(0, 2))):
        pass
    tasks = [task for task in due(thread) if data.draw(st.booleans())]
    for task in tasks:
        thread.finish(task, data.draw(results(spec, task.node, thread.state)))
    written = [thread.results[task.id].writes for task in tasks]
    pending = CHANNELS.decode(thread.pending_values())
    before = CHANNELS.decode(thread.state)
    after = expected_values(before, written)
    assert {name: after[name] for name in pending} == pending
    for name in after.keys() - pending.keys():
        writers = [task for task in tasks if name in thread.results[task.id].channels]
        carried = [task for task in writers if name in thread.results[task.id].changes]
        assert after[name] == before[name] or (name in spec.custom_channels and (len(writers) > 1 or not carried))


@settings(max_examples=60, deadline=None)
@given(spec=graphs(), data=st.data())
def test_a_thread_is_restored_exactly_from_its_record(spec: GraphSpec, data: st.DataObject) -> None:
    """State, due tasks and outcomes are equal at any point. The restored thread then computes the same values."""
    thread = new_thread(spec)
    thread.accept_input(data.draw(updates(START)))
    for _ in run_super_steps(thread, data, data.draw(st.integers(0, 3))):
        pass
    for task in due(thread):
        match data.draw(st.sampled_from(["finish", "fail", "wait"])):
            case "finish":
                thread.finish(task, data.draw(results(spec, task.node, thread.state)))
            case "fail":
                thread.fail(task, TaskFailure(error_type="builtins:ValueError", error_message="odd", attempts=2))
    restored = restored_from_record(thread)
    head, restored_head = existing_head(thread), existing_head(restored)
    assert restored_head == head
    assert restored.state == thread.state
    assert list(restored.state) == list(thread.state)
    written = {
        task_id: result.model_copy(update={"stamps": spec.stamps_of(sorted(result.channels)) | result.stamps})
        for task_id, result in thread.results.items()
    }  # the run that commits them may have another spec, so the record says under which types they were written
    assert (restored.results, restored.failures) == (written, thread.failures)
    assert snapshot_data(restored, restored_head, as_head=True) == snapshot_data(thread, head, as_head=True)
    record = record_of(thread)
    assert record is not None
    assert head_in_record(record) == snapshot_data(thread, head, as_head=True)
    for _ in range(3):
        tasks, restored_tasks = due(thread), due(restored)
        assert described(restored_tasks) == described(tasks)
        assert restored.next_step == thread.next_step
        if not tasks:
            break
        for task, restored_task in zip(tasks, restored_tasks, strict=True):
            result = data.draw(results(spec, task.node, thread.state))
            thread.finish(task, result)
            restored.finish(restored_task, result)
        original, copy = commit(thread, CHANNELS), commit(restored, CHANNELS)
        assert (original.values, original.joins, original.writes, original.step, original.stamps) == (
            copy.values,
            copy.joins,
            copy.writes,
            copy.step,
            copy.stamps,
        )
        assert described(original.tasks) == described(copy.tasks)
        restored = restored_from_record(restored)
    assert restored.state == thread.state


@settings(max_examples=40, deadline=None)
@given(spec=graphs(), data=st.data())
def test_tasks_are_planned_in_the_order_in_which_their_writes_are_applied(spec: GraphSpec, data: st.DataObject) -> None:
    """A node triggered several times in a super-step runs once, and once more for each input that it was sent.

    Those triggered come first, by name; then those sent, in the order of the tasks that sent them.
    """
    thread = new_thread(spec)
    thread.accept_input(data.draw(updates(START)))
    sent: list[SentTask] = []
    for results_by_task in run_super_steps(thread, data, 3):
        tasks = existing_head(thread).tasks
        assert [(task.node, task.input) for task in tasks if task.sent] == [(each.node, each.input) for each in sent]
        triggered = [task.node for task in tasks if not task.sent]
        assert triggered == sorted(set(triggered))
        assert [task.sent for task in tasks] == [False] * len(triggered) + [True] * len(sent)
        assert len({task.id for task in tasks}) == len(tasks)
        sent = [each for result in results_by_task.values() for each in result.sends]


@settings(max_examples=40, deadline=None)
@given(writers=st.sets(st.sampled_from(NODES), min_size=2), order=st.randoms(use_true_random=False))
def test_clashing_writers_are_named_in_alphabetical_order(writers: set[str], order: Any) -> None:
    """The error about clashing writers does not depend on who finished first, and the thread does not change."""
    builder = StateGraph(State)
    for node in sorted(writers):
        builder.add_node(node, lambda state: None).add_edge(START, node).add_edge(node, END)
    thread = new_thread(builder.compile(name="g").registry.spec)
    thread.accept_input({"latest": "in"})
    tasks = list(due(thread))
    order.shuffle(tasks)
    for task in tasks:
        thread.finish(task, TaskResult(writes=({"latest": task.node},)))
    before = (thread.head, dict(thread.state), thread.steps_left)
    with pytest.raises(InvalidUpdateError) as caught:
        thread.commit()
    assert caught.value.nodes == sorted(writers)
    assert (thread.head, dict(thread.state), thread.steps_left) == before
