"""Random graphs, and random things done to a thread of each: nothing differs but what `test_differences` names.

In memory on both sides, so that there can be hundreds; that a server does the same as memory, others show
(`tests/temporal/test_programs.py`). What is done is chosen as the thread stands, and leaves out what is named there.
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
from tests.parity.dialect import HERE, THERE, Dialect, Play
from tests.parity.steps import Step, answer_each, invoke, replay, resume, update
from tests.parity.telling import Told, tell

GRAPHS = 25
"""Per test."""

LONG = 14
"""Entries of the log after which every loop is left: before LangGraph's bound on super-steps matters."""

THREAD = {"configurable": {"thread_id": "t"}}


class State(TypedDict, total=False):
    n: int
    log: Annotated[list[Any], add]


@dataclass
class Sketch:
    """A random graph, to be drawn in either dialect. Whatever a node does depends on its state alone, but failing."""

    kinds: dict[str, str]
    edges: set[tuple[str, str]] = field(default_factory=set)
    joins: list[tuple[list[str], str]] = field(default_factory=list)
    routers: dict[str, list[list[str]]] = field(default_factory=dict)
    failing: str | None = None

    def draw(self, d: Dialect) -> Any:
        builder = d.StateGraph(State)
        ends = {"START": d.START, "END": d.END}
        for name, kind in self.kinds.items():
            builder.add_node(name, self._node(d, name, kind))
        for source, target in sorted(self.edges):
            builder.add_edge(ends.get(source, source), ends.get(target, target))
        for sources, target in self.joins:
            builder.add_edge(sources, target)
        for name, routers in self.routers.items():
            for number, destinations in enumerate(routers):
                router = _router(d, number, destinations)
                builder.add_conditional_edges(name, router, [*destinations, d.END])
        return builder

    def _node(self, d: Dialect, name: str, kind: str) -> Callable[[State], Any]:
        does: dict[str, Callable[[State], Any]] = {
            "writes": lambda s: {"log": [f"{name}{s.get('n', 0)}"]},
            "writes nothing": lambda s: None,
            "writes twice": lambda s: d.several({"log": [name, 1]}, {"log": [name, 2]}),
            "asks": lambda s: {"log": [name, d.interrupt(name)]},
            "asks twice": lambda s: {"log": [name, d.interrupt(f"{name}1"), d.interrupt(f"{name}2")]},
        }

        async def node(state: State) -> Any:
            if name == self.failing:
                await asyncio.sleep(0.05)  # LangGraph stops its siblings then; these are done at their first turn
                raise ConnectionError(name)
            return does[kind](state)

        return node


def _router(d: Dialect, number: int, destinations: list[str]) -> Callable[[State], list[str]]:
    def router(state: State) -> list[str]:
        if len(state["log"]) > LONG:
            return [d.END]
        choices = [destinations[:1], destinations[-1:], destinations, [d.END]]
        return choices[(len(state["log"]) * 7 + number + state.get("n", 0)) % len(choices)]

    router.__name__ = f"router_{number}"
    return router


def sketch(random: Random) -> Sketch:
    """Three to six nodes; edges lead on, joins too, and routers perhaps back."""
    names = list("abcdef")[: random.randint(3, 6)]
    kinds = ["writes"] * 4 + ["writes nothing", "writes twice", "asks", "asks twice"]
    made = Sketch({name: random.choice(kinds) for name in names})
    loops = random.random() < 0.5
    for place, name in enumerate(names):
        later = names[place + 1 :]
        shape = random.random()
        if later and shape < 0.55:
            made.edges |= {(name, target) for target in random.sample(later, min(len(later), random.randint(1, 2)))}
        elif later and shape < 0.75:
            made.kinds[name] = "writes"  # or a loop would have no end
            possible = later + names[: place + 1] * loops
            made.routers[name] = [random.sample(possible, min(len(possible), 2))]
            if random.random() < 0.3:
                made.routers[name].append(random.sample(later, 1))
        else:
            made.edges.add((name, "END"))
    for _ in range(random.randint(0, 2)):
        sources = sorted(random.sample(names, 2))
        if later := names[names.index(sources[1]) + 1 :]:
            made.joins.append((sources, random.choice(later)))
    led_to = {target for _, target in (*made.edges, *made.joins)}  # these lead on, so that all can be reached
    led_to |= {to for name, all in made.routers.items() for some in all for to in some if to > name}
    made.edges |= {("START", name) for name in names if name not in led_to}
    return made


async def choose(random: Random, play: Play, graph: Sketch) -> Step | None:
    """Something to do to a thread as it stands; `None` for what the two are known to do in ways of their own."""
    head, history = await play.graph.aget_state(THREAD), (await play.history())[::-1]
    waiting = sorted(each.value for each in head.interrupts)
    possible = ["invoke"] if not history else ["invoke", "resume", "replay", "update", "update"]
    kind = random.choice(possible + ["answer"] * 6 * bool(waiting))
    sound = [name for name in graph.kinds if not any(question.startswith(name) for question in waiting)]
    graph.failing = random.choice(sound) if sound and kind != "answer" and random.random() < 0.1 else None
    if kind == "invoke":
        return invoke({"n": random.randint(0, 3), "log": ["in"]})
    if kind == "resume":
        return resume()
    if kind == "answer":
        given = waiting if random.random() < 0.6 else waiting[:1]
        return answer_each(**{question: random.choice("ABC") for question in given})
    place = random.randrange(len(history))
    if kind == "replay":
        return None if history[place].metadata["source"] in ("update", "fork") else replay(place)
    at, author = random.choice([None, place]), random.choice(list(graph.kinds))
    target = head if at is None else history[at]
    tasks = [task.name for task in target.tasks]
    stands_in = author in tasks and (len(tasks) > 1 or any(task.result is not None for task in target.tasks))
    completes = any(name in tasks for _, name in graph.joins)
    if stands_in or completes or target.metadata["source"] == "input":
        return None
    return update({"log": ["by hand"], "n": random.randint(0, 3)}, as_node=author, at=at)


def without_old_errors(there: Told, here: Told) -> None:
    """Takes the error of a run before from LangGraph's tasks where ours tell a question: a known difference."""
    tables = [*zip(there.heads, here.heads, strict=True), *zip(there.history, here.history, strict=False)]
    for theirs, ours in tables:
        for old, task in zip(theirs["tasks"], ours["tasks"], strict=False):
            if old["error"] and task["asks"]:
                old.update(error=None, asks=task["asks"])


async def compare(seed: int) -> int:
    """Draws a graph, plays on a thread of it, and compares after each step; how many there were."""
    random = Random(seed)
    graph = sketch(random)
    there = Play(THERE, graph.draw(THERE).compile(checkpointer=InMemorySaver()), THREAD)
    here = Play(HERE, MemoryRunner(graph.draw(HERE).compile(name=f"random_{seed}")), THREAD)
    steps = 0
    for _ in range(random.randint(3, 8)):
        if step := await choose(random, there, graph):
            steps += 1
            theirs, ours = await tell(there, [step]), await tell(here, [step])
            without_old_errors(theirs, ours)
            assert ours == theirs, f"seed {seed}, step {steps}: {graph}"
    return steps


@pytest.mark.parametrize("first", range(0, 8 * GRAPHS, GRAPHS))
async def test_a_random_thread_of_a_random_graph_tells_the_same_story(first: int) -> None:
    """Results, heads and histories are equal after each step."""
    steps = [await compare(seed) for seed in range(first, first + GRAPHS)]
    assert sum(steps) > 3 * GRAPHS
