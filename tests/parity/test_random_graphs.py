"""Random graphs and random operations: stepgraph and LangGraph differ only as `test_known_differences` describes.

Both sides run in memory, which allows hundreds of graphs. tests/temporal compares the in-memory runner with a server.
Operations are chosen from the state of the thread, and leave out the known differences.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import add
from random import Random
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from stepgraph.testing import MemoryRunner
from tests.parity.libraries import LANGGRAPH, STEPGRAPH, Library, ParityThread
from tests.parity.observations import Observations, observe
from tests.parity.operations import Operation, answer_each, invoke, replay, resume, update

GRAPHS = 25
"""The number of graphs per test."""

LOOP_LIMIT = 14
"""The length of the log at which every router leads to END, so that no run reaches LangGraph's recursion limit."""

THREAD = {"configurable": {"thread_id": "t"}}


def last_three(left: list[str], right: list[str]) -> list[str]:
    """A reducer that only the graph's code has, and whose result depends on the order of the writes."""
    return [*left, *right][-3:]


class State(TypedDict, total=False):
    n: int
    log: Annotated[list[Any], add]
    last: Annotated[list[str], last_three]


@dataclass
class RandomGraph:
    """A random graph that can be built in either library. Its nodes depend on their state alone, except `failing`."""

    kinds: dict[str, str]
    edges: set[tuple[str, str]] = field(default_factory=set)
    joins: list[tuple[list[str], str]] = field(default_factory=list)
    routers: dict[str, list[list[str]]] = field(default_factory=dict)
    failing: str | None = None

    def build(self, lib: Library) -> Any:
        builder = lib.StateGraph(State)
        ends = {"START": lib.START, "END": lib.END}
        for name, kind in self.kinds.items():
            builder.add_node(name, self._node(lib, name, kind))
        for source, target in sorted(self.edges):
            builder.add_edge(ends.get(source, source), ends.get(target, target))
        for sources, target in self.joins:
            builder.add_edge(sources, target)
        for name, routers in self.routers.items():
            for number, destinations in enumerate(routers):
                router = _router(lib, number, destinations)
                builder.add_conditional_edges(name, router, [*destinations, lib.END])
        return builder

    def _node(self, lib: Library, name: str, kind: str) -> Callable[[State], Any]:
        functions: dict[str, Callable[[State], Any]] = {
            "writes": lambda s: {"log": [f"{name}{s.get('n', 0)}"], "last": [name]},
            "writes nothing": lambda s: None,
            "writes twice": lambda s: lib.multiple_writes(
                {"log": [name, 1], "last": [f"{name}1"]}, {"log": [name, 2], "last": [f"{name}2"]}
            ),
            "interrupts": lambda s: {"log": [name, lib.interrupt(name)], "last": [name]},
            "interrupts twice": lambda s: {"log": [name, lib.interrupt(f"{name}1"), lib.interrupt(f"{name}2")]},
        }

        async def node(state: State) -> Any:
            if name == self.failing:
                await asyncio.sleep(0.05)  # LangGraph cancels the siblings then; they have finished by now
                raise ConnectionError(name)
            return functions[kind](state)

        return node


def _router(lib: Library, number: int, destinations: list[str]) -> Callable[[State], list[str]]:
    def router(state: State) -> list[str]:
        if len(state["log"]) > LOOP_LIMIT:
            return [lib.END]
        choices = [destinations[:1], destinations[-1:], destinations, [lib.END]]
        return choices[(len(state["log"]) * 7 + number + state.get("n", 0)) % len(choices)]

    router.__name__ = f"router_{number}"
    return router


def random_graph(random: Random) -> RandomGraph:
    """Return a graph of three to six nodes. Edges and joins lead forward, routers may also lead back."""
    names = list("abcdef")[: random.randint(3, 6)]
    kinds = ["writes"] * 4 + ["writes nothing", "writes twice", "interrupts", "interrupts twice"]
    result = RandomGraph({name: random.choice(kinds) for name in names})
    loops = random.random() < 0.5
    for position, name in enumerate(names):
        later = names[position + 1 :]
        shape = random.random()
        if later and shape < 0.55:
            result.edges |= {(name, target) for target in random.sample(later, min(len(later), random.randint(1, 2)))}
        elif later and shape < 0.75:
            result.kinds[name] = "writes"  # every round of a loop must add to the log
            possible = later + names[: position + 1] * loops
            result.routers[name] = [random.sample(possible, min(len(possible), 2))]
            if random.random() < 0.3:
                result.routers[name].append(random.sample(later, 1))
        else:
            result.edges.add((name, "END"))
    for _ in range(random.randint(0, 2)):
        sources = sorted(random.sample(names, 2))
        if later := names[names.index(sources[1]) + 1 :]:
            result.joins.append((sources, random.choice(later)))
    reachable = {target for _, target in (*result.edges, *result.joins)}  # by edges that lead forward
    for name, routers in result.routers.items():
        reachable |= {target for destinations in routers for target in destinations if target > name}
    result.edges |= {("START", name) for name in names if name not in reachable}
    return result


async def choose(random: Random, thread: ParityThread, graph: RandomGraph) -> Operation | None:
    """Choose an operation for the thread's current state.

    Return `None` for one on which the libraries are known to differ.
    """
    head, history = await thread.graph.aget_state(THREAD), (await thread.history())[::-1]
    waiting = sorted(interrupt.value for interrupt in head.interrupts)
    possible = ["invoke"] if not history else ["invoke", "resume", "replay", "update", "update"]
    kind = random.choice(possible + ["answer"] * 6 * bool(waiting))
    not_waiting = [name for name in graph.kinds if not any(value.startswith(name) for value in waiting)]
    graph.failing = random.choice(not_waiting) if not_waiting and kind != "answer" and random.random() < 0.1 else None
    if kind == "invoke":
        return invoke({"n": random.randint(0, 3), "log": ["in"]})
    if kind == "resume":
        return resume()
    if kind == "answer":
        answered = waiting if random.random() < 0.6 else waiting[:1]
        return answer_each(**{value: random.choice("ABC") for value in answered})
    position = random.randrange(len(history))
    if kind == "replay":
        return None if history[position].metadata["source"] in ("update", "fork") else replay(position)
    at, author = random.choice([None, position]), random.choice(list(graph.kinds))
    target = head if at is None else history[at]
    tasks = [task.name for task in target.tasks]
    replaces_result = author in tasks and (len(tasks) > 1 or any(task.result is not None for task in target.tasks))
    is_target_of_join = author in tasks and any(author == name for _, name in graph.joins)
    if replaces_result or is_target_of_join or target.metadata["source"] == "input":
        return None
    return update({"log": ["by hand"], "n": random.randint(0, 3)}, as_node=author, at=at)


def remove_old_errors(theirs: Observations, ours: Observations) -> None:
    """Replace LangGraph's error of an earlier run by the interrupt of a task that waits now: a known difference."""
    pairs = [*zip(theirs.heads, ours.heads, strict=True), *zip(theirs.history, ours.history, strict=False)]
    for their_checkpoint, our_checkpoint in pairs:
        for their_task, our_task in zip(their_checkpoint["tasks"], our_checkpoint["tasks"], strict=False):
            if their_task["error"] and our_task["interrupts"]:
                their_task.update(error=None, interrupts=our_task["interrupts"])


def remove_pending_values(*observations: Observations) -> None:
    """Remove what siblings have written to the channel with a custom reducer in an open super-step: a known difference.

    LangGraph shows it among the values. stepgraph shows it in the tasks' results, because only the graph's code could
    fold it.
    """
    for each in observations:
        for returned, head in zip(each.returned, each.heads, strict=True):
            if sum("last" in (task["result"] or {}) for task in head["tasks"]) > 1:
                head["values"].pop("last", None)
                if isinstance(returned, dict):
                    returned.pop("last", None)


async def compare(seed: int) -> int:
    """Build the graph of this seed, compare the libraries after each operation on a thread, and return their number."""
    random = Random(seed)
    graph = random_graph(random)
    their_thread = ParityThread(LANGGRAPH, graph.build(LANGGRAPH).compile(checkpointer=InMemorySaver()), THREAD)
    our_thread = ParityThread(STEPGRAPH, MemoryRunner(graph.build(STEPGRAPH).compile(name=f"random_{seed}")), THREAD)
    count = 0
    for _ in range(random.randint(3, 8)):
        if operation := await choose(random, their_thread, graph):
            count += 1
            theirs, ours = await observe(their_thread, [operation]), await observe(our_thread, [operation])
            remove_old_errors(theirs, ours)
            remove_pending_values(theirs, ours)
            assert ours == theirs, f"seed {seed}, operation {count}: {graph}"
    return count


@pytest.mark.parametrize("first", range(0, 8 * GRAPHS, GRAPHS))
async def test_random_operations_on_a_random_graph_give_the_same_observations(first: int) -> None:
    """After each random operation, return values, heads and histories are equal in both libraries."""
    counts = [await compare(seed) for seed in range(first, first + GRAPHS)]
    assert sum(counts) > 3 * GRAPHS
