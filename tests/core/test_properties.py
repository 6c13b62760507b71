"""Property tests of the engine, over random graphs, random task results and random orders in which tasks finish."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import add, or_
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import TypedDict

from stepgraph import END, START, StateGraph
from stepgraph.engine.channels import Channels
from stepgraph.engine.checkpoint import Checkpoint, InterruptRequest, TaskFailure, TaskResult
from stepgraph.engine.commit import advance, commit
from stepgraph.engine.plan import plan
from stepgraph.engine.record import Record, record_of, thread_from
from stepgraph.engine.spec import GraphSpec, JoinSpec
from stepgraph.engine.state_update import Update
from stepgraph.engine.thread import Thread
from stepgraph.errors import InvalidUpdateError
from stepgraph.protocol.snapshot import head_in_record, snapshot_data

NODES = ("a", "b", "c", "d", "e")


@dataclass
class Bag:
    items: list[str] = field(default_factory=list)


def put_in_place(left: Bag, right: Bag) -> Bag:
    """Changes its first argument deliberately, to show that the engine is safe from it."""
    left.items += right.items
    return left


class State(TypedDict, total=False):
    words: Annotated[list[str], add]
    total: Annotated[int, add]
    tags: Annotated[set[str], or_]
    bag: Annotated[Bag, put_in_place]
    latest: str


CHANNELS = StateGraph(State).schema.channels


class TickingClock:
    """A clock whose times depend only on how often it was read."""

    def __init__(self) -> None:
        self.count = itertools.count(1)

    def __call__(self) -> str:
        return f"tick {next(self.count)}"


@st.composite
def graphs(draw: st.DrawFn) -> GraphSpec:
    """Draws a spec of some nodes with edges, joins and routers between them, including loops and dead ends."""
    nodes = NODES[: draw(st.integers(2, len(NODES)))]
    builder = StateGraph(State)
    for node in nodes:
        builder.add_node(node, lambda state: None)
    for node in draw(st.sets(st.sampled_from(nodes), min_size=1)):
        builder.add_edge(START, node)
    any_target = st.sampled_from((*nodes, END))
    for node in nodes:
        builder.add_conditional_edges(node, lambda state: END)
        for target in draw(st.sets(any_target, max_size=2)):
            builder.add_edge(node, target)
    for _ in range(draw(st.integers(0, 2))):
        builder.add_edge(draw(st.lists(st.sampled_from(nodes), min_size=1, max_size=3)), draw(any_target))
    return builder.compile(name="g").registry.spec


def updates(node: str) -> st.SearchStrategy[dict[str, Any]]:
    """Draws what a node may write, as JSON data. Only ``a`` and START write the channel without a reducer."""
    texts = st.text(max_size=3)
    keys: dict[str, st.SearchStrategy[Any]] = {
        "words": st.lists(texts, max_size=2),
        "total": st.integers(-5, 5),
        "tags": st.lists(texts, max_size=2, unique=True),
        "bag": st.fixed_dictionaries({"items": st.lists(texts, max_size=2)}),
    }
    if node in ("a", START):
        keys["latest"] = texts
    return st.fixed_dictionaries({}, optional=keys)


def results(spec: GraphSpec, node: str) -> st.SearchStrategy[TaskResult]:
    """Draws a result of a node: its writes, and the destinations that its routers chose."""
    writes = updates(node).map(lambda update: (update,))
    if node != "a":
        writes = st.lists(updates(node), max_size=2).map(tuple)
    return st.builds(
        TaskResult, writes=writes, goto=st.lists(st.sampled_from((*spec.node_names, END)), max_size=2).map(tuple)
    )


def new_thread(spec: GraphSpec) -> Thread:
    return Thread(spec, CHANNELS, thread_id="t", run_id="run", clock=TickingClock())


def run_super_steps(thread: Thread, data: st.DataObject, steps: int) -> Iterator[dict[str, TaskResult]]:
    """Runs up to so many super-steps with drawn results, finished in a drawn order.

    Yields the results before each commit.
    """
    for _ in range(steps):
        tasks = thread.due()
        if not tasks:
            return
        results_by_task = {task.id: data.draw(results(thread.spec, task.node)) for task in tasks}
        for task in data.draw(st.permutations(tasks)):
            thread.start(task)
            thread.finish(task, results_by_task[task.id])
        yield results_by_task
        thread.commit()


def full_history(thread: Thread) -> list[Any]:
    """Return everything that a thread reports: checkpoints, state, the order of its keys, and snapshots."""
    return [
        *thread.checkpoints,
        thread.state,
        list(thread.state),
        [snapshot_data(thread, checkpoint) for checkpoint in thread.checkpoints],
    ]


@settings(max_examples=60, deadline=None)
@given(spec=graphs(), data=st.data())
def test_checkpoints_do_not_depend_on_the_order_in_which_tasks_finish(spec: GraphSpec, data: st.DataObject) -> None:
    """Ids, times, values, triggers, joins, writes and the record's JSON are equal."""
    input_data = data.draw(updates(START))
    first, second = new_thread(spec), new_thread(spec)
    first.accept_input(input_data)
    second.accept_input(input_data)
    for results_by_task in run_super_steps(first, data, 5):
        tasks = second.due()
        assert [task.id for task in tasks] == list(results_by_task)
        for task in data.draw(st.permutations(tasks)):
            second.finish(task, results_by_task[task.id])
        assert record_of(first) == record_of(second)
        assert record_of(first).model_dump_json() == record_of(second).model_dump_json()  # type: ignore[union-attr]
        second.commit()
    assert full_history(first) == full_history(second)


@settings(max_examples=60, deadline=None)
@given(spec=graphs(), data=st.data())
def test_a_commit_depends_only_on_the_checkpoint_and_the_results(spec: GraphSpec, data: st.DataObject) -> None:
    """Repeating a commit, with the results in any order, gives the same commit and changes neither of its inputs."""
    thread = new_thread(spec)
    thread.accept_input(data.draw(updates(START)))
    for results_by_task in run_super_steps(thread, data, 3):
        head = thread.head
        assert head is not None
        before = (repr(head), repr(results_by_task))
        shuffled = dict(data.draw(st.permutations(list(results_by_task.items()))))
        commits = [
            commit(spec, CHANNELS, head, task_results, id="x", created_at="now")
            for task_results in (results_by_task, shuffled, results_by_task)
        ]
        assert commits[0] == commits[1] == commits[2]
        assert (repr(head), repr(results_by_task)) == before


@settings(max_examples=100, deadline=None)
@given(
    sources=st.lists(st.sampled_from(NODES), min_size=1, max_size=4, unique=True),
    arrivals=st.lists(st.sets(st.sampled_from(NODES)), max_size=12),
)
def test_a_join_fires_exactly_once_per_full_set_of_sources(sources: list[str], arrivals: list[set[str]]) -> None:
    """For any pattern of arrivals, a join fires at the moments that a separate count of missing sources gives."""
    spec = GraphSpec(name="g", channels=(), nodes=(), joins=(JoinSpec(sources=tuple(sources), target="z"),))
    joins: dict[str, tuple[str, ...]] = {}
    missing = set(sources)
    for arrived in arrivals:
        after = advance(spec, joins, [(node, ()) for node in sorted(arrived)])
        missing -= arrived
        assert after["triggers"] == (() if missing else ("z",))
        missing = missing or set(sources)
        joins = after["joins"]
        assert {name for names in joins.values() for name in names} == set(sources) - missing


WritesByCheckpoint = dict[str, list[tuple[dict[str, Any], ...]]]
"""By checkpoint id, what each of the tasks that led to the checkpoint wrote."""


def expected_values(lineage: list[Checkpoint], writes: WritesByCheckpoint) -> dict[str, Any]:
    """Return the values after all writes on a lineage, computed without the engine."""
    values: dict[str, Any] = {}
    for checkpoint in lineage:
        if checkpoint.source == "input":
            continue
        values = {"words": [], "total": 0, "tags": set(), "bag": Bag(), **values}
        for update in (update for task_writes in writes[checkpoint.id] for update in task_writes):
            values["words"] = values["words"] + update.get("words", [])
            values["total"] += update.get("total", 0)
            values["tags"] = values["tags"] | set(update.get("tags", []))
            values["bag"] = Bag(values["bag"].items + update.get("bag", {"items": []})["items"])
            values |= {"latest": update["latest"]} if "latest" in update else {}
    return values


@settings(max_examples=60, deadline=None)
@given(spec=graphs(), data=st.data())
def test_values_at_any_checkpoint_are_the_fold_of_the_writes_on_its_lineage(
    spec: GraphSpec, data: st.DataObject
) -> None:
    """Each checkpoint's values equal its lineage's writes folded without the engine, also after further inputs."""
    writes: WritesByCheckpoint = {}
    thread = new_thread(spec)
    for _ in range(2):
        input_data = data.draw(updates(START))
        accepted = thread.accept_input(input_data)
        thread.due()
        writes[f"run.{len(thread.checkpoints):06d}"] = [({**input_data},)]
        assert accepted.input == input_data
        for results_by_task in run_super_steps(thread, data, 4):
            writes[f"run.{len(thread.checkpoints) + 1:06d}"] = [
                results_by_task[name].writes for name in sorted(results_by_task)
            ]
    by_id = {checkpoint.id: checkpoint for checkpoint in thread.checkpoints}
    for checkpoint in thread.checkpoints:
        lineage = [checkpoint]
        while lineage[0].parent_id is not None:
            lineage.insert(0, by_id[lineage[0].parent_id])
        assert dict(checkpoint.values) == expected_values(lineage, writes)
        assert [each.step for each in lineage] == list(range(checkpoint.step + 1))
    assert CHANNELS.decode(thread.state) == expected_values(thread.checkpoints, writes)


@st.composite
def signed_updates(draw: st.DrawFn, spec: GraphSpec) -> Update:
    """Draws an update in the name of a node, a person, START or END."""
    author = draw(st.sampled_from((*spec.node_names, "human", START, END)))
    goto = st.lists(st.sampled_from((*spec.node_names, END)), max_size=2).map(tuple)
    return Update(author, draw(updates(author)), draw(goto) if author in spec.node_names else ())


class WriteLog:
    """By checkpoint, the writes that made it. Writes by hand are passed in; the others are read from the thread."""

    def __init__(self, thread: Thread) -> None:
        self.thread = thread
        self.writes: WritesByCheckpoint = {}

    def record_new(self, by_hand: dict[str, list[tuple[dict[str, Any], ...]]] | None = None) -> None:
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


@settings(max_examples=60, deadline=None)
@given(spec=graphs(), data=st.data())
def test_values_are_the_fold_of_their_lineage_with_updates_and_forks_in_it(
    spec: GraphSpec, data: st.DataObject
) -> None:
    """Updates and forks at any checkpoint, by any author, fold like other writes and never change another branch."""
    thread = new_thread(spec)
    write_log = WriteLog(thread)
    thread.accept_input(data.draw(updates(START)))
    for _ in range(data.draw(st.integers(1, 8))):
        checkpoints_before = list(thread.checkpoints)
        match data.draw(st.sampled_from(["super-step", "one task", "update", "update", "replay", "input"])):
            case "super-step":
                for _ in run_super_steps(thread, data, 1):
                    pass
            case "one task":
                for task in thread.due()[:1]:
                    thread.finish(task, data.draw(results(spec, task.node)))
            case "input":
                thread.accept_input(data.draw(updates(START)))
            case "replay":
                target = data.draw(st.sampled_from(thread.checkpoints))
                after = thread.update(target, [], source="fork")
                assert (after.values, after.triggers, after.parent_id) == (target.values, target.triggers, target.id)
                assert thread.results == {}
                write_log.record_new({after.id: []})
            case "update":
                target, update = data.draw(st.sampled_from(thread.checkpoints)), data.draw(signed_updates(spec))
                finished = {task.id: result for task, result, _ in thread.task_outcomes(target) if result is not None}
                is_task_result = update.author in [task.node for task in plan(target) if task.id not in finished]
                is_task_result = is_task_result and (target is thread.head or bool(finished))
                is_earlier = target is not thread.head
                after = thread.update(target, [update])
                if is_task_result and is_earlier:
                    results_then = {**finished, update.author: TaskResult(writes=(dict(update.values),))}
                    complete = all(task.id in results_then for task in plan(target))
                    write_log.record_new(
                        {after.id: [results_then[task.id].writes for task in plan(target)] if complete else []}
                    )
                assert after.parent_id == target.id or after is target
                assert after is not target or is_task_result
                if not is_task_result:
                    write_log.record_new({after.id: [(dict(update.values),)]})
                    assert after.triggers == target.triggers or update.author != "human"
                    assert not after.triggers or update.author != END
        write_log.record_new()
        assert thread.checkpoints[: len(checkpoints_before)] == checkpoints_before
    by_id = {checkpoint.id: checkpoint for checkpoint in thread.checkpoints}
    assert len(by_id) == len(thread.checkpoints)
    for checkpoint in thread.checkpoints:
        lineage = [checkpoint]
        while lineage[0].parent_id is not None:
            lineage.insert(0, by_id[lineage[0].parent_id])
        replays = {each.id for each in lineage if each.source == "fork"}
        steps = [each for each in lineage if each.id not in replays]
        assert dict(checkpoint.values) == expected_values(steps, write_log.writes)
        assert [each.step for each in lineage] == list(range(checkpoint.step + 1))
    assert CHANNELS.decode(thread.state) == by_id[thread.checkpoints[-1].id].values
    restored_from_record(thread, CHANNELS)


@settings(max_examples=60, deadline=None)
@given(spec=graphs(), data=st.data())
def test_a_roll_back_restores_the_thread_exactly(spec: GraphSpec, data: st.DataObject) -> None:
    """After a roll back, checkpoints, state, results and interrupts are as they were at the savepoint."""
    thread = new_thread(spec)
    thread.accept_input(data.draw(updates(START)))
    for _ in run_super_steps(thread, data, data.draw(st.integers(0, 2))):
        pass
    for task in thread.due():
        match data.draw(st.sampled_from(["finish", "fail", "interrupt", "wait"])):
            case "finish":
                thread.finish(task, data.draw(results(spec, task.node)))
            case "fail":
                thread.fail(task, TaskFailure(error_type="builtins:ValueError", error_message="odd"))
            case "interrupt":
                thread.interrupt(task, InterruptRequest(id="0" * 16, value="?"))
    before = (full_history(thread), record_of(thread), thread.waiting_interrupts, thread.steps_left)
    mark = thread.savepoint()
    target: Checkpoint | None = data.draw(st.sampled_from(thread.checkpoints))
    for _ in range(data.draw(st.integers(1, 3))):
        target = thread.update(target, [data.draw(signed_updates(spec))])
    thread.roll_back(mark)
    assert (full_history(thread), record_of(thread), thread.waiting_interrupts, thread.steps_left) == before


def restored_from_record(thread: Thread, channels: Channels) -> Thread:
    """Return the thread as its next run restores it, from the JSON text of its record."""
    record = record_of(thread)
    assert record is not None
    text = json.dumps(json.loads(record.model_dump_json()))
    record_copy = Record.model_validate_json(text)
    assert record_copy == record
    return thread_from(
        record_copy, thread.spec, channels, thread_id="t", run_id=f"{thread.run_id}+", clock=TickingClock()
    )


@settings(max_examples=60, deadline=None)
@given(spec=graphs(), data=st.data())
def test_a_thread_is_restored_exactly_from_its_record(spec: GraphSpec, data: st.DataObject) -> None:
    """State, due tasks and outcomes are equal at any point. The restored thread then computes the same values."""
    thread = new_thread(spec)
    thread.accept_input(data.draw(updates(START)))
    for _ in run_super_steps(thread, data, data.draw(st.integers(0, 3))):
        pass
    for task in thread.due():
        match data.draw(st.sampled_from(["finish", "fail", "wait"])):
            case "finish":
                thread.finish(task, data.draw(results(spec, task.node)))
            case "fail":
                thread.fail(task, TaskFailure(error_type="builtins:ValueError", error_message="odd", attempts=2))
    restored = restored_from_record(thread, CHANNELS)
    head, restored_head = thread.head, restored.head
    assert head is not None
    assert restored_head is not None
    assert restored.state == thread.state
    assert list(restored.state) == list(thread.state)
    assert restored.task_outcomes(restored_head) == thread.task_outcomes(head)
    assert (restored.results, restored.failures) == (thread.results, thread.failures)
    assert snapshot_data(restored, restored_head, as_head=True) == snapshot_data(thread, head, as_head=True)
    record = record_of(thread)
    assert record is not None
    assert head_in_record(record) == snapshot_data(thread, head, as_head=True)
    for _ in range(3):
        due, restored_due = thread.due(), restored.due()
        assert [(task.id, task.step) for task in restored_due] == [(task.id, task.step) for task in due]
        if not due:
            break
        for task, restored_task in zip(due, restored_due, strict=True):
            result = data.draw(results(spec, task.node))
            thread.finish(task, result)
            restored.finish(restored_task, result)
        original, copy = thread.commit(), restored.commit()
        assert (original.values, original.triggers, original.joins, original.writes, original.step) == (
            copy.values,
            copy.triggers,
            copy.joins,
            copy.writes,
            copy.step,
        )
        restored = restored_from_record(restored, CHANNELS)
    assert restored.state == thread.state


@settings(max_examples=40, deadline=None)
@given(spec=graphs(), data=st.data())
def test_tasks_are_planned_once_each_in_the_order_of_their_names(spec: GraphSpec, data: st.DataObject) -> None:
    """A node triggered several times in a super-step runs once."""
    thread = new_thread(spec)
    thread.accept_input(data.draw(updates(START)))
    for _ in run_super_steps(thread, data, 3):
        assert thread.head is not None
        planned = [task.node for task in plan(thread.head)]
        assert planned == sorted(set(planned))


@settings(max_examples=40, deadline=None)
@given(writers=st.sets(st.sampled_from(NODES), min_size=2), order=st.randoms(use_true_random=False))
def test_clashing_writers_are_named_in_alphabetical_order(writers: set[str], order: Any) -> None:
    """The error about clashing writers does not depend on who finished first, and the thread does not change."""
    builder = StateGraph(State)
    for node in sorted(writers):
        builder.add_node(node, lambda state: None).add_edge(START, node).add_edge(node, END)
    thread = new_thread(builder.compile(name="g").registry.spec)
    thread.accept_input({"latest": "in"})
    tasks = list(thread.due())
    order.shuffle(tasks)
    for task in tasks:
        thread.finish(task, TaskResult(writes=({"latest": task.node},)))
    before = (thread.head, dict(thread.state), thread.steps_left)
    with pytest.raises(InvalidUpdateError) as caught:
        thread.commit()
    assert caught.value.nodes == sorted(writers)
    assert (thread.head, dict(thread.state), thread.steps_left) == before
