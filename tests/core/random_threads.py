"""Draws graphs, and what their nodes return: the raw material of the property tests of the engine."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from operator import add, or_
from typing import Annotated, Any

from hypothesis import strategies as st
from typing_extensions import TypedDict

from stepgraph import END, START, StateGraph
from stepgraph.engine.checkpoint import SentTask, Task, TaskResult
from stepgraph.engine.folds import OVERWRITE, is_overwrite
from stepgraph.engine.record import Record, record_of, thread_from
from stepgraph.engine.spec import GraphSpec
from stepgraph.engine.state_update import Update
from stepgraph.engine.thread import Thread
from stepgraph.protocol.snapshot import snapshot_data
from tests.core.driving import commit, with_changes

NODES = ("a", "b", "c", "d", "e")


@dataclass
class Bag:
    items: list[str] = field(default_factory=list)
    puts: int = 0


def put_in_place(left: Bag, right: Bag) -> Bag:
    """Changes its first argument deliberately, to show that the engine is safe from it."""
    left.items += right.items
    left.puts += 1
    return left


class State(TypedDict, total=False):
    words: Annotated[list[str], add]
    total: Annotated[int, add]
    facts: Annotated[dict[str, int], or_]
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


@cache
def updates(node: str) -> st.SearchStrategy[dict[str, Any]]:
    """Draws what a node may write, as JSON data.

    Only ``a`` and START write the channel without a reducer, or overwrite others: there is one task of each.
    """
    texts = st.text(max_size=3)
    keys: dict[str, st.SearchStrategy[Any]] = {
        "words": st.lists(texts, max_size=2),
        "total": st.integers(-5, 5),
        "facts": st.dictionaries(st.sampled_from("xyz"), st.integers(0, 9), max_size=2),
        "tags": st.lists(texts, max_size=2, unique=True).map(sorted),
        "bag": st.fixed_dictionaries({"items": st.lists(texts, max_size=2), "puts": st.just(0)}),
    }
    if node in ("a", START):
        keys = {name: values | values.map(lambda value: {OVERWRITE: value}) for name, values in keys.items()}
        keys["latest"] = texts
    return st.fixed_dictionaries({}, optional=keys)


@cache
def destinations(nodes: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    """Draws what the routers of a node choose."""
    return st.lists(st.sampled_from((*nodes, END)), max_size=2).map(tuple)


@cache
def sends(nodes: tuple[str, ...]) -> st.SearchStrategy[tuple[SentTask, ...]]:
    """Draws what a task sends. Never to ``a``: several tasks of it could write the channel without a reducer."""
    send = st.builds(SentTask, node=st.sampled_from(nodes[1:]), input=st.integers(0, 9) | st.none())
    return st.lists(send, max_size=2).map(tuple)


@cache
def several_updates(node: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Draws what a node returns: one mapping, if it writes the channel without a reducer, or several."""
    return st.lists(updates(node), min_size=node == "a", max_size=1 if node == "a" else 2)


@st.composite
def results(
    draw: st.DrawFn, spec: GraphSpec, node: str, values: Mapping[str, Any], *, may_send: bool = True
) -> TaskResult:
    """Draws a result of a node that started from these values: its writes, and where they lead.

    It may have the changes of channels with a custom fold, as the node's activity makes them; or not.
    """
    sent = draw(sends(spec.node_names)) if may_send else ()
    goto = draw(destinations(spec.node_names))
    result = TaskResult(writes=tuple(draw(several_updates(node))), goto=goto, sends=sent)
    return with_changes(spec, CHANNELS, values, node, result) if draw(st.booleans()) else result


@st.composite
def signed_updates(draw: st.DrawFn, spec: GraphSpec) -> Update:
    """Draws an update in the name of a node, a person, START or END."""
    author = draw(st.sampled_from((*spec.node_names, "human", START, END)))
    is_node = author in spec.node_names
    goto, sent = (draw(destinations(spec.node_names)), draw(sends(spec.node_names))) if is_node else ((), ())
    return Update(author, TaskResult(writes=(draw(updates(author)),), goto=goto, sends=sent))


def new_thread(spec: GraphSpec) -> Thread:
    return Thread(spec, thread_id="t", run_id="run", clock=TickingClock())


def due(thread: Thread) -> tuple[Task, ...]:
    """Return the tasks that are due, after the commit of a super-step that is complete: that of START, say."""
    tasks = thread.due()
    if thread.complete:
        commit(thread, CHANNELS)
        tasks = thread.due()
    return tasks


def run_super_steps(thread: Thread, data: st.DataObject, steps: int) -> Iterator[dict[str, TaskResult]]:
    """Runs up to so many super-steps with drawn results, finished in a drawn order.

    Yields the results before each commit, in the order of the tasks.
    """
    for _ in range(steps):
        tasks = due(thread)
        if not tasks:
            return
        few = len(tasks) < 4  # many tasks that send make too many
        drawn = {task.id: data.draw(results(thread.spec, task.node, thread.state, may_send=few)) for task in tasks}
        for task in data.draw(st.permutations(tasks)):
            thread.start(task)
            thread.finish(task, drawn[task.id])
        yield drawn
        commit(thread, CHANNELS)


def full_history(thread: Thread) -> list[Any]:
    """Return everything that a thread reports: checkpoints, state, the order of its keys, and snapshots."""
    return [
        *thread.checkpoints,
        thread.state,
        list(thread.state),
        [snapshot_data(thread, checkpoint) for checkpoint in thread.checkpoints],
    ]


def restored_from_record(thread: Thread) -> Thread:
    """Return the thread as its next run restores it, from the JSON text of its record."""
    record = record_of(thread)
    assert record is not None
    record_copy = Record.model_validate_json(json.dumps(json.loads(record.model_dump_json())))
    assert record_copy == record
    return thread_from(record_copy, thread.spec, thread_id="t", run_id=f"{thread.run_id}+", clock=TickingClock())


WritesByTask = list[tuple[dict[str, Any], ...]]
"""What each of the tasks of a super-step wrote, in their order."""


def expected_values(values: Mapping[str, Any], writes: WritesByTask) -> dict[str, Any]:
    """Return the Python values after a super-step, computed without the engine."""
    values = {"words": [], "total": 0, "facts": {}, "tags": set(), "bag": Bag(), **values}
    updates = list(itertools.chain.from_iterable(writes))
    overwrites = {name: value[OVERWRITE] for each in updates for name, value in each.items() if is_overwrite(value)}
    for update in ({name: value for name, value in each.items() if name not in overwrites} for each in updates):
        values["words"] = values["words"] + update.get("words", [])
        values["total"] += update.get("total", 0)
        values["facts"] = values["facts"] | update.get("facts", {})
        values["tags"] = values["tags"] | set(update.get("tags", []))
        if "bag" in update:
            values["bag"] = Bag(values["bag"].items + update["bag"]["items"], values["bag"].puts + 1)
        values |= {"latest": update["latest"]} if "latest" in update else {}
    return values | CHANNELS.decode(overwrites)
