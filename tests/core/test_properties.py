"""What holds for every graph: properties of the engine, over random graphs, results and orders of finishing."""

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
from stepgraph.protocol.snapshot import head_in_record, view

NODES = ("a", "b", "c", "d", "e")


@dataclass
class Bag:
    items: list[str] = field(default_factory=list)


def put(left: Bag, right: Bag) -> Bag:
    """Mutates what it is given, on purpose."""
    left.items += right.items
    return left


class State(TypedDict, total=False):
    words: Annotated[list[str], add]
    total: Annotated[int, add]
    tags: Annotated[set[str], or_]
    bag: Annotated[Bag, put]
    latest: str


CHANNELS = StateGraph(State).schema.channels


class Ticks:
    """A clock whose times depend on nothing but how often it was asked."""

    def __init__(self) -> None:
        self.count = itertools.count(1)

    def __call__(self) -> str:
        return f"tick {next(self.count)}"


@st.composite
def graphs(draw: st.DrawFn) -> GraphSpec:
    """Some nodes, with edges and joins between them: loops, dead ends and all."""
    nodes = NODES[: draw(st.integers(2, len(NODES)))]
    builder = StateGraph(State)
    for node in nodes:
        builder.add_node(node, lambda state: None)
    for node in draw(st.sets(st.sampled_from(nodes), min_size=1)):
        builder.add_edge(START, node)
    somewhere = st.sampled_from((*nodes, END))
    for node in nodes:
        builder.add_conditional_edges(node, lambda state: END)
        for target in draw(st.sets(somewhere, max_size=2)):
            builder.add_edge(node, target)
    for _ in range(draw(st.integers(0, 2))):
        builder.add_edge(draw(st.lists(st.sampled_from(nodes), min_size=1, max_size=3)), draw(somewhere))
    return builder.compile(name="g").registry.spec


def updates(node: str) -> st.SearchStrategy[dict[str, Any]]:
    """What a node may write, as JSON data; only one of them writes the channel that takes a single value."""
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
    """What a node may leave: some writes, and where its routers lead."""
    writes = updates(node).map(lambda update: (update,))
    if node != "a":
        writes = st.lists(updates(node), max_size=2).map(tuple)
    return st.builds(
        TaskResult, writes=writes, goto=st.lists(st.sampled_from((*spec.node_names, END)), max_size=2).map(tuple)
    )


def new_thread(spec: GraphSpec) -> Thread:
    return Thread(spec, CHANNELS, thread_id="t", run_id="run", clock=Ticks())


def drive(thread: Thread, data: st.DataObject, steps: int) -> Iterator[dict[str, TaskResult]]:
    """Runs a thread for some super-steps, with drawn results, finished in a drawn order."""
    for _ in range(steps):
        tasks = thread.due()
        if not tasks:
            return
        made = {task.id: data.draw(results(thread.spec, task.node)) for task in tasks}
        for task in data.draw(st.permutations(tasks)):
            thread.start(task)
            thread.finish(task, made[task.id])
        yield made
        thread.commit()


def logged(thread: Thread) -> list[Any]:
    """All that a thread says of itself, in the order in which it says it."""
    return [
        *thread.checkpoints,
        thread.state,
        list(thread.state),
        [view(thread, checkpoint) for checkpoint in thread.checkpoints],
    ]


@settings(max_examples=60, deadline=None)
@given(spec=graphs(), data=st.data())
def test_any_order_of_finishing_gives_equal_checkpoints(spec: GraphSpec, data: st.DataObject) -> None:
    """Ids, times, values, triggers, joins and writes: the whole log is the same, and so is its JSON."""
    given_ = data.draw(updates(START))
    one, other = new_thread(spec), new_thread(spec)
    one.accept_input(given_)
    other.accept_input(given_)
    for made in drive(one, data, 5):
        tasks = other.due()
        assert [task.id for task in tasks] == list(made)
        for task in data.draw(st.permutations(tasks)):
            other.finish(task, made[task.id])
        assert record_of(one) == record_of(other)
        assert record_of(one).model_dump_json() == record_of(other).model_dump_json()  # type: ignore[union-attr]
        other.commit()
    assert logged(one) == logged(other)


@settings(max_examples=60, deadline=None)
@given(spec=graphs(), data=st.data())
def test_a_commit_asks_nothing_but_the_checkpoint_and_the_results(spec: GraphSpec, data: st.DataObject) -> None:
    """Asked again, with its results in any order, it says the same; and it changes neither of them."""
    thread = new_thread(spec)
    thread.accept_input(data.draw(updates(START)))
    for made in drive(thread, data, 3):
        head = thread.head
        assert head is not None
        before = (repr(head), repr(made))
        shuffled = dict(data.draw(st.permutations(list(made.items()))))
        commits = [commit(spec, CHANNELS, head, each, id="x", created_at="now") for each in (made, shuffled, made)]
        assert commits[0] == commits[1] == commits[2]
        assert (repr(head), repr(made)) == before


@settings(max_examples=100, deadline=None)
@given(
    sources=st.lists(st.sampled_from(NODES), min_size=1, max_size=4, unique=True),
    arrivals=st.lists(st.sets(st.sampled_from(NODES)), max_size=12),
)
def test_a_join_fires_exactly_once_per_full_set(sources: list[str], arrivals: list[set[str]]) -> None:
    """Whatever the pattern of arrivals: a plain count of who is still missing says when."""
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


Written = dict[str, list[tuple[dict[str, Any], ...]]]
"""What the tasks before each checkpoint wrote, by its id."""


def folded(lineage: list[Checkpoint], written: Written) -> dict[str, Any]:
    """The values after the writes on a lineage, by arithmetic alone."""
    values: dict[str, Any] = {}
    for checkpoint in lineage:
        if checkpoint.source == "input":
            continue
        values = {"words": [], "total": 0, "tags": set(), "bag": Bag(), **values}
        for update in (update for writes in written[checkpoint.id] for update in writes):
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
    """Over several inputs too; each checkpoint still has its own values when the thread has gone on."""
    written: Written = {}
    thread = new_thread(spec)
    for _ in range(2):
        given_ = data.draw(updates(START))
        accepted = thread.accept_input(given_)
        thread.due()
        written[f"run.{len(thread.checkpoints):06d}"] = [({**given_},)]
        assert accepted.input == given_
        for made in drive(thread, data, 4):
            written[f"run.{len(thread.checkpoints) + 1:06d}"] = [made[name].writes for name in sorted(made)]
    by_id = {checkpoint.id: checkpoint for checkpoint in thread.checkpoints}
    for checkpoint in thread.checkpoints:
        lineage = [checkpoint]
        while lineage[0].parent_id is not None:
            lineage.insert(0, by_id[lineage[0].parent_id])
        assert dict(checkpoint.values) == folded(lineage, written)
        assert [each.step for each in lineage] == list(range(checkpoint.step + 1))
    assert CHANNELS.decode(thread.state) == folded(thread.checkpoints, written)


@st.composite
def signed(draw: st.DrawFn, spec: GraphSpec) -> Update:
    """An update in the name of a node, of a person, of START or of END."""
    author = draw(st.sampled_from((*spec.node_names, "human", START, END)))
    goto = st.lists(st.sampled_from((*spec.node_names, END)), max_size=2).map(tuple)
    return Update(author, draw(updates(author)), draw(goto) if author in spec.node_names else ())


class Journal:
    """What was written before each checkpoint: told of those made by hand, looked up for the others."""

    def __init__(self, thread: Thread) -> None:
        self.thread = thread
        self.written: Written = {}

    def note(self, by_hand: dict[str, list[tuple[dict[str, Any], ...]]] | None = None) -> None:
        """Takes down the checkpoints that are new."""
        by_id = {checkpoint.id: checkpoint for checkpoint in self.thread.checkpoints}
        for checkpoint in self.thread.checkpoints:
            if checkpoint.id in self.written or checkpoint.source == "input":
                continue
            if by_hand is not None and checkpoint.id in by_hand:
                self.written[checkpoint.id] = by_hand[checkpoint.id]
                continue
            assert checkpoint.parent_id is not None
            outcomes = self.thread.task_outcomes(by_id[checkpoint.parent_id])
            self.written[checkpoint.id] = [result.writes for _, result, _ in outcomes if result is not None]


@settings(max_examples=60, deadline=None)
@given(spec=graphs(), data=st.data())
def test_values_are_the_fold_of_their_lineage_with_updates_and_forks_in_it(
    spec: GraphSpec, data: st.DataObject
) -> None:
    """From whatever checkpoint they grow, in whoever's name; no branch ever touches another one."""
    thread = new_thread(spec)
    journal = Journal(thread)
    thread.accept_input(data.draw(updates(START)))
    for _ in range(data.draw(st.integers(1, 8))):
        was = list(thread.checkpoints)
        match data.draw(st.sampled_from(["run", "part", "update", "update", "replay", "input"])):
            case "run":
                for _ in drive(thread, data, 1):
                    pass
            case "part":
                for task in thread.due()[:1]:
                    thread.finish(task, data.draw(results(spec, task.node)))
            case "input":
                thread.accept_input(data.draw(updates(START)))
            case "replay":
                target = data.draw(st.sampled_from(thread.checkpoints))
                after = thread.update(target, [], source="fork")
                assert (after.values, after.triggers, after.parent_id) == (target.values, target.triggers, target.id)
                assert thread.results == {}
                journal.note({after.id: []})
            case "update":
                target, update = data.draw(st.sampled_from(thread.checkpoints)), data.draw(signed(spec))
                kept = {task.id: result for task, result, _ in thread.task_outcomes(target) if result is not None}
                gives_result = update.author in [task.node for task in plan(target) if task.id not in kept]
                gives_result = gives_result and (target is thread.head or bool(kept))
                elsewhere = target is not thread.head
                after = thread.update(target, [update])
                if gives_result and elsewhere:
                    left = {**kept, update.author: TaskResult(writes=(dict(update.values),))}
                    whole = all(task.id in left for task in plan(target))
                    journal.note({after.id: [left[task.id].writes for task in plan(target)] if whole else []})
                assert after.parent_id == target.id or after is target
                assert after is not target or gives_result
                if not gives_result:
                    journal.note({after.id: [(dict(update.values),)]})
                    assert after.triggers == target.triggers or update.author != "human"
                    assert not after.triggers or update.author != END
        journal.note()
        assert thread.checkpoints[: len(was)] == was
    by_id = {checkpoint.id: checkpoint for checkpoint in thread.checkpoints}
    assert len(by_id) == len(thread.checkpoints)
    for checkpoint in thread.checkpoints:
        lineage = [checkpoint]
        while lineage[0].parent_id is not None:
            lineage.insert(0, by_id[lineage[0].parent_id])
        replays = {each.id for each in lineage if each.source == "fork"}
        steps = [each for each in lineage if each.id not in replays]
        assert dict(checkpoint.values) == folded(steps, journal.written)
        assert [each.step for each in lineage] == list(range(checkpoint.step + 1))
    assert CHANNELS.decode(thread.state) == by_id[thread.checkpoints[-1].id].values
    handed_over(thread, CHANNELS)


@settings(max_examples=60, deadline=None)
@given(spec=graphs(), data=st.data())
def test_an_order_taken_back_leaves_no_trace(spec: GraphSpec, data: st.DataObject) -> None:
    """Whatever updates were made since the mark: checkpoints, state, results and questions are as they were."""
    thread = new_thread(spec)
    thread.accept_input(data.draw(updates(START)))
    for _ in drive(thread, data, data.draw(st.integers(0, 2))):
        pass
    for task in thread.due():
        match data.draw(st.sampled_from(["finish", "fail", "ask", "wait"])):
            case "finish":
                thread.finish(task, data.draw(results(spec, task.node)))
            case "fail":
                thread.fail(task, TaskFailure(error_type="builtins:ValueError", error_message="odd"))
            case "ask":
                thread.interrupt(task, InterruptRequest(id="0" * 16, value="?"))
    before = (logged(thread), record_of(thread), thread.waiting_interrupts, thread.steps_left)
    mark = thread.savepoint()
    target: Checkpoint | None = data.draw(st.sampled_from(thread.checkpoints))
    for _ in range(data.draw(st.integers(1, 3))):
        target = thread.update(target, [data.draw(signed(spec))])
    thread.roll_back(mark)
    assert (logged(thread), record_of(thread), thread.waiting_interrupts, thread.steps_left) == before


def handed_over(thread: Thread, channels: Channels) -> Thread:
    """The thread as its next run has it: by way of a record's JSON text."""
    record = record_of(thread)
    assert record is not None
    text = json.dumps(json.loads(record.model_dump_json()))
    again = Record.model_validate_json(text)
    assert again == record
    return thread_from(again, thread.spec, channels, thread_id="t", run_id=f"{thread.run_id}+", clock=Ticks())


@settings(max_examples=60, deadline=None)
@given(spec=graphs(), data=st.data())
def test_a_thread_comes_through_its_record_whole(spec: GraphSpec, data: st.DataObject) -> None:
    """State, due tasks and outcomes are equal at any point; going on gives the values it would have had."""
    thread = new_thread(spec)
    thread.accept_input(data.draw(updates(START)))
    for _ in drive(thread, data, data.draw(st.integers(0, 3))):
        pass
    for task in thread.due():
        match data.draw(st.sampled_from(["finish", "fail", "wait"])):
            case "finish":
                thread.finish(task, data.draw(results(spec, task.node)))
            case "fail":
                thread.fail(task, TaskFailure(error_type="builtins:ValueError", error_message="odd", attempts=2))
    again = handed_over(thread, CHANNELS)
    head, same_head = thread.head, again.head
    assert head is not None
    assert same_head is not None
    assert again.state == thread.state
    assert list(again.state) == list(thread.state)
    assert again.task_outcomes(same_head) == thread.task_outcomes(head)
    assert (again.results, again.failures) == (thread.results, thread.failures)
    assert view(again, same_head, as_head=True) == view(thread, head, as_head=True)
    record = record_of(thread)
    assert record is not None
    assert head_in_record(record) == view(thread, head, as_head=True)
    for _ in range(3):
        due, same_due = thread.due(), again.due()
        assert [(task.id, task.step) for task in same_due] == [(task.id, task.step) for task in due]
        if not due:
            break
        for task, twin in zip(due, same_due, strict=True):
            result = data.draw(results(spec, task.node))
            thread.finish(task, result)
            again.finish(twin, result)
        one, other = thread.commit(), again.commit()
        assert (one.values, one.triggers, one.joins, one.writes, one.step) == (
            other.values,
            other.triggers,
            other.joins,
            other.writes,
            other.step,
        )
        again = handed_over(again, CHANNELS)
    assert again.state == thread.state


@settings(max_examples=40, deadline=None)
@given(spec=graphs(), data=st.data())
def test_tasks_are_planned_in_the_order_of_their_names(spec: GraphSpec, data: st.DataObject) -> None:
    """Each once, whatever triggered it how often."""
    thread = new_thread(spec)
    thread.accept_input(data.draw(updates(START)))
    for _ in drive(thread, data, 3):
        assert thread.head is not None
        planned = [task.node for task in plan(thread.head)]
        assert planned == sorted(set(planned))


@settings(max_examples=40, deadline=None)
@given(writers=st.sets(st.sampled_from(NODES), min_size=2), order=st.randoms(use_true_random=False))
def test_clashing_writers_are_named_in_their_order(writers: set[str], order: Any) -> None:
    """However they finished; and the thread is as it was before the commit."""
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
